"""``python -m hsl.edit --interpolate``: many strengths of each image as one batch."""

from pathlib import Path

import pytest
import torch

from edits import Place, made_borders, made_place
from hsl.edit import sources, texts
from hsl.errors import HslError
from hsl.process import invert

pytestmark = pytest.mark.usefixtures("quiet")

TWO = 2.1 / 127.5  # levels of 255: sums over batches of other sizes differ in their last bits


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return made_place(tmp_path_factory.mktemp("edit"))


@pytest.fixture(scope="module")
def borders(place: Place) -> dict[str, str]:
    return made_borders(place)


def test_each_strength_is_that_edit(place: Place, monkeypatch) -> None:
    """Boosted steps and all; and each image is inverted once."""
    inverted = []

    def counted(backbone, x, *rest, **named):
        inverted.append(len(x))
        return invert(backbone, x, *rest, **named)

    monkeypatch.setattr(sources, "invert", counted)
    faces = place.root / "faces"
    given = (faces, "--batch", "2", "--direction")
    assert place.call(*given, place.smile, "--interpolate", "-2:1:3", out="all") == 0
    assert inverted == [2, 1]
    names = [f"{image}_{label}.png" for image in ("2", "10", "deep/3")
             for label in ("1_-2.00", "2_-0.50", "3_+1.00")]  # fmt: skip
    assert place.written("all") == sorted([*names, "strip.png"])
    for strength, label in ((-2, "1_-2.00"), (-0.5, "2_-0.50"), (1, "3_+1.00")):
        assert place.call(*given, f"{place.smile}={strength}", out="one") == 0
        for image in ("2", "10", "deep/3"):
            found = place.pixels("all", f"{image}_{label}.png")
            assert torch.allclose(found, place.pixels("one", f"{image}.png"), atol=TWO)
    low, high = (place.pixels("all", f"2_{label}.png") for label in ("1_-2.00", "3_+1.00"))
    assert not torch.allclose(low, high, atol=0.05)


def test_of_several_it_is_a_factor(place: Place) -> None:
    given = [place.root / "a.png", "--direction", f"{place.smile}=0.4", "--direction", place.hat]
    assert place.call(*given, "--interpolate", "0:4:3", out="factors") == 0
    twice = [place.root / "a.png", "--direction", f"{place.smile}=1.6", "--direction",
             f"{place.hat}=2"]  # fmt: skip
    assert place.call(*twice, out="fourfold") == 0
    found = place.pixels("factors", "a_3_+4.00.png")
    assert torch.allclose(found, place.pixels("fourfold", "a.png"), atol=TWO)
    assert not torch.allclose(found, place.pixels("factors", "a_1_+0.00.png"), atol=0.05)


def test_one_of_several_by_name(place: Place) -> None:
    given = [place.root / "a.png", "--scaled", "--direction"]
    both = [*given, place.smile, "--direction", f"{place.hat}=3"]
    assert place.call(*both, "--interpolate", "Smile=-1:3:2", out="named") == 0
    want = [*given, f"{place.smile}=3", "--direction", f"{place.hat}=3"]
    assert place.call(*want, out="alone") == 0
    found = place.pixels("named", "a_2_+3.00.png")
    assert torch.allclose(found, place.pixels("alone", "a.png"), atol=TWO)


def test_two_by_name_are_a_grid(place: Place, capsys, tmp_path: Path) -> None:
    """The first downwards, whatever the order of the directions; a picture for each image."""
    given = [place.root / "a.png", place.root / "faces" / "2.png", "--batch", "5"]
    given += ["--direction", place.smile, "--direction", place.hat]
    axes = ["--interpolate", "Hat=0:3:2", "--interpolate", "Smile=-2:2:3"]
    record = ["--record", tmp_path / "r.safetensors"]
    assert place.call(*given, *axes, *record, out="grid") == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(place.root / "grid")
    pairs = [(hat, smile) for hat in ("+0.00", "+3.00") for smile in ("-2.00", "+0.00", "+2.00")]
    cells = [f"{i}_{hat}_{smile}" for i, (hat, smile) in enumerate(pairs, 1)]
    assert place.written("grid") == sorted(
        f"{image}_{cell}.png" for image in ("a", "2") for cell in [*cells, "grid"]
    )
    for cell in ("4_+3.00_-2.00", "3_+0.00_+2.00"):
        _, hat, smile = cell.split("_")
        want = [*given[:2], "--direction", f"{place.smile}={smile}", "--direction",
                f"{place.hat}={hat}"]  # fmt: skip
        assert place.call(*want, out="cell") == 0
        for image in ("a", "2"):
            found = place.pixels("grid", f"{image}_{cell}.png")
            assert torch.allclose(found, place.pixels("cell", f"{image}.png"), atol=TWO)
    assert place.call("--replay", record[1], out="again") == 0
    assert set(place.written("again")) < set(place.written("grid"))  # by their names
    for name in place.written("again"):
        again, first = (place.root / folder / name for folder in ("again", "grid"))
        assert again.read_bytes() == first.read_bytes()
    one = [place.root / "a.png", *given[4:], *axes]
    assert place.call(*one, out="one") == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(place.root / "one" / "a_grid.png")


