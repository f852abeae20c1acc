"""CelebA's and CelebAMask-HQ's files: every label is the image's own, or there is none."""

from pathlib import Path

import pytest
import torch

from hsl.data.celeba import ATTRIBUTES, LAST, PARTITION, CelebADataModule, read_attributes
from hsl.data.items import SPLITS
from hsl.errors import HslError
from layouts import attribute_text, celeba, celebamask, hub, values

REAL = Path(__file__).resolve().parents[3] / "shared/real/CelebAMask-HQ-attribute-anno.txt"
#: Read off the released file by eye: image -> attributes that it has.
HAND_CHECKED = {
    "0.jpg": "Arched_Eyebrows Attractive Bags_Under_Eyes Big_Lips Brown_Hair Bushy_Eyebrows "
    "Heavy_Makeup High_Cheekbones Mouth_Slightly_Open No_Beard Pointy_Nose Smiling Wavy_Hair "
    "Wearing_Lipstick Young",
    "1.jpg": "Arched_Eyebrows Attractive Blond_Hair Heavy_Makeup Mouth_Slightly_Open No_Beard "
    "Smiling Wavy_Hair Wearing_Lipstick Young",
    "7.jpg": "Big_Lips Brown_Hair Heavy_Makeup No_Beard Wearing_Earrings Wearing_Necklace Young",
    "12345.jpg": "Arched_Eyebrows Bags_Under_Eyes Bangs Big_Nose Brown_Hair Heavy_Makeup "
    "High_Cheekbones Mouth_Slightly_Open No_Beard Smiling Wavy_Hair Wearing_Earrings "
    "Wearing_Lipstick Wearing_Necklace",
    "29999.jpg": "Attractive Bangs Brown_Hair Heavy_Makeup High_Cheekbones Mouth_Slightly_Open "
    "No_Beard Rosy_Cheeks Smiling Wavy_Hair Wearing_Earrings Wearing_Lipstick",
}


def module(source: Path, **arguments) -> CelebADataModule:
    every = {"train": None, "validation": None, "test": None}
    return CelebADataModule(str(source), size=16, num_workers=0, **(every | arguments))


def labels_of(data: CelebADataModule) -> dict[str, list[float]]:
    """The labels of each image in all splits, by its file's name."""
    found = {}
    for split in SPLITS:
        for i, row in enumerate(data.sets()[split].rows):
            found[Path(row.path).stem] = data.sets()[split][i].labels.tolist()
    return found


def splits_of(data: CelebADataModule) -> dict[str, str]:
    return {Path(r.path).stem: split for split in SPLITS for r in data.sets()[split].rows}


@pytest.mark.skipif(not REAL.exists(), reason=f"no {REAL}: the released attribute file")
def test_the_released_file() -> None:
    labels = read_attributes(REAL)
    assert len(labels.rows) == 30_000 and labels.names == ATTRIBUTES and len(ATTRIBUTES) == 40
    assert list(labels.rows) == [f"{i}.jpg" for i in range(30_000)]
    totals = dict(zip(ATTRIBUTES, map(sum, zip(*labels.rows.values(), strict=True)), strict=True))
    wanted = {"Smiling": 14092, "Young": 23368, "Male": 11057, "Eyeglasses": 1468, "Bangs": 5425}
    assert {name: totals[name] for name in wanted} == wanted
    for image, names in HAND_CHECKED.items():
        row = labels.rows[image]
        assert [n for n, v in zip(ATTRIBUTES, row, strict=True) if v] == names.split(), image


@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("newline", ["\n", " \r\n"])
def test_the_header_never_shifts_a_label(
    tmp_path: Path, count: bool, names: bool, newline: str
) -> None:
    """Released code took line number for image number, two rows off where there is a header."""
    files = [f"{i}.jpg" for i in range(20)]
    text = attribute_text(files, range(20), count, names).replace("\n", newline)
    (tmp_path / "list.txt").write_text("\ufeff" + text, "utf-8")
    rows = read_attributes(tmp_path / "list.txt").rows
    assert {file: list(row) for file, row in rows.items()} == {
        f"{i}.jpg": values(i) for i in range(20)
    }


def test_zeros_are_taken_too(tmp_path: Path) -> None:
    text = attribute_text(["a.jpg", "b.jpg"], [1, 2]).replace("-1", "0")
    (tmp_path / "list.txt").write_text(text)
    rows = read_attributes(tmp_path / "list.txt").rows
    assert list(rows["b.jpg"]) == values(2)


