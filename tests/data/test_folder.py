"""Folders and Hub data sets: splits, labels, streaming, order."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from torch.utils.data import DistributedSampler

from hsl.data import hub as hub_module
from hsl.data.files import image_files
from hsl.data.folder import ImagesDataModule
from hsl.data.items import SPLITS
from hsl.data.origin import Origin
from hsl.data.selection import split_of
from hsl.errors import HslError
from layouts import hub, png, save

ALL: dict[str, Any] = {"train": None, "validation": None, "test": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in range(80):
        save(folder / f"{i // 10}" / f"{i}.png", i)
    return folder


def module(source: Path | str | dict[str, str], **arguments) -> ImagesDataModule:
    source = source if isinstance(source, dict) else str(source)
    return ImagesDataModule(source, **({"size": 8, "num_workers": 0} | ALL | arguments))


def members(data: ImagesDataModule) -> dict[str, str]:
    """File name -> split."""
    return {Path(path).name: k for k, s in data.sets().items() for path in s.paths.values()}


def test_every_image_is_in_one_split(folder: Path) -> None:
    sets = module(folder).sets()
    numbers = [n for s in sets.values() for n in s.numbers]
    assert sorted(numbers) == list(range(80)) and all(len(s) for s in sets.values())


def test_a_split_does_not_change_when_images_are_added(folder: Path, tmp_path: Path) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for path in sorted(folder.rglob("*.png"))[:60]:
        (some / path.name).write_bytes(path.read_bytes())
    whole = members(module(folder))
    assert all(whole[name] == split for name, split in members(module(some)).items())


def test_batches(folder: Path) -> None:
    data = module(folder, train=5, batch_size=4)
    batches = list(data.train_dataloader())
    assert [len(b.image) for b in batches] == [4, 1]
    assert batches[0].image.shape == (4, 3, 8, 8) and batches[0].labels.shape == (4, 0)
    assert batches[0].image.min() >= -1 and batches[0].image.max() <= 1
    index = torch.cat([b.index for b in batches])
    assert len(index.unique()) == 5 and len(batches[0].path) == 4


def test_shares() -> None:
    splits = [split_of(sha256(i.to_bytes(2, "big")).hexdigest()) for i in range(4000)]
    assert abs(splits.count("train") / 4000 - 0.8) < 0.03
    assert abs(splits.count("test") / 4000 - 0.1) < 0.02


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (("train", "val", "test"), {"train", "validation", "test"}),
        (("Train", "Test"), {"train", "test"}),
        (("training", "validation"), {"train", "validation"}),
    ],
)
def test_split_folders(tmp_path: Path, names: tuple[str, ...], given: set[str]) -> None:
    """What is given stays; what is missing comes from the training images alone."""
    wanted = {}
    for j, name in enumerate(names):
        for i in range(40):
            save(tmp_path / name / "deep" / f"{name}{i}.png", 100 * j + i)
            wanted[f"{name}{i}.png"] = {"val": "validation", "training": "train"}.get(
                name.lower(), name.lower()
            )
    found = members(module(tmp_path))
    moved = {name for name in wanted if found[name] != wanted[name]}
    assert {found[name] for name in moved} == set(SPLITS) - given
    assert all(wanted[name] == "train" for name in moved) and len(moved) < 20
    hashed = members(module(tmp_path, split="hash"))
    assert any(hashed[name] != split for name, split in found.items())


def test_a_folder_for_each_split(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / "a" / f"a{i}.png", i)
        save(tmp_path / "b" / f"b{i}.png", 100 + i)
    found = members(module({"train": str(tmp_path / "a"), "test": str(tmp_path / "b")}))
    assert {found[f"b{i}.png"] for i in range(20)} == {"test"}
    assert {found[f"a{i}.png"] for i in range(20)} == {"train", "validation"}


def test_labels_from_folders_of_classes(tmp_path: Path) -> None:
    """AFHQ's layout: one label a class, to choose by."""
    for split in ("train", "val", "test"):
        for j, kind in enumerate(("cat", "dog", "wild")):
            for i in range(3):
                save(tmp_path / split / kind / f"{i}.png", 10 * j + i + 100 * len(split))
    data = module(tmp_path, labels="folders", where={"train": {"dog": 1}})
    assert data.sets()["test"].labels.sum(0).tolist() == [3, 3, 3]
    assert data.names == ("cat", "dog", "wild")
    assert data.sets()["train"].labels.tolist() == [[0, 1, 0]] * 3
    for images in data.sets().values():
        for path, row in zip(images.paths.values(), images.labels.tolist(), strict=True):
            assert data.names[row.index(1)] == Path(path).parent.name


