"""``python -m hsl.convert --x FILE --h FILE OUT``: released boundaries become files of hsl's."""

from pathlib import Path

import pytest
import torch

from edits import Place, made_place
from hsl import convert
from hsl.backbones import load
from hsl.directions import Boundary
from hsl.released.boundaries import boundary_from_official
from hsl.released.pickled import read_official
from pickles import pickled_boundaries

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return made_place(tmp_path_factory.mktemp("edit"))


@pytest.fixture(scope="module")
def files(place: Place) -> dict[str, Path]:
    return pickled_boundaries(place.root)


def test_both_spaces_become_a_boundary_that_edits(place: Place, files, tmp_path, capsys) -> None:
    out = tmp_path / "new" / "smile.safetensors"
    spaces = ["--x", str(files["x"]), "--h", str(files["h"])]
    assert convert.main([*spaces, str(out), "--backbone", place.backbone, "--t", "400"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    boundary = Boundary.load(out)
    assert isinstance(boundary, Boundary) and (boundary.t, boundary.absolute) == (400, False)
    expected = boundary_from_official(*files.values(), load(place.backbone), 400).state_dict()
    tensors = boundary.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[key], expected[key]) for key in expected)
    assert boundary.about["name"] == "smile"
    for space, file in files.items():
        coef = read_official(file).coef
        assert boundary.about["lengths"][space] == float(coef.norm())
        again = boundary.normals[space].flatten() * boundary.about["lengths"][space]
        assert torch.allclose(again, coef.float(), rtol=1e-5)
    assert place.call(place.root / "a.png", "--boundary", f"{out}=3", out="crossed") == 0
    assert place.call(place.root / "a.png", "--boundary", f"{out}=-3", out="back") == 0
    assert not torch.equal(place.pixels("crossed", "a.png"), place.pixels("back", "a.png"))


def test_one_space_alone_by_a_name_and_to_coordinates(place: Place, files, tmp_path) -> None:
    out = tmp_path / "h.safetensors"
    given = ["--h", str(files["h"]), str(out), "--backbone", place.backbone, "--t", "400"]
    assert convert.main([*given, "--absolute", "--name", "Smiling"]) == 0
    boundary = Boundary.load(out)
    assert isinstance(boundary, Boundary) and boundary.absolute
    assert list(boundary.normals) == ["h"] and boundary.about["name"] == "Smiling"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--x", "{x}"], "say where to write, one file"),
        (["--x", "{x}", "a.safetensors", "b.safetensors"], "say where to write, one file"),
        (["--x", "{x}", "a.safetensors", "--backbone", "{net}"], "give --t: the files do not say"),
        (["--x", "{x}", "a.safetensors", "--t", "400"], "give --backbone: the files do not say"),
        (["--x", "{x}", "a.pt", "--backbone", "{net}", "--t", "4"], "ends in .safetensors"),
        (["--x", "{x}", "{smile}", "--backbone", "{net}", "--t", "4"], "exists already"),
        (["--x", "{x}", "a.safetensors", "--backbone", "{net}", "--t", "1000"], "t=1000: want"),
        (["--x", "{h}", "a.safetensors", "--backbone", "{net}", "--t", "4"], "is for 512 features"),
        (["--x", "none.sav", "a.safetensors", "--backbone", "{net}", "--t", "4"], "no such file"),
        (["--x", "{smile}", "a.safetensors", "--backbone", "{net}", "--t", "4"], "linear SVC"),
        (["--x", "{x}", "a.safetensors", "--qkv", "new"], "--qkv goes with an original checkpoint"),
        (["--x", "{x}", "a.safetensors", "--check", "{x}"], "--check goes with an original check"),
        (["model.pt", "out", "--t", "400"], "--t goes with --x or --h"),
        (["model.pt", "out", "--backbone", "{net}"], "--backbone goes with --x or --h"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments, message, place: Place, files, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    where = files | {"net": place.backbone, "smile": place.smile}
    assert convert.main([argument.format(**where) for argument in arguments]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0] and err[0].startswith("hsl.convert: "), err
    assert not list(tmp_path.iterdir())
