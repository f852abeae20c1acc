"""``python -m hsl.data describe``."""

import csv
from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image

from hsl.data.__main__ import main
from hsl.data.celeba import ATTRIBUTES, CelebADataModule
from hsl.data.describe import correlations, counts, frequencies, sheet, strongest
from hsl.data.items import SPLITS
from hsl.data.options import data_module, of_folder
from hsl.errors import HslError
from layouts import celebamask, save, values

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return celebamask(tmp_path_factory.mktemp("celebamask"), 60, size=24)


def module(folder: Path) -> CelebADataModule:
    every = {"train": None, "validation": None, "test": None}
    return CelebADataModule(str(folder), size=16, num_workers=0, **every)


def test_figures(folder: Path) -> None:
    data = module(folder)
    labels = torch.tensor([values(i) for i in range(60)]).float()
    rows = frequencies(data)
    assert [row["label"] for row in rows] == list(ATTRIBUTES)
    torch.testing.assert_close(torch.tensor([row["all"] for row in rows]), labels.mean(0))
    sizes = {row["split"]: row for row in counts(data)}
    assert sum(row["images"] for row in sizes.values()) == 60
    assert sizes["train"]["width"] == "24 ... 24 ... 24"
    matrix = correlations(data)
    torch.testing.assert_close(matrix.float(), torch.corrcoef(labels.T), atol=1e-5, rtol=0)
    most = strongest(data)[0]
    off = matrix - torch.eye(40)
    assert abs(most["correlation"]) == pytest.approx(float(off.abs().max()))


def test_a_label_that_all_have_correlates_with_none(tmp_path: Path) -> None:
    from hsl.data.folder import ImagesDataModule

    for i in range(30):
        save(tmp_path / "images" / f"{i}.png", i)
    rows = "\n".join(f"{i},1,{i % 2}" for i in range(30))
    (tmp_path / "labels.csv").write_text(f"image,Face,Odd\n{rows}\n")
    labels = str(tmp_path / "labels.csv")
    data = ImagesDataModule(str(tmp_path / "images"), 8, None, 0, 0, labels=labels, num_workers=0)
    assert correlations(data).isnan().sum() == 3 and strongest(data) == []


