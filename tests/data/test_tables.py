"""Tables as people have them: joined by name in one way, or refused in a line that says where."""

import unicodedata
from pathlib import Path

import pytest

from hsl.data.folder import ImagesDataModule
from hsl.data.labels import Labels
from hsl.data.tables import read_csv
from hsl.errors import HslError
from layouts import save


def labels(rows: dict[str, int]) -> Labels:
    return Labels(Path("l.csv"), ("Smiling",), {name: (float(v),) for name, v in rows.items()})


def joined(rows: dict[str, int], images: list[str], root: str = "/d") -> list[int]:
    """The labels of images of a folder ``root``."""
    found = labels(rows).of(images, [f"{root}/{image}" for image in images])
    return [int(value) for (value,) in found]


SUBFOLDERS = ["a/0.png", "a/1.png", "b/0.png", "b/deep/1.png"]
VALUES = [1, 0, 0, 1]


@pytest.mark.parametrize(
    "called",
    [
        lambda name: name,
        lambda name: f"./{name}",
        lambda name: f"data/{name}",
        lambda name: f"/mnt/else/data/{name}",
        lambda name: "D:\\data\\" + name.replace("/", "\\"),
        lambda name: name.replace(".png", ".jpg"),
        lambda name: name.removesuffix(".png"),
        lambda name: f"other/root/{name}".replace(".png", ".JPEG"),
        lambda name: f"faces/{name}",  # the folder's own name
    ],
)
def test_paths_whose_file_names_repeat(called) -> None:
    rows = {called(name): value for name, value in zip(SUBFOLDERS, VALUES, strict=True)}
    more = {called(f"c/{i}.png"): 1 - i for i in range(2)}
    assert joined(rows | more, SUBFOLDERS, "/x/faces") == VALUES
    assert joined(rows | more, SUBFOLDERS[::-1], "/x/faces") == VALUES[::-1]


def test_paths_of_a_table_in_a_folder_below() -> None:
    """The source lies above the table's folder, or beside it."""
    images = [f"pictures/{name}" for name in SUBFOLDERS]
    rows = dict(zip(SUBFOLDERS, VALUES, strict=True))
    assert joined(rows, images) == VALUES
    assert joined({f"photos/{n}": v for n, v in rows.items()}, images) == VALUES


def test_of_two_folders_that_fit_none_is_taken() -> None:
    rows = {f"{root}/{name}": int(root == "x") for root in "xy" for name in SUBFOLDERS}
    with pytest.raises(HslError, match=r"names several images; use their paths, as in a/0\.png"):
        joined(rows, SUBFOLDERS)


def test_the_exact_path_comes_first() -> None:
    rows = {"a/0.png": 1, "x/a/0.png": 0, "b/0.png": 0, "x/b/0.png": 1}
    assert joined(rows, ["a/0.png", "b/0.png"]) == [1, 0]


def test_some_rows_missing_among_repeated_names_are_missing() -> None:
    with pytest.raises(HslError, match=r"no row for 1 of 2 images, such as b/0\.png"):
        joined({"a/0.png": 1}, ["a/0.png", "b/0.png"])


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_letters_are_the_same(forms: tuple[str, str]) -> None:
    names = [f"Zoé/Å_{i}.png" for i in range(4)]
    one, other = ([unicodedata.normalize(form, name) for name in names] for form in forms)
    assert joined(dict(zip(one, VALUES, strict=True)), other) == VALUES


def test_two_names_that_differ_in_their_form_alone_keep_their_rows() -> None:
    one, other = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    assert joined({one: 1, other: 0}, [other, one]) == [0, 1]


def test_names_with_dots_are_not_cut() -> None:
    rows = {"img.v1": 1, "img.v2": 0}
    assert joined(rows, ["img.v1.png", "img.v2.png"]) == [1, 0]


@pytest.mark.parametrize(
    "content",
    [
        b"image,Smiling,Male\n0.png,1,0\n1.png,0,0\n",
        b"image;Smiling;Male\r\n0.png;1;0\r\n1.png;0;0\r\n",
        b"image\tSmiling\tMale\n0.png\t1\t0\n1.png\t0\t0\n",
        b"sep=;\r\nimage;Smiling;Male\r\n0.png;1;0\r\n1.png;0;0\r\n",
        b"\n\n  \nimage,Smiling,Male\n\n0.png,1,0\n , , \n1.png,0,0\n,,\n\n",
        b"image,Smiling,Male,,\r\n0.png,1,0,,\r\n1.png,0,0,,\r\n,,,,\r\n",
        b"image,Smiling,Male\r0.png,1,0\r1.png,0,0\r",
        b"image,Smiling,Male\n0.png,1.0,0.0\n1.png,0.0,0.0\n",
        "image\tSmiling\tMale\r\n0.png\t1\t0\r\n1.png\t0\t0\r\n".encode("utf-16"),
        b'\xef\xbb\xbf"image", "Smiling", "Male"\n"0.png", TRUE, false\n"1.png", False, False\n',
    ],
)
def test_what_spreadsheets_write(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    found = read_csv(tmp_path / "l.csv")
    assert found.names == ("Smiling", "Male")
    assert found.rows == {"0.png": (1.0, 0.0), "1.png": (0.0, 0.0)}


def test_a_name_may_hold_any_letter(tmp_path: Path) -> None:
    name = "a\u2028b\x85c,d.png"
    (tmp_path / "l.csv").write_text(f'image,Smiling\n"{name}",1\n', "utf-8")
    assert list(read_csv(tmp_path / "l.csv").rows) == [name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,Smiling\n0.png,1\n,1\n", "line 3 names no image"),
        (b"sep=,\nimage,Smiling\n0.png,1\n\n,1\n", "line 5 names no image"),
        (b"image,Smiling\n0.png,1,,1\n", "0.png has 3 values for 1 labels"),
        (b"image,Smiling\ncaf\xe9.png,1\n", "is no UTF-8 text; save it as UTF-8"),
        (b'image,Smiling\n"0.png,1\n1.png,0\n', "is no table .*; save it as CSV anew"),
        ("image,Smiling\n0.png,1\n".encode("utf-16-le"), "has NUL in it; save it as UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run 'git lfs pull'"),
        (b"image,Smiling\n0.png," + b"x" * 500 + b"\n", "is 'x{30}'; want 1 and 0"),
    ],
)
def test_what_is_no_table_of_labels(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(HslError, match=message) as raised:
        read_csv(tmp_path / "l.csv")
    assert "\n" not in str(raised.value) and "l.csv" in str(raised.value)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "TXT"])
def test_a_table_of_paths_from_another_root_labels_a_folder(tmp_path: Path, suffix: str) -> None:
    for i, name in enumerate(SUBFOLDERS):
        save(tmp_path / "data" / name, i)
    table = tmp_path / f"labels.{suffix}"
    rows = [f"data/{n}\t{v}\n" for n, v in zip(SUBFOLDERS, VALUES, strict=True)]
    table.write_text("image\tSmiling\n" + "".join(rows))
    source = {s: str(tmp_path / "data") for s in ("train", "validation", "test")}
    with pytest.raises(HslError, match="names several images"):  # of three splits, that is
        ImagesDataModule(source, 8, labels=str(table), num_workers=0).sets()
    several = {"train": str(tmp_path / "data" / "a"), "test": str(tmp_path / "data" / "b")}
    data = ImagesDataModule(several, 8, None, 0, None, labels=str(table), num_workers=0)
    assert data.dataset("train").labels.flatten().tolist() == [1, 0]
    assert data.dataset("test").labels.flatten().tolist() == [0, 1]