def test_boundaries(place: Place, borders) -> None:
    image, a, b = place.root / "a.png", borders["A"], borders["B"]
    assert place.call(image, "--boundary", a, "--interpolate", "-1:2:4", out="border") == 0
    assert place.call(image, "--boundary", f"{a}=-1", out="minus") == 0
    found = place.pixels("border", "a_1_-1.00.png")
    assert torch.allclose(found, place.pixels("minus", "a.png"), atol=TWO)
    both = ["--boundary", f"{a}=1", "--boundary", f"{b}=-1"]
    assert place.call(image, *both, "--interpolate", "0:2:2", out="factors") == 0
    twice = ["--boundary", f"{a}=2", "--boundary", f"{b}=-2"]
    assert place.call(image, *twice, out="twice") == 0
    found = place.pixels("factors", "a_2_+2.00.png")
    assert torch.allclose(found, place.pixels("twice", "a.png"), atol=TWO)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("-1:1:3", ["-1.00", "+0.00", "+1.00"]),
        ("-1:2:4", ["-1.00", "+0.00", "+1.00", "+2.00"]),
        ("0:0.01:3", ["+0.000", "+0.005", "+0.010"]),
        ("Smile=-0.004:1:2", ["-0.004", "+1.000"]),
        ("2:-2:3", ["+2.00", "+0.00", "-2.00"]),
    ],
)
def test_labels_tell_strengths_apart(text: str, labels: list[str]) -> None:
    assert texts.axis(text).labels == labels


@pytest.mark.parametrize("text", ["-1:1:5", "1:-1:3", "-2:2:12"])
def test_files_are_listed_in_the_order_of_strengths(text: str) -> None:
    made = texts.endings([texts.axis(text)])
    assert sorted(made) == made
    assert [label.split("_")[1] for label in made] == texts.axis(text).labels
    assert texts.endings([]) == [""]


@pytest.mark.parametrize("text", ["1:2", "1:1:3", "0:1:1", "0:1:999", "0:nan:3", "a:1:2", "0:1:2.5",
                                  "0:1:-3", "1:2:3:4", ""])  # fmt: skip
def test_what_is_no_axis_is_refused(text: str) -> None:
    with pytest.raises(HslError, match="want LOW:HIGH:N"):
        texts.axis(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--direction", "{smile}=2", "--interpolate", "0:1:3"], "leave one out"),
        (["--direction", "{smile}=2", "--direction", "{hat}", "--interpolate", "Smile=0:1:3"],
         "Smile: has a strength"),
        (["--direction", "{smile}", "--interpolate", "Hat=0:1:3"], "only one has: Smile"),
        (["--direction", "{smile}", "--direction", "{smile}", "--interpolate", "Smile=0:1:3"],
         "by a name that only one has"),
        (["--direction", "{smile}", "--interpolate", "0:1:3", "--interpolate", "0:1:3"],
         "by their names"),
        (["--direction", "{smile}", "--direction", "{hat}", *["--interpolate", "Hat=0:1:3"] * 2],
         "given twice"),
        (["--boundary", "{A}", "--boundary", "{B}", "--interpolate", "A=0:1:3"],
         "leave out the name"),
        (["--direction", "{smile}", "--interpolate", "-1:1"], "--interpolate -1:1: want"),
        (["--direction", "{smile}", "--interpolate"], "expected one argument"),
        (["--content", "{image}", "--interpolate", "G=0:1:3"], "of gamma: leave out the name"),
        (["--content", "{image}", "--interpolate", "0:2:3"], "want a gamma of 0"),
        (["--content", "{image}", "--interpolate", "0:1:3", "--gamma", "0.5"], "leave one out"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept(arguments, message, place: Place, borders, capsys) -> None:
    where = borders | {"smile": place.smile, "hat": place.hat, "image": place.root / "a.png"}
    given = [item.format(**where) for item in arguments]
    assert place.call(place.root / "a.png", *given, out="refused") == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0], err
    assert not (place.root / "refused").exists()