def test_the_sheet_shows_the_images(folder: Path) -> None:
    """Each under its own split, number and labels."""
    data = module(folder)
    items = {(s, item.index): item for s in SPLITS for item in islice(data.dataset(s), 8)}
    figure, shown = sheet(data, columns=4, rows=2), []
    for axis in figure.axes:
        (picture,) = axis.images
        split, number = axis.get_title(loc="left").split("\n")[0].split()
        item = items[split, int(number)]
        wanted = (item.image.permute(1, 2, 0) + 1) / 2
        torch.testing.assert_close(torch.tensor(picture.get_array().data), wanted)
        has = [n for n, v in zip(data.names, item.labels.tolist(), strict=True) if v]
        assert axis.get_title(loc="left").split()[2:3] == has[:1]
        shown.append(split)
    assert shown == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "CelebA-HQ-img" / "3.jpg").write_bytes(b"broken")
    (folder / "CelebA-HQ-img" / "phone.heic").write_bytes(b"whatever")
    copy = (folder / "CelebA-HQ-img" / "4.jpg").read_bytes()
    (folder / "CelebA-HQ-img" / "5.jpg").write_bytes(copy)
    config, out = CONFIGS / "data" / "celebamask_hq.yaml", tmp_path / "out"
    options = [f"--data.init_args.source={folder}", "--data.init_args.train=null"]
    assert main(["describe", "--config", str(config), "--out", str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert "broken, left out: 1" in printed and "3.jpg: does not decode" in printed
    assert "not read, left out: 1" in printed and "phone.heic: HEIC is read with a" in printed
    assert "the same as another: 1" in printed and "5.jpg = " in printed
    assert printed.splitlines()[-1] == str(out)
    for name in ("labels.png", "sheet.png"):
        with Image.open(out / name) as image:
            assert min(image.size) > 500 and len(image.convert("L").getcolors()) > 100
    table = list(csv.DictReader((out / "labels.csv").open()))
    assert [row["label"] for row in table] == list(ATTRIBUTES)


def test_images_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(30):
        save(tmp_path / "images" / f"{i}.png", i)
    config, out = CONFIGS / "data" / "folder.yaml", tmp_path / "out"
    options = [f"--data.init_args.source={tmp_path / 'images'}", "--data.init_args.size=16"]
    assert main(["describe", "--config", str(config), "--out", str(out), *options]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["sheet.png"]


@pytest.mark.parametrize("n", [1, 5])
def test_a_few_photos(n: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the name of their folder; a training on so few is refused."""
    for i in range(n):
        save(tmp_path / "photos" / f"{i}.png", i)
    out = tmp_path / "out"
    assert main(["describe", str(tmp_path / "photos"), "--out", str(out)]) == 0
    table = capsys.readouterr().out.split("broken")[0].splitlines()
    counted = [int(line.split("│")[2]) for line in table if "│" in line]
    assert len(counted) == 3 and sum(counted) == n
    with Image.open(out / "sheet.png") as image:
        assert len(image.convert("L").getcolors()) > 20
    data = data_module([], of_folder([str(tmp_path / "photos")]))
    if 0 in counted:
        with pytest.raises(HslError, match="but none for"):
            data.dataset("train")
    assert main(["describe", str(tmp_path / "nowhere"), "--out", str(out)]) == 2


def test_labels_by_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["cost $5", "$x$", r"$\frac{", "[/red]", "bell\x07", "turned\u202e", "long" * 300]
    for i in range(30):
        save(tmp_path / "images" / f"{i}.png", i)
    rows = [["image", *names], *([str(i), *(str(i >> j & 1) for j in range(7))] for i in range(30))]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    given = ["describe", "--config", str(CONFIGS / "data" / "folder.yaml")]
    given += [f"--data.init_args.source={tmp_path / 'images'}", "--data.init_args.size=16"]
    given += [f"--data.init_args.labels={tmp_path / 'labels.csv'}"]
    out = tmp_path / "out"
    assert main([*given, f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    assert "cost $5" in printed and "[/red]" in printed and not set(printed) & {"\x07", "\u202e"}
    for name in ("labels.png", "sheet.png"):
        with Image.open(out / name) as image:
            assert image.info["Software"] == "hsl" and max(image.size) < 4000
    table = list(csv.DictReader((out / "labels.csv").open()))
    assert [row["label"] for row in table] == names
    assert main([*given, f"--out={out}"]) == 0  # over its own
    # never over the table that it reads, nor among the images, nor over what it did not write
    before = (tmp_path / "labels.csv").read_bytes()
    capsys.readouterr()
    for more, said in (
        ([f"--out={tmp_path}"], "labels.csv: is read by this job"),
        ([f"--out={tmp_path}", "--overwrite"], "labels.csv: is read by this job"),
        ([f"--out={tmp_path / 'images'}", "--overwrite"], "is the folder of the images"),
    ):
        assert main([*given, *more]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert (tmp_path / "labels.csv").read_bytes() == before
    save(tmp_path / "mine" / "sheet.png", 1)
    assert main([*given, f"--out={tmp_path / 'mine'}"]) == 2
    assert "sheet.png: is there already" in capsys.readouterr().err
    assert main([*given, f"--out={tmp_path / 'mine'}", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "verb"),
        (["describe"], "give --config FILE"),
        (["describe", "--config", "none.yaml"], "none.yaml"),
        (["describe", "--config", str(CONFIGS / "trainer" / "cpu.yaml")], "has no part data"),
        (["describe", "--config", str(Path(__file__))], "is no YAML"),
        (["describe", "--data", "hsl.data.nothing"], "hsl.data"),
        (["describe", "--data", "hsl.data.toyfaces.ToyFacesDataModule", "--data.siz", "8"], "siz"),
        (["describe", "--config", str(CONFIGS / "data" / "folder.yaml"),
          "--data.init_args.source", "no folder"], "no folder"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0] and not list(tmp_path.iterdir())