GOOD = attribute_text([f"{i}.jpg" for i in range(4)], range(4))
LINES = GOOD.splitlines()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no row for any image"),
        ("4\n", "no row for any image"),
        (GOOD.replace("4", "5", 1), "says 5 images and has rows for 4"),
        ("\n".join(LINES[:-1]), "says 4 images and has rows for 3"),
        (GOOD.replace("Smiling", "Smile", 1), "Smile"),
        (GOOD.replace("Bald Bangs", "Bangs Bald", 1), "Bangs"),
        (GOOD.replace(" Young", "", 1), "39 of them"),
        (GOOD.replace(" Young", " Young Old", 1), "41 of them"),
        ("\n".join([*LINES[:-1], LINES[-1] + " 1"]), "3.jpg has 41 values"),
        ("\n".join([*LINES[:-1], LINES[-1].rpartition(" ")[0]]), "3.jpg has 39 values"),
        (GOOD.replace("3.jpg", "2.jpg"), "'2.jpg' occurs twice"),
        ("\n".join([*LINES[:-1], LINES[-1].rpartition(" ")[0] + " 2"]), "is '2'"),
        ("\n".join([*LINES[:2], "a.jpg" + " 1" * 40, "b.jpg" + " 0" * 40,
                    "c.jpg" + " 1" * 40, "d.jpg" + " -1" * 40]), "both 0 and -1"),
    ],
)  # fmt: skip
def test_a_bad_attribute_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(HslError, match=message) as raised:
        read_attributes(tmp_path / "list.txt")
    assert "\n" not in str(raised.value) and "list.txt" in str(raised.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HslError, match="no UTF-8"):
        read_attributes(tmp_path / "list.txt")


@pytest.mark.parametrize("header", [True, False])
def test_celebamask(tmp_path: Path, header: bool) -> None:
    data = module(celebamask(tmp_path, 40, header=header))
    assert labels_of(data) == {str(i): values(i) for i in range(40)}
    assert data.names == ATTRIBUTES and len(set(splits_of(data).values())) == 3
    batch = next(iter(data.val_dataloader()))
    assert batch.labels.shape == (1, 40) and batch.labels.dtype == torch.float32


def test_labels_follow_names_and_not_order(tmp_path: Path) -> None:
    """The rows of the file in another order, and images in a folder of their own suffix."""
    celebamask(tmp_path, 40)
    order = [(7 * i) % 40 for i in range(40)]
    text = attribute_text([f"{i}.jpg" for i in order], order)
    (tmp_path / "CelebAMask-HQ-attribute-anno.txt").write_text(text)
    for path in (tmp_path / "CelebA-HQ-img").iterdir():
        path.rename(path.with_suffix(".png"))
    assert labels_of(module(tmp_path)) == {str(i): values(i) for i in range(40)}


def test_a_part_of_the_images_keeps_its_labels(tmp_path: Path) -> None:
    celebamask(tmp_path, 40)
    for i in range(0, 40, 2):
        (tmp_path / "CelebA-HQ-img" / f"{i}.jpg").unlink()
    data = module(tmp_path, validation=0, test=0)
    found = labels_of(data)
    assert found and all(found[name] == values(int(name)) for name in found)


def test_images_numbered_otherwise_are_refused(tmp_path: Path) -> None:
    """00001.jpg ... 00008.jpg are probably 0 to 7: no reader can know."""
    celebamask(tmp_path, 8)
    for i in range(8):
        image = tmp_path / "CelebA-HQ-img" / f"{i}.jpg"
        image.rename(image.with_name(f"{i + 1:05d}.jpg"))
    with pytest.raises(HslError, match=r"no row for 8 of 8 images, such as 00001\.jpg"):
        module(tmp_path).sets()


@pytest.mark.parametrize("n", [LAST[0], LAST[1], 1])
def test_official_splits_of_celeba_hq(tmp_path: Path, n: int) -> None:
    """Images beside CelebA's borders between splits; orig_idx counts from 0, orig_file from 1."""
    mapping = [5, n, n + 1, 100, LAST[0] + 2, LAST[1] + 2]
    data = module(celebamask(tmp_path, 6, mapping=mapping))
    bounds = [(i, "train" if m <= LAST[0] else "validation" if m <= LAST[1] else "test")
              for i, m in enumerate(mapping)]  # fmt: skip
    assert splits_of(data) == {str(i): split for i, split in bounds}
    assert labels_of(data) == {str(i): values(i) for i in range(6)}


def test_celeba_with_and_without_its_partition(tmp_path: Path) -> None:
    numbers = [LAST[0] - 1, LAST[0], LAST[0] + 1, LAST[1], LAST[1] + 1, LAST[2]]
    data = module(celeba(tmp_path / "a", numbers))
    assert splits_of(data) == {f"{n:06d}": SPLITS[n % 3] for n in numbers}
    assert labels_of(data) == {f"{n:06d}": values(n) for n in numbers}
    data = module(celeba(tmp_path / "b", numbers, partition=False))
    train, validation, test = numbers[:2], numbers[2:4], numbers[4:]
    assert splits_of(data) == {
        f"{n:06d}": split
        for split, several in zip(SPLITS, (train, validation, test), strict=True)
        for n in several
    }