def test_labels_from_two_folders(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / ("happy" if i % 3 else "neutral") / f"{i}.png", i)
    pairs = {"Smiling": ["happy", "neutral"]}
    data = module(tmp_path, labels=pairs, validation=0, test=0)
    images = data.sets()["train"]
    assert data.names == ("Smiling",)
    for path, row in zip(images.paths.values(), images.labels.tolist(), strict=True):
        assert row == [float(int(Path(path).stem) % 3 > 0)]
    save(tmp_path / "other" / "x.png", 99)
    with pytest.raises(HslError, match=r"other/x\.png lies in neither of happy and neutral"):
        module(tmp_path, labels=pairs).sets()
    with pytest.raises(HslError, match="wants two folders"):
        module(tmp_path, labels={"Smiling": ["happy"]}).sets()


@pytest.mark.parametrize(
    "name", [lambda f: f.name, lambda f: f.path.name, lambda f: f.path.stem]
)  # as a path, as a file's name, and without suffix
@pytest.mark.parametrize("values", [("1", "0"), ("1", "-1"), ("True", "false")])
def test_labels_from_a_table(
    folder: Path, tmp_path: Path, name: Callable[[Any], str], values: tuple[str, str]
) -> None:
    """In another order than the images, with rows for images that are not there."""
    rows = [f'"{name(file)}",{values[int(file.path.stem) % 2]}, {values[0]}'
            for file in reversed(image_files(folder).images)]  # fmt: skip
    text = "\n".join(["\ufeffimage,Even,Face", "nobody.png,1,1", *rows]) + "\n\n"
    (tmp_path / "labels.csv").write_text(text, "utf-8")
    data = module(folder, labels=str(tmp_path / "labels.csv"))
    for images in data.sets().values():
        for path, row in zip(images.paths.values(), images.labels.tolist(), strict=True):
            assert row == [float(int(Path(path).stem) % 2 == 0), 1.0]
    assert data.names == ("Even", "Face")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "want a header"),
        ("image,Smiling\n" + "0" * 200_000, "is no table"),
        ("image,Smiling\n", "want a header"),
        ("0.png,1\n1.png,0\n", "want a header"),
        ("image\n0.png\n", "want a header"),
        ("image,Smiling\n0.png,1\n", r"no row for 1 of 2 images, such as 1\.png"),
        ("image,Smiling\n0.png,1\n1.png,\n", "Smiling of 1.png is ''"),
        ("image,Smiling\n0.png,1\n1.png,yes\n", "is 'yes'"),
        ("image,Smiling\n0.png,0.5\n1.png,1\n", "is '0.5'"),
        ("image,Smiling\n0.png,1\n1.png,1,0\n", "2 values for 1 labels"),
        ("image,Smiling\n0.png,1\n0.png,0\n", "'0.png' occurs twice"),
        ("image,Smiling,Smiling\n0.png,1,1\n1.png,1,1\n", "'Smiling' occurs twice"),
        ("image,Smiling\n0.png,0\n1.png,-1\n", "both 0 and -1"),
        ("image,Smiling\n0.jpg,1\n0.jpeg,0\n1.jpg,0\n", "'0' names several images"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    for i in range(2):
        save(tmp_path / "images" / f"{i}.png", i)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(HslError, match=message) as raised:
        module(tmp_path / "images", labels=str(tmp_path / "labels.csv")).sets()
    assert "\n" not in str(raised.value)


def test_one_row_for_two_images_is_refused(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/0.png"):
        save(tmp_path / "images" / name, len(name))
    (tmp_path / "labels.csv").write_text("image,Smiling\n0.png,1\n")
    with pytest.raises(HslError, match=r"'0\.png' names several images"):
        module(tmp_path / "images", labels=str(tmp_path / "labels.csv")).sets()


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "single" / "a.png", 0)
    save(tmp_path / "loose" / "train" / "a.png", 0)
    save(tmp_path / "loose" / "b.png", 1)
    parquet = hub(tmp_path / "parquet", {"train": range(9)})
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (tmp_path / "empty", {}, "no images in this folder"),
        (tmp_path / "single", {}, "but none for"),
        (tmp_path / "single" / "a.png", {}, "is a file"),
        ("nobody/nothing", {}, "network"),
        (tmp_path / "no such folder", {}, "no such folder, and no data set"),
        (tmp_path / "loose", {}, "b.png: lies outside"),
        ({"test": str(folder)}, {}, "name a folder for train"),
        ({"training": str(folder)}, {}, "split 'training'"),
        (folder, {"labels": "columns"}, "want folders"),
        (folder, {"labels": str(tmp_path / "none.csv")}, "none.csv: no such file"),
        (folder, {"where": {"test": {"Smiling": 1}}}, "no label 'Smiling'; there are none"),
        (folder, {"labels": "folders", "where": {"test": {"0": 2}}}, "want 0 or 1"),
        (folder, {"labels": "folders", "where": {"test": {"0": 1, "1": 1}}}, "none for test with"),
        (folder, {"streaming": True, "train": 1, "validation": 1, "test": 1}, "not for folders"),
        (parquet, {"labels": "folders"}, "are its columns"),
        (parquet, {"labels": "columns"}, "no column of truth values"),
        (parquet, {"column": "picture"}, "no column 'picture'; there are image"),
    ]
    for source, arguments, message in cases:
        with pytest.raises(HslError, match=message) as raised:
            module(source, **arguments).sets()
        assert "\n" not in str(raised.value)
    for bad in ({"train": -1}, {"size": 0}, {"batch_size": 0}, {"where": {"x": {}}},
                {"fit": "squash"}, {"resampling": "nearest"}, {"streaming": True}):  # fmt: skip
        with pytest.raises(HslError):
            module(folder, **bad)


