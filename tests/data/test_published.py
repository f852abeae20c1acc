"""Data sets in the library's formats, as people have them on disk; and what their rows may name."""

import io
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hsl.data import origin
from hsl.data.folder import ImagesDataModule
from hsl.data.origin import Origin
from hsl.errors import HslError
from layouts import hub, png, save

PAIR = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def rows(n: int = 12, start: int = 0) -> list[dict[str, Any]]:
    return [{"bytes": png(start + i), "path": f"{i}.png"} for i in range(n)]


def made(n: int = 12, start: int = 0) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image()})
    return datasets.Dataset.from_dict({"image": rows(n, start)}, features=features)


def table(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def module(source: Path | str, **arguments: Any) -> ImagesDataModule:
    how = {"size": 8, "train": None, "validation": 0, "test": 0, "num_workers": 0, "split": "hash"}
    return ImagesDataModule(str(source), **(how | arguments))


def parquet_branch(root: Path) -> None:
    table(root / "default" / "train" / "0000.parquet", image=pa.array(rows(), PAIR))


def arrow(root: Path) -> None:
    made().save_to_disk(root / "kept")
    file = next((root / "kept").glob("*.arrow"))
    (root / "deep").mkdir()
    file.rename(root / "deep" / "set-train.arrow")
    for path in (root / "kept").iterdir():
        path.unlink()


LAYOUTS = {
    "saved": lambda root: made().save_to_disk(root),
    "saved in two shards": lambda root: made().save_to_disk(root, num_shards=2),
    "saved with splits": lambda root: datasets.DatasetDict(train=made()).save_to_disk(root),
    "saved a split a folder": lambda root: made().save_to_disk(root / "train"),
    "the Hub's Parquet branch": parquet_branch,
    "Arrow files": arrow,
    "binary column": lambda root: table(
        root / "train.parquet", image=pa.array([row["bytes"] for row in rows()])
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_layouts_on_disk(tmp_path: Path, name: str, streaming: bool) -> None:
    LAYOUTS[name](tmp_path / "set")
    counts = {"train": 5} if streaming else {}
    data = module(tmp_path / "set", streaming=streaming, **counts)
    assert len(data.dataset("train")) == 5 if streaming else len(data.dataset("train")) > 6
    assert data.dataset("train")[0].image.shape == (3, 8, 8)


def test_splits_are_called_as_people_call_them(tmp_path: Path) -> None:
    """Others beside them are left out, and said; alone they are no splits."""
    parts = {"Train": made(), "TEST": made(3, 20), "more": made(2, 30)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "a")
    data = module(tmp_path / "a", split="given", test=None)
    with pytest.warns(UserWarning, match="left out more"):
        data.setup("fit")
    assert len(data.dataset("train")) > 6 and len(data.dataset("test")) == 3
    datasets.DatasetDict(one=made(), two=made()).save_to_disk(tmp_path / "b")
    with pytest.raises(HslError, match="among one, two; call one so"):
        module(tmp_path / "b").setup("fit")


def test_a_format_that_was_saved_hides_no_column(tmp_path: Path) -> None:
    other = made().add_column("other", list(range(12)))
    other.with_format("numpy", columns=["other"]).save_to_disk(tmp_path)
    assert len(module(tmp_path).dataset("train")) > 6


def test_all_numbered_files_are_there(tmp_path: Path) -> None:
    for i in (0, 2):
        table(tmp_path / f"train-{i:05d}-of-00003.parquet", image=pa.array(rows(6, i), PAIR))
    with pytest.raises(HslError, match="train-00001-of-00003 is not there; fetch it"):
        module(tmp_path).setup("fit")


def test_one_of_several_configurations(tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 100)):
        path = tmp_path / name / "train" / "0000.parquet"
        table(path, image=pa.array(rows(start=start), PAIR))
    with pytest.raises(HslError, match="several data sets: set config to one of a, b"):
        module(tmp_path).sets()
    one, other = (module(tmp_path, config=name).found.entries["train"] for name in "ab")
    assert one and other and not {e.digest for e in one} & {e.digest for e in other}


def test_images_with_a_table_deep_among_them_are_a_folder(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / f"{i}.png", i)
    table(tmp_path / "about" / "deep" / "x.parquet", number=pa.array([1]))
    assert len(module(tmp_path).dataset("train")) > 6


def pointer(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "train.parquet").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    )


def cut(root: Path) -> None:
    path = table(root / "train.parquet", image=pa.array(rows(), PAIR))
    path.write_bytes(path.read_bytes()[:-100])


def without_shard(root: Path) -> None:
    made().save_to_disk(root, num_shards=2)
    next(root.glob("data-00001*")).unlink()


def no_json(root: Path) -> None:
    made().save_to_disk(root)
    (root / "state.json").write_text("{")


def lists(root: Path) -> None:
    table(root / "train.parquet", image=pa.array([[r] for r in rows(4)], pa.list_(PAIR)))


def column(*values: Any) -> Any:
    return lambda root: table(root / "train.parquet", image=pa.array(values))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pointer, r"train\.parquet: is a pointer of git-lfs.*git lfs pull"),
        (cut, r"train\.parquet: is no Parquet file, or damaged or cut"),
        (without_shard, "set: this data set cannot be loaded .*is it whole"),
        (no_json, "set: this data set cannot be loaded"),
        (lists, "column 'image' holds List.*no images"),
        (column(1, 2, 3), "column 'image' holds .*int64.*no images"),
        (column(True, False), "column 'image' holds .*bool.*no images"),
        (column("images/0.png", "images/1.png"), r"the data set has no file images/0\.png"),
        (column("https://example.org/a.png"), "'https://example.org/a.png', which is no file"),
        (column("file:///etc/passwd"), "which is no file of the data set"),
        (column("zip://a.png::file:///a.zip"), "which is no file of the data set"),
        (column("/etc/passwd"), "'/etc/passwd', which is no file of the data set"),
        (column("../beside.png"), r"'\.\./beside\.png', which is no file of the data set"),
        (column("a/../../beside.png"), "which is no file of the data set"),
        (column("~/beside.png"), "has no file ~/beside.png"),
        (column("a\0b.png"), "which is no file of the data set"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_of_the_file(
    tmp_path: Path, make: Any, message: str, streaming: bool
) -> None:
    save(tmp_path / "beside.png", 0)
    make(tmp_path / "set")
    with pytest.raises(HslError, match=message) as raised:
        module(tmp_path / "set", streaming=streaming, train=1).sets()
    assert "\n" not in str(raised.value) and "Hub" not in str(raised.value)


def test_images_beside_a_table_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the data set's folder, wherever the command runs; links lead where they lead."""
    for i in range(12):
        save(tmp_path / "elsewhere" / f"{i}.png", i)
    names = [f"images/{i}.png" if i % 2 else str(tmp_path / "set" / "images" / f"{i}.png")
             for i in range(12)]  # fmt: skip
    table(tmp_path / "set" / "train.parquet", image=pa.array(names))
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(module(tmp_path / "set").dataset("train")) > 6


def test_a_row_of_the_hub_names_files_of_its_own_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    own = tmp_path / "hub" / "datasets--some--set" / "snapshots" / "1" / "a.png"
    other = tmp_path / "hub" / "datasets--some--other" / "snapshots" / "1" / "a.png"
    for path in (own, other):
        save(path, 1)
    rows_of = Origin("some/set")
    assert rows_of.content({"bytes": None, "path": str(own)}, "row") == own.read_bytes()
    fetched: list[str] = []

    def fetch(path: str, mode: str) -> io.BytesIO:
        fetched.append(path)
        return io.BytesIO(own.read_bytes())

    monkeypatch.setattr(origin.fsspec, "open", fetch)
    for path in ("hf://datasets/some/set@main/a.png", "zip://a.png::hf://datasets/some/set/x.zip"):
        assert rows_of.content({"bytes": None, "path": path}, "row") == own.read_bytes()
    assert len(fetched) == 2
    for path in (str(other), "hf://datasets/some/set2@main/a.png", "https://example.org/a.png",
                 "zip://hf://datasets/some/set/a::https://example.org/a.zip"):  # fmt: skip
        with pytest.raises(HslError, match="no file of the data set"):
            rows_of.content({"bytes": None, "path": path}, "row")
    assert len(fetched) == 2


def test_columns_of_images_are_named(tmp_path: Path) -> None:
    table(tmp_path / "train.parquet", img=pa.array(rows(), PAIR), number=pa.array(range(12)))
    with pytest.raises(
        HslError, match="no column 'image'; there are img, number; set column to img"
    ):
        module(tmp_path).sets()
    assert len(module(tmp_path, column="img").dataset("train")) > 6


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no route"), "the Hub could not be reached .*no route"),
        (FileNotFoundError("gone"), "the Hub has no such data set, or not for you"),
        (ValueError("BuilderConfig 'x' not found. Available: ['y']"), r"Available: \['y'\]"),
    ],
)
def test_what_the_hub_says(error: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(HslError, match=f"some/set: .*{message}"):
        module("some/set").sets()


@pytest.mark.parametrize("source", ["/no/such/folder", "./none", "a/b/c", "no such", "~nobody/x"])
def test_what_is_no_name_of_the_hub_is_not_asked_of_it(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", None)
    with pytest.raises(HslError, match=r"no such folder|nobody's home"):
        module(source).sets()


@pytest.mark.parametrize("damage", ["cut", "flipped", "no notes", "other notes", "gone"])
def test_a_damaged_stream_is_fetched_again(tmp_path: Path, cache: Path, damage: str) -> None:
    source = hub(tmp_path, {"train": range(20)})
    how = {"streaming": True, "train": 4}
    before = [module(source, **how).dataset("train")[i].image.sum() for i in range(4)]
    (notes,) = cache.glob("streams/*/rows.json")
    image = next(notes.parent.glob("*.image"))
    if damage == "no notes":
        notes.write_text("[" * 100_000)
    elif damage == "other notes":
        said = json.loads(notes.read_text())
        said["notes"]["rows"]["train"][0][0] = 999
        notes.write_text(json.dumps(said))
    elif damage == "cut":
        notes.write_bytes(notes.read_bytes()[:-9])
    elif damage == "gone":
        image.unlink()
    else:  # which is seen when it is read
        content = bytearray(image.read_bytes())
        content[-20] ^= 1
        image.write_bytes(content)
        images = module(source, **how).dataset("train")
        with pytest.raises(HslError, match="is damaged; delete its folder"):
            [images[i] for i in range(4)]
        return
    after = [module(source, **how).dataset("train")[i].image.sum() for i in range(4)]
    assert before == after and len(list(notes.parent.parent.iterdir())) == 1