@pytest.mark.parametrize("images", ["Img/img_align_celeba", "Img/img_align_celeba_png"])
@pytest.mark.parametrize("partition", [True, False])
def test_celeba_as_its_authors_release_it(tmp_path: Path, images: str, partition: bool) -> None:
    """Anno/, Eval/ and Img/."""
    numbers = [LAST[0] - 1, LAST[0], LAST[0] + 1, LAST[1], LAST[1] + 1, LAST[2]]
    celeba(tmp_path / "flat", numbers, partition)
    root = tmp_path / "CelebA"
    (root / images).parent.mkdir(parents=True)
    (tmp_path / "flat" / "img_align_celeba").rename(root / images)
    for part, name in (("Anno", "list_attr_celeba.txt"), ("Eval", PARTITION)):
        (root / part).mkdir()
        if (tmp_path / "flat" / name).exists():
            (tmp_path / "flat" / name).rename(root / part / name)
    data = module(root)
    assert labels_of(data) == {f"{n:06d}": values(n) for n in numbers}
    official = ["train", "train", "validation", "validation", "test", "test"]
    wanted = [SPLITS[n % 3] for n in numbers] if partition else official
    assert splits_of(data) == {f"{n:06d}": s for n, s in zip(numbers, wanted, strict=True)}


def test_celeba_as_kaggle_has_it(tmp_path: Path) -> None:
    """CSV files, and the images in a folder within a folder of the same name."""
    numbers = list(range(1, 10))
    celeba(tmp_path, numbers)
    (tmp_path / "img_align_celeba").rename(tmp_path / "images")
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "images").rename(tmp_path / "img_align_celeba" / "img_align_celeba")
    lines = [line.split() for line in (tmp_path / "list_attr_celeba.txt").read_text().splitlines()]
    table = [["image_id", *lines[1]], *lines[2:]]
    (tmp_path / "list_attr_celeba.txt").unlink()
    (tmp_path / "list_attr_celeba.csv").write_text("".join(",".join(t) + "\r\n" for t in table))
    places = [line.split() for line in (tmp_path / PARTITION).read_text().splitlines()]
    (tmp_path / PARTITION).unlink()
    text = "image_id,partition\r\n" + "".join(f"{name},{place}\r\n" for name, place in places)
    (tmp_path / "list_eval_partition.csv").write_text(text)
    data = module(tmp_path)
    assert labels_of(data) == {f"{n:06d}": values(n) for n in numbers}
    assert splits_of(data) == {f"{n:06d}": SPLITS[n % 3] for n in numbers}


def test_an_image_of_no_known_split_is_refused(tmp_path: Path) -> None:
    celeba(tmp_path, [1, 2, 3])
    partition = tmp_path / PARTITION
    partition.write_text("".join(partition.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(HslError, match="which split image 000003"):
        module(tmp_path).sets()
    assert len(labels_of(module(tmp_path, split="hash", validation=0, test=0))) <= 3


@pytest.mark.parametrize("streaming", [False, True])
def test_celeba_of_the_hub(tmp_path: Path, streaming: bool) -> None:
    splits = {"train": range(6), "valid": range(10, 13), "test": range(20, 22)}
    source = hub(tmp_path, splits, "celeba")
    data = module(source, streaming=streaming, train=5, validation=9, test=9)
    assert data.names == ATTRIBUTES
    for split, numbers in zip(SPLITS, (range(5), range(10, 13), range(20, 22)), strict=True):
        images = data.sets()[split]
        assert images.labels.tolist() == [values(i) for i in numbers]


def test_what_is_no_celeba_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HslError, match="no such folder"):
        module(tmp_path / "nothing").sets()
    (tmp_path / "empty").mkdir()
    with pytest.raises(HslError, match="has none of CelebAMask-HQ-attribute"):
        module(tmp_path / "empty").sets()
    celebamask(tmp_path / "moved")
    (tmp_path / "moved" / "CelebA-HQ-img").rename(tmp_path / "moved" / "images")
    with pytest.raises(HslError, match="CelebA-HQ-img: no such folder"):
        module(tmp_path / "moved").sets()
    hub(tmp_path / "classes", {"train": range(3)}, "classes")
    with pytest.raises(HslError, match="no column 5_o_Clock_Shadow"):
        module(tmp_path / "classes").sets()