@pytest.mark.parametrize("saved", [False, True])
def test_hub_splits_and_labels(tmp_path: Path, saved: bool) -> None:
    splits = {"train": range(30), "valid": range(30, 35), "test": range(40, 47)}
    source = hub(tmp_path / "parquet", splits, "classes")
    if saved:
        datasets.load_dataset(str(source)).save_to_disk(tmp_path / "saved")
        source = tmp_path / "saved"
    data = module(source, labels="columns")
    for split, numbers in zip(SPLITS, splits.values(), strict=True):
        images = data.sets()[split]
        assert images.labels.argmax(1).tolist() == [i % 3 for i in numbers]
        assert images.numbers == [3 * row + SPLITS.index(split) for row in range(len(numbers))]
    assert data.names == ("cat", "dog", "wild")
    batch = next(iter(data.test_dataloader()))
    assert batch.path == [f"{source}/test/0"] and batch.image.shape == (1, 3, 8, 8)


def test_hub_without_splits(tmp_path: Path) -> None:
    source = hub(tmp_path, {"train": range(120)}, "classes")
    whole = module(source, labels="columns")
    assert sorted(n for s in whole.sets().values() for n in s.numbers) == list(range(120))
    assert all(len(s) > 0 for s in whole.sets().values())
    dogs = module(source, labels="columns", where={split: {"dog": 1} for split in SPLITS})
    for split in SPLITS:
        want = [n for n in whole.sets()[split].numbers if n % 3 == 1]
        assert dogs.sets()[split].numbers == want


@pytest.mark.parametrize(
    "names", [("full",), ("test",), ("validation", "test"), ("train", "extra")]
)
def test_hub_splits_without_training_images(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Are no splits: all images are split by hash. A split of no known name is left out."""
    source = hub(tmp_path, {name: range(50 * i, 50 * i + 50) for i, name in enumerate(names)})
    sets = module(source).sets()
    parts = 1 if "train" in names else len(names)
    assert sum(map(len, sets.values())) == 50 * parts and len(sets["train"]) > 25 * parts


def test_a_stream_fetches_what_is_asked_for_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same images and indices as without streaming; the second time no network is needed."""
    source = hub(tmp_path, {"train": range(60), "test": range(100, 110)}, "classes")
    counts = {"train": 9, "validation": 2, "test": 4}
    whole = module(source, labels="columns", **counts)
    fetched: list[int] = []
    original = hub_module.HubStream._rows

    def counting(self, place):
        for row in original(self, place):
            fetched.append(row.number)
            yield row

    monkeypatch.setattr(hub_module.HubStream, "_rows", counting)
    for needs_network in (True, False):
        data = module(source, labels="columns", streaming=True, **counts)
        for split in SPLITS:
            one, other = whole.sets()[split], data.sets()[split]
            assert one.numbers == other.numbers and one.paths == other.paths
            assert torch.equal(one.labels, other.labels)
            for i in range(len(one)):
                assert torch.equal(one[i].image, other[i].image)
        assert bool(fetched) == needs_network and len(fetched) < 2 * 70
        fetched.clear()


def test_a_stream_is_kept_apart_by_what_was_asked(tmp_path: Path) -> None:
    source = hub(tmp_path, {"train": range(60), "test": range(100, 140)}, "classes")
    counts = {"train": 5, "validation": 2, "test": 3, "streaming": True}
    first = module(source, **counts)
    assert first.sets()["train"].labels.shape == (5, 0)
    labelled = module(source, labels="columns", **counts)
    assert labelled.sets()["train"].labels.shape == (5, 3)
    dogs = module(source, labels="columns", where={"train": {"dog": 1}}, **counts)
    assert dogs.sets()["train"].labels.tolist() == [[0, 1, 0]] * 5
    hashed = module(source, split="hash", **counts)
    assert hashed.sets()["test"].numbers != first.sets()["test"].numbers


def test_a_stream_that_breaks_off_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    source = hub(tmp_path, {"train": range(60)})
    original, broken = Origin.content, [True]

    def content(self, image, row):
        if broken[0]:
            raise ConnectionError("reset by peer")
        return original(self, image, row)

    monkeypatch.setattr(Origin, "content", content)
    counts = {"train": 5, "validation": 2, "test": 3, "streaming": True}
    with pytest.raises(HslError, match=r"train broke off \(ConnectionError\)"):
        module(source, **counts).sets()
    assert not [path for path in cache.rglob("*") if path.is_file()]
    broken[0] = False
    assert len(module(source, **counts).sets()["train"]) == 5


@pytest.mark.parametrize("streaming", [False, True])
def test_a_row_without_an_image_is_left_out(tmp_path: Path, streaming: bool) -> None:
    images = [{"bytes": png(i), "path": None} for i in range(60)]
    images[3], images[5] = None, {"bytes": b"broken", "path": "5.png"}
    features = datasets.Features({"image": datasets.Image()})
    (tmp_path / "data").mkdir()
    made = datasets.Dataset.from_dict({"image": images}, features=features)
    made.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    data = module(tmp_path, train=20, validation=2, test=2, streaming=streaming)
    with pytest.warns(UserWarning, match="images are broken") as warned:
        numbers = [n for s in data.sets().values() for n in s.numbers]
    assert not {3, 5} & set(numbers) and {2, 4} & set(numbers)
    assert "train/3: does not decode" in str(warned[0].message)


def test_a_hub_id_goes_to_the_library_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*arguments, **options):
        asked.append((arguments, options))
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load)
    for streaming in (False, True):
        data = module("huggan/AFHQ", config="x", streaming=streaming, train=1, validation=1, test=1)
        with pytest.raises(HslError, match=r"huggan/AFHQ: .*network"):
            data.sets()
        assert asked[-1] == (("huggan/AFHQ", "x"), {"streaming": streaming})


