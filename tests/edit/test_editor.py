"""``hsl.Editor`` does what ``hsl edit`` does."""

import json
from pathlib import Path

import pytest
import torch

from hsl.backbones import load
from hsl.data.images import save_image
from hsl.data.toyfaces import ToyFaces
from hsl.directions import Boundary, Direction
from hsl.edit.command import main
from hsl.edit.editor import Editor
from hsl.edit.result import Edited
from hsl.errors import HslError

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor(steps=6, batch=4)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for name, image in zip("ab", ToyFaces("test", 2).images, strict=True):
        save_image(folder / f"{name}.png", image)
    return folder


def pixels(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.mark.parametrize(
    ("options", "directions", "named"),
    [
        (["--direction", "Smiling"], "Smiling", {}),
        (["--direction", "Smiling=0.8", "--keep", "Male"], {"Smiling": 0.8}, {"keep": ["Male"]}),
        (["--boundary", "Smiling=1", "--boundary", "Male"], {"Smiling": 1, "Male": None},
         {"boundaries": True}),
        (["--direction", "Smiling", "--interpolate", "-1:1:3"], {"Smiling": [-1, 0, 1]}, {}),
        (["--direction", "Smiling", "--t-edit", "300", "--t-boost", "0", "--eta", "0.5"],
         ["Smiling"], {"t_edit": 300, "t_boost": 0, "eta": 0.5}),
    ],
)  # fmt: skip
def test_it_writes_the_commands_files(
    editor: Editor, faces: Path, tmp_path: Path, options: list[str], directions, named
) -> None:
    start = [str(faces), "--steps", "6", "--batch", "4", "--device", "cpu"]
    assert main([*start, *options, "--out", str(tmp_path / "command")]) == 0
    edited = editor.edit(editor.invert(faces), directions, **named)
    shown = edited.save(tmp_path / "python")
    assert shown == tmp_path / "python" / "strip.png"
    assert pixels(tmp_path / "python") == pixels(tmp_path / "command")


def test_samples_are_the_commands(editor: Editor, tmp_path: Path) -> None:
    main(["--seeds", "3,5", "--steps", "6", "--batch", "4", "--device", "cpu", "--direction",
          "Smiling", "--out", str(tmp_path / "command"), "--record",
          str(tmp_path / "record.safetensors")])  # fmt: skip
    edited = editor.edit(editor.sample([3, 5]), "Smiling")
    edited.save(tmp_path / "python")
    assert pixels(tmp_path / "python") == pixels(tmp_path / "command")
    recorded = edited.named().save(tmp_path / "own.safetensors")
    assert recorded.read_bytes() == (tmp_path / "record.safetensors").read_bytes()


def test_what_is_inverted_once_is_edited_often(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = editor.invert(ToyFaces("test", 2).images)
    first = editor.edit(start, {"Smiling": 0.5})
    monkeypatch.setattr("hsl.edit.sources.invert", None)
    second = editor.edit(start, {"Male": 0.5})
    assert torch.equal(first.unedited.rebuilt, second.unedited.rebuilt)
    assert not torch.equal(first.images, second.images)


def test_what_another_backbone_inverted_is_not_taken(editor: Editor) -> None:
    start = editor.sample([1])
    other = load("toyfaces")
    other.unet.conv_out.weight.data.mul_(0.5)
    first = editor.edit(start, "Smiling").unedited.rebuilt
    smile = Direction.load("Smiling")
    smile.about.pop("backbone_hash")
    second = Editor(other, steps=6).edit(start, smile).unedited.rebuilt
    assert not torch.allclose(first, second)


def test_a_result_says_how_it_was_made_and_shows_itself(editor: Editor) -> None:
    edited = editor.edit(editor.sample(7), {"Smiling": [0.0, 1.0]})
    assert edited.images.shape == (1, 2, 3, 32, 32)
    about = json.loads(json.dumps(edited.about))
    assert about["directions"] == {"Smiling": 1.0} and about["strengths"] == {"Smiling": [0, 1]}
    assert about["backbone_hash"] == editor.backbone.hash and about["names"] == ["seed7.png"]
    assert edited._repr_png_().startswith(b"\x89PNG")
    assert "Smiling" in repr(edited) and "toyfaces" in repr(editor)


def test_a_loaded_backbone_and_directions_are_taken(editor: Editor) -> None:
    mine = Editor(load("toyfaces"), steps=6)
    smile, glasses = Direction.load("Smiling"), Direction.load("Eyeglasses")
    assert isinstance(Boundary.load("Smiling"), Boundary)
    edited = mine.edit(mine.sample([1]), {smile: 1.0, glasses: 0.5}, scaled=True)
    assert isinstance(edited, Edited) and edited.about["directions"]["Eyeglasses"] == 0.5


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda e: e.edit(e.sample(0), "Smilling"), "did you mean Smiling"),
        (lambda e: e.edit(e.sample(0), []), "name at least one"),
        (lambda e: e.sample([]), "one or several numbers"),
        (lambda e: e.sample(-1), "0 or more"),
        (lambda e: e.invert(torch.full((1, 3, 32, 32), 255.0)), "divide by 127.5"),
        (lambda e: e.invert("nowhere"), "no such file or folder"),
        (lambda e: Editor(steps=6, device="cuda:99"), "cuda:99"),
    ],
)
def test_what_is_wrong_is_one_line(editor: Editor, work, said: str) -> None:
    with pytest.raises(HslError, match=said):
        work(editor)


def test_files_of_others_stay(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "seed0.png").write_bytes(b"mine")
    edited = editor.edit(editor.sample(0), "Smiling")
    with pytest.raises(HslError, match=r"seed0\.png"):
        edited.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["seed0.png"]
