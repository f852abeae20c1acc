"""``python -m hsl.edit`` replaces neither what it reads nor what others wrote."""

import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image

from edits import Place, made_place
from hsl import edit
from hsl.edit import jobs

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Place:
    return made_place(tmp_path_factory.mktemp("edit"))


@pytest.fixture
def place(original: Place, tmp_path: Path, monkeypatch) -> Place:
    """A copy, with photographs."""
    root = tmp_path / "here"
    shutil.copytree(original.root, root)
    for name in ("photo.png", "album/one.png", "album/two.jpg", "keep.png"):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), "red").save(root / name)
    (root / "linked").symlink_to(root / "album")
    monkeypatch.chdir(root)
    return Place(root, "backbone", "directions/Smile.safetensors", "directions/Hat.safetensors")


def state(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(root.rglob("*")) if p.is_file()}  # fmt: skip


@pytest.mark.parametrize("more", [(), ("--overwrite",)], ids=["plain", "overwrite"])
@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("photo.png: is read by this job", ["photo.png", "--out", "."]),
        ("is the folder of the images", ["album", "--out", "album"]),
        ("is the folder of the images", ["album", "--out", "linked"]),
        ("one.png: is read by this job", ["album/one.png", "--out", "linked"]),
        ("photo.png: is read by this job", ["photo.png", "--record", "photo.png"]),
        ("Hat.safetensors: is read by this job",
         ["photo.png", "--direction", "directions/Hat.safetensors=0.5", "--record",
          "directions/Hat.safetensors"]),
        ("Smile.safetensors: is read by this job",
         ["photo.png", "--record", "directions/Smile.safetensors"]),
        ("photo.png: would be written twice", ["photo.png", "--record", "out/photo.png"]),
    ],
)  # fmt: skip
def test_inputs_are_never_replaced(
    place: Place, capsys, monkeypatch, said: str, given: list[str], more: tuple[str, ...]
) -> None:
    monkeypatch.setattr(jobs, "latents", None)  # refused before anything is computed
    before = state(place.root)
    assert place.call("--direction", place.smile, *given, *more) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert state(place.root) == before


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("keep.png", ["--record", "keep.png"]),
        ("out/strip.png", []),
        ("out/photo.png", []),
        ("out/photo_2_+0.50.png", ["--interpolate", "-0.5:0.5:2"]),
        ("mean.safetensors", ["--save-mean", "mean.safetensors"]),
        ("record.safetensors", ["--record", "record.safetensors"]),
    ],
)
def test_what_others_wrote_is_replaced_where_it_is_told_to(
    place: Place, capsys, name: str, given: list[str]
) -> None:
    path = place.root / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".safetensors":
        shutil.copy(place.hat, path)  # hsl's, but trained
    else:
        Image.new("RGB", (16, 16), "blue").save(path)
    before = state(place.root)
    call = ["photo.png", "--direction", place.smile, *given]
    where = () if "--save-mean" in given else ("--out", "out")
    arguments = ["--backbone", place.backbone, "--device", "cpu", "--steps", "6", *where, *call]
    assert edit.main(arguments) == 2
    error = capsys.readouterr().err
    assert f"{name}: is there already" in error and "--overwrite" in error
    assert state(place.root) == before
    assert edit.main([*arguments, "--overwrite"]) == 0
    assert state(place.root)[name] != before[name]
    assert edit.main(arguments) == 0  # now it is hsl's own, and of this kind


def test_what_a_mean_and_a_replay_read(place: Place, capsys) -> None:
    assert place.call("photo.png", "--direction", place.smile, "--record", "r.safetensors") == 0
    before = state(place.root)
    assert place.call("photo.png", "--direction", place.smile, "--record", "r.safetensors") == 0
    again = ["--replay", "r.safetensors", "--backbone", place.backbone, "--out", "again"]
    assert edit.main([*again[:-1], "."]) == 2
    assert "photo.png: is there already" in capsys.readouterr().err
    assert edit.main(again) == 0
    assert before.items() <= state(place.root).items()


def test_names_that_differ_in_case_alone_are_told_apart(place: Place) -> None:
    """Elsewhere they are one file."""
    for name in ("Two.png", "two.png"):
        Image.new("RGB", (16, 16), "red").save(place.root / name)
    assert place.call("Two.png", "two.png", "--direction", place.smile) == 0
    assert place.written() == ["Two.png", "strip.png", "two-2.png"]


def test_names_with_signs_that_mean_something_elsewhere(place: Place) -> None:
    names = ["$a$.png", "$\\frac{.png", "[b].png", "100%.png", "a\nb.png", "\x07.png", "é.png"]
    names.append("caf\udce9.png")
    for name in names:
        Image.new("RGB", (16, 16), "red").save(place.root / "album" / name)
    direction = place.root / "$x_$.safetensors"
    shutil.copy(place.smile, direction)
    assert place.call("album", "--direction", str(direction)) == 0
    assert set(names) < set(place.written())
    (place.root / "[b]$.safetensors").write_bytes(direction.read_bytes())
    grid = ["--direction", "[b]$.safetensors", "--direction", str(direction)]
    grid += ["--interpolate", "[b]$=-1:1:2", "--interpolate", "$x_$=-1:1:2"]
    assert place.call(*(f"album/{name}" for name in names), *grid, out="grids") == 0
    assert {f"{Path(name).stem}_grid.png" for name in names} < set(place.written("grids"))


def test_the_default_folder_holds_the_last_edit_alone(place: Place, capsys) -> None:
    """What others wrote stays there, and so does what is read, or is not in it."""
    common = ["--backbone", place.backbone, "--device", "cpu", "--steps", "6"]
    smile = ["--direction", place.smile]
    record = ["--record", "edited/r.safetensors"]
    assert edit.main([*common, "album/one.png", "keep.png", *smile, *record]) == 0
    shutil.copytree("edited", "edited/deep")
    shutil.copytree("edited/deep", "named")
    (place.root / "edited" / "link.png").symlink_to(place.root / "named" / "strip.png")
    Image.new("RGB", (16, 16), "blue").save("edited/mine.png")
    Path("edited/notes.txt").write_text("mine")
    before = set(state(place.root))
    assert edit.main([*common, "photo.png", "--out", "named", *smile]) == 0  # is no default
    assert set(state(place.root)) == before | {"named/photo.png"}
    assert "made way" not in capsys.readouterr().err
    assert edit.main([*common, "edited/keep.png", *smile]) == 2  # would be written over itself
    assert edit.main([*common, "photo.png", "--content", "edited/keep.png"]) == 0
    assert "4 pictures of earlier edits made way" in capsys.readouterr().err
    assert place.written("edited") == ["deep/r.safetensors", "keep.png", "link.png", "mine.png",
                                       "notes.txt", "photo.png", "r.safetensors",
                                       "strip.png"]  # fmt: skip
    assert place.written("named") == ["keep.png", "one.png", "photo.png", "r.safetensors",
                                      "strip.png"]  # fmt: skip
    assert edit.main(["--replay", "edited/r.safetensors", "--backbone", place.backbone]) == 0
    assert place.written("edited") == ["deep/r.safetensors", "keep.png", "link.png", "mine.png",
                                       "notes.txt", "one.png", "r.safetensors"]  # fmt: skip