def every(data: ImagesDataModule, verb: str) -> list[tuple[int, str, float]]:
    """Index, path and sum of each image, in the order they come."""
    loader = getattr(data, f"{verb}_dataloader")()
    return [(int(i), p, float(x.sum())) for b in loader for x, _, i, p in zip(*b, strict=True)]


@pytest.mark.parametrize("fit", ["crop", "random"])
def test_workers_change_nothing(folder: Path, fit: str) -> None:
    for verb in ("train", "val", "predict"):
        one, two = (module(folder, fit=fit, size=6, batch_size=3, num_workers=n) for n in (0, 2))
        assert every(one, verb) == every(two, verb)


def test_ranks_change_nothing(folder: Path) -> None:
    """Two ranks see, batch by batch, what one sees with batches twice as large; every image keeps
    its index, and each epoch has an order of its own."""
    data = module(folder, batch_size=4, fit="random", size=6)
    epochs = []
    for epoch in (0, 1):
        loader = data.train_dataloader()
        assert isinstance(loader.sampler, DistributedSampler)
        loader.sampler.set_epoch(epoch)
        one = [(dict(zip(b.index.tolist(), b.image.sum((1, 2, 3)).tolist(), strict=True)))
               for b in loader]  # fmt: skip
        ranks = []
        for rank in (0, 1):
            sampler = DistributedSampler(data.dataset("train"), 2, rank, seed=data.seed)
            sampler.set_epoch(epoch)
            data.batch_size = 2
            ranks.append(list(data.loader(data.dataset("train"), sampler=sampler)))
            data.batch_size = 4
        two = []
        for batches in zip(*ranks, strict=True):
            two.append({})
            for b in batches:
                sums = b.image.sum((1, 2, 3)).tolist()
                two[-1] |= dict(zip(b.index.tolist(), sums, strict=True))
        assert two[: len(one) - 1] == one[:-1]  # the last batch is filled by repeating
        epochs.append([i for batch in one for i in batch])
    assert epochs[0] != epochs[1] and sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != sorted(epochs[0])


def test_predict_goes_through_all_images_in_order(folder: Path) -> None:
    data = module(folder, train=4, validation=2, test=3, batch_size=2)
    indices = [i for i, _, _ in every(data, "predict")]
    assert indices == [n for split in SPLITS for n in data.sets()[split].numbers]
    assert len(set(indices)) == 9


def test_an_empty_split_can_be_asked_for(folder: Path) -> None:
    data = module(folder, validation=0, test=0)
    assert list(data.val_dataloader()) == [] and len(every(data, "train")) > 50
