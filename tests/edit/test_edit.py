"""``python -m hsl.edit``: what it writes, and how it refuses."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edits import Place, made_borders, made_place
from hsl import edit
from hsl.backbones import load
from hsl.data.images import load_images, save_image
from hsl.directions import Direction, ImplicitFunction, Shift, provenance
from hsl.edit import join, plan, records, sources
from hsl.edit.records import SampleRecord
from hsl.errors import HslError
from hsl.process import reverse
from runs import saved_backbone

pytestmark = pytest.mark.usefixtures("quiet")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return made_place(tmp_path_factory.mktemp("edit"))


def test_seeds(place: Place, capsys) -> None:
    assert place.call("--seeds", "0-2,7", "--direction", place.smile) == 0
    assert place.written() == ["seed0.png", "seed1.png", "seed2.png", "seed7.png", "strip.png"]
    assert capsys.readouterr().out.splitlines()[-1] == str(place.root / "out" / "strip.png")


def test_a_seed_gives_the_same_image_in_any_batch(place: Place) -> None:
    place.call("--seeds", "3,5", "--direction", place.smile, "--batch", "1", out="one")
    place.call("--seeds", "0-5", "--direction", place.smile, out="six")
    names = ("seed3.png", "seed5.png")
    one, six = place.pixels("one", *names), place.pixels("six", *names)
    assert torch.allclose(one, six, atol=2.5 / 127.5)
    assert not torch.allclose(one[0], one[1], atol=0.1)


def test_files_and_folders(place: Place) -> None:
    given = (place.root / "a.png", place.root / "faces")
    assert place.call(*given, "--direction", place.smile, "--batch", "2", out="files") == 0
    assert place.written("files") == ["10.png", "2.png", "a.png", "deep/3.png", "strip.png"]


def test_strengths(place: Place) -> None:
    given = ("--t-boost", "0", "--direction")
    image = place.root / "a.png"
    own = ("0.5", "own"), ("", "default")  # the strength in the file
    for strength, out in (("0", "zero"), ("4", "more"), ("-4", "less"), *own):
        place.call(image, *given, f"{place.smile}={strength}".rstrip("="), out=out)
    zero, more, less = (place.pixels(out, "a.png") for out in ("zero", "more", "less"))
    assert torch.equal(place.pixels("own", "a.png"), place.pixels("default", "a.png"))
    assert (zero - load_images(image, 8)[0]).abs().mean() < 0.1  # reconstructed
    assert (more - zero).abs().mean() > 0.01
    assert float(((more - zero) * (less - zero)).sum()) < 0


def test_several_directions_add(place: Place) -> None:
    image, smile, hat = place.root / "a.png", place.smile, place.hat
    place.call(image, "--direction", f"{smile}=0.4", "--direction", f"{smile}=0.6", out="two")
    place.call(image, "--direction", f"{smile}=1", out="whole")
    assert torch.allclose(place.pixels("two", "a.png"), place.pixels("whole", "a.png"), atol=0.02)
    assert place.call(image, "--direction", smile, "--direction", hat, out="both") == 0


def test_several_directions_share_an_interval(place: Place) -> None:
    """t_edit and t_boost are those of the direction with the largest t_edit, as released."""
    directions = [(ImplicitFunction(32, 64), 1.0), (ImplicitFunction(32, 64), 0.3)]
    for (direction, _), t_edit, t_boost in zip(directions, (300, 500), (200, 150), strict=True):
        direction.about = {"t_edit": t_edit, "t_boost": t_boost, "t_start": 700}
    joined = edit.join(directions, 40, None, None)
    assert (joined.t_edit, joined.t_boost, joined.t_start) == (500, 150, 700)
    given = edit.join(directions, 40, 750, 0)
    assert (given.t_edit, given.t_boost, given.t_start) == (750, 0, None)
    nameless = [(Shift(torch.zeros(32, 4, 4)), 1.0)]
    assert edit.join(nameless, 40, 400, None).t_edit == 400
    with pytest.raises(HslError, match="--t-edit"):
        edit.join(nameless, 40, None, None)


def test_several_directions_are_scaled_if_asked(place: Place) -> None:
    """By the square root of their number, as released."""
    parts = [(Shift(torch.ones(32, 4, 4)), 1.0), (Shift(torch.ones(32, 4, 4)), 0.5)]
    weights = edit.join(parts, 40, 400, None, scaled=True).direction.weights
    assert weights == pytest.approx([0.5**0.5, 0.5 * 0.5**0.5])
    image, smile = place.root / "a.png", place.smile
    twice = ("--direction", f"{smile}=0.5", "--direction", f"{smile}=0.5", "--scaled")
    place.call(image, *twice, out="scaled")
    place.call(image, "--direction", f"{smile}={0.5**0.5}", out="by hand")
    scaled, by_hand = place.pixels("scaled", "a.png"), place.pixels("by hand", "a.png")
    assert torch.allclose(scaled, by_hand, atol=0.02)


def test_images_of_one_name_are_all_written(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "same"
    for name in ("x.png", "strip.png", "y/x.png"):
        save_image(folder / name, torch.zeros(3, 8, 8))
    (folder / "x.png").rename(folder / "x.bmp")  # Pillow goes by the content
    save_image(folder / "x.png", torch.ones(3, 8, 8))
    assert place.call(folder, "--direction", place.smile, out="same") == 0
    assert len(place.written("same")) == 4 + 1


@pytest.fixture
def wrong(place: Place, tmp_path: Path) -> Path:
    """A folder with one of everything that cannot be used."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    (tmp_path / "cut.safetensors").write_bytes(Path(place.smile).read_bytes()[:300])
    other = load(saved_backbone(tmp_path / "other", seed=1))
    about = provenance(other) | {"t_edit": 300}
    ImplicitFunction.for_backbone(other).save(tmp_path / "other.safetensors", **about)
    Shift(torch.zeros(16, 2, 2)).save(tmp_path / "small.safetensors", h_shape=[16, 2, 2], t_edit=3)
    Shift(torch.zeros(32, 4, 4)).save(tmp_path / "bare.safetensors")
    ImplicitFunction.for_backbone(load(place.backbone)).export_asyrp(tmp_path / "released.pth")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{images}/none.png", "--direction", "{smile}"], "none.png"),
        (["{wrong}/empty", "--direction", "{smile}"], "no images"),
        (["{wrong}/broken.png", "--direction", "{smile}"], "does not decode"),
        (["{images}/a.png"], "--direction"),
        (["--direction", "{smile}"], "--seeds"),
        (["{images}/a.png", "--seeds", "3", "--direction", "{smile}"], "one of the two"),
        (["{images}/a.png", "--direction", "{wrong}/other.safetensors"], "made for backbone"),
        (["{images}/a.png", "--direction", "{wrong}/small.safetensors"], "shape"),
        (["{images}/a.png", "--direction", "{wrong}/cut.safetensors"], "damaged"),
        (["{images}/a.png", "--direction", "{wrong}/none.safetensors"], "no such file"),
        (["{images}/a.png", "--direction", "{wrong}/bare.safetensors"], "--t-edit"),
        (["{images}/a.png", "--direction", "{wrong}/released.pth"], "--t-edit"),
        (["{images}/a.png", "--direction", "Zebra"], "direction"),
        (["{images}/a.png", "--direction", "{smile}=big"], "big"),
        (["{images}/a.png", "--direction", "{smile}=nan"], "nan"),
        (["{images}/a.png", "--direction", "{smile}", "--bacth", "3"], "--bacth"),
        (["{images}/a.png", "--direction", "{smile}", "--batch", "few"], "few"),
        (["{images}/a.png", "--direction", "{smile}", "--batch", "0"], "--batch 0"),
        (["{images}/a.png", "--direction", "{smile}", "--steps", "1"], "--steps"),
        (["{images}/a.png", "--direction", "{smile}", "--t-edit", "-5"], "t_edit=-5"),
        (["{images}/a.png", "--direction", "{smile}", "--t-edit", "4000"], "no step is edited"),
        (["{images}/a.png", "--direction", "{smile}", "--device", "nonsense"], "nonsense"),
        (["{images}/a.png", "--direction", "{smile}", "--backbone", "/nowhere"], "/nowhere"),
        (["{images}/a.png", "--direction", "{smile}", "--backbone", "google/ddpm-x"], "network"),
        (["{images}/a.png", "--direction", "{smile}", "--out", "{images}/a.png"], "a.png"),
        (["--seeds", "x", "--direction", "{smile}"], "--seeds x"),
        (["--seeds", "7-3", "--direction", "{smile}"], "--seeds 7-3"),
        (["--seeds", "99999999999999999999", "--direction", "{smile}"], "below 2^63"),
        (["--seeds", "0-99999999999", "--direction", "{smile}"], "at once"),
        (["{images}/a.png", "--direction", "{smile}", "--steps", "0"], "--steps 0"),
        (["--seeds", "--direction", "{smile}"], "--seeds"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], message: str, place: Place, wrong: Path, capsys
) -> None:
    where = {"images": place.root, "wrong": wrong, "smile": place.smile}
    first = ["--backbone", place.backbone, "--steps", "6", "--device", "cpu"]
    first += ["--out", str(wrong / "out")]
    before = sorted(place.root.rglob("*"))
    assert edit.main([*first, *(item.format(**where) for item in arguments)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0] and err[0].startswith("hsl.edit: "), err
    assert not (wrong / "out").exists() and sorted(place.root.rglob("*")) == before


def test_help_shows_an_example(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        edit.main(["--help"])
    assert stop.value.code == 0
    assert "python -m hsl.edit --seeds" in capsys.readouterr().out


def test_a_released_function_edits(place: Place, tmp_path: Path) -> None:
    torch.manual_seed(5)
    f, image = ImplicitFunction.for_backbone(load(place.backbone)), place.root / "a.png"
    path = f.export_asyrp(tmp_path / "smiling_LC_tiny_t999_ninv6_ngen6_0.pth")
    assert place.call(image, "--direction", path, "--t-edit", "300", out="pth") == 0
    f.save(tmp_path / "same.safetensors", t_edit=300)
    assert place.call(image, "--direction", tmp_path / "same.safetensors", out="st") == 0
    assert torch.equal(place.pixels("pth", "a.png"), place.pixels("st", "a.png"))
    assert place.call(image, "--direction", f"{path}=0", "--t-edit", "300", out="0") == 0
    assert not torch.equal(place.pixels("pth", "a.png"), place.pixels("0", "a.png"))


def test_the_command_itself(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hsl.edit", "none.png", "--direction", place.smile,
         "--backbone", place.backbone],
        cwd=place.root, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "none.png" in done.stderr, done.stderr


def test_shipped_directions(tmp_path: Path, capsys) -> None:
    try:
        names = edit.shipped()
    except HslError:
        pytest.skip("no directions are shipped yet")
    assert "Smiling" in names
    backbone = load("toyfaces")
    for name in names:
        direction = edit.find_direction(name)
        direction.check(backbone)
        assert direction.about["t_edit"] and direction.about["strength"]
    out = tmp_path / "out"
    assert edit.main(["--seeds", "0", "--direction", "Smiling", "--out", str(out)]) == 0
    assert (out / "seed0.png").exists()


# Boundaries


@pytest.fixture(scope="module")
def borders(place: Place) -> dict[str, str]:
    return made_borders(place)


def test_a_boundary_is_crossed_once(place: Place, borders, monkeypatch) -> None:
    """At the mixing step, on a grid that ends there; from noise on one that comes from T."""
    seen = []

    def watched(backbone, x, grid, made=None, *rest, **named):
        seen.append((list(grid), made))
        return reverse(backbone, x, grid, made, *rest, **named)

    for module in (sources, records):
        monkeypatch.setattr(module, "reverse", watched)
    assert place.call(place.root / "a.png", "--boundary", borders["A"], out="a") == 0
    assert place.call("--seeds", "0", "--boundary", borders["A"], out="s") == 0
    (image, made), (sampled, _) = seen[1], seen[3]
    assert image[-1] == 400 and made.direction.t == 400
    assert [t for t in image if made.acts(t)] == [400]
    assert 400 in sampled and sampled[-1] == 999 and sampled == sorted(set(sampled))
    # the strength in the file, and twice it
    assert float(made.direction.scales["x"].detach()[0]) == pytest.approx(2.0 * 3.0)
    assert place.call(place.root / "a.png", "--boundary", f"{borders['A']}=0", out="none") == 0
    plain, moved = (place.pixels(out, "a.png") for out in ("none", "a"))
    assert (plain - moved).abs().max() > 0.05


def test_boundaries_add_and_keep(place: Place, borders, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(plan, "join", lambda *given: made.append(join(*given)) or made[-1])
    a, b = borders["A"], borders["B"]
    assert place.call(place.root / "a.png", "--boundary", f"{a}=1", "--boundary", f"{b}=-1") == 0
    assert place.call(place.root / "a.png", "--boundary", a, "--keep", b) == 0
    both, pure = (found.direction for found in made)
    first, second = (Direction.load(path) for path in (a, b))
    for space in ("x", "h"):
        total = both.scales[space][0] * both.normals[space][0]
        want = 3.0 * (first.normals[space][0] - second.normals[space][0])
        assert torch.allclose(total, want, atol=1e-5)
        assert abs(float((pure.normals[space] * second.normals[space]).sum())) < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--boundary", "{A}", "--direction", "{smile}"], "one of the three"),
        (["--boundary", "{A}", "--t-edit", "300"], "without --t-edit"),
        (["--boundary", "{A}", "--boundary", "{late}"], "t=400 and t=600"),
        (["--boundary", "{open}"], "no hyperplane at t=None"),
        (["--boundary", "{smile}", "--boundary", "{A}"], "directions of other kinds"),
        (["--boundary", "{A}", "--keep", "{A}"], "nothing of this boundary is left"),
        (["--boundary", "{A}", "--keep", "{smile}"], "other boundaries only"),
        (["--boundary", "Zebra"], "Zebra"),
    ],
)
def test_boundaries_that_cannot_be_crossed(arguments, message, place, borders, capsys) -> None:
    where = borders | {"smile": place.smile}
    given = [item.format(**where) for item in arguments]
    assert place.call(place.root / "a.png", *given, out="refused") == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0], err
    assert not (place.root / "refused").exists()


# Records


@pytest.mark.parametrize("sampled", [False, True])
def test_a_record_makes_the_same_files_again(place: Place, sampled: bool, tmp_path) -> None:
    names = {i: f"seed{i}.png" for i in (3, 1, 4)} if sampled else dict(
        enumerate(["a.png", "2.png", "10.png", "deep/3.png"]))  # fmt: skip
    given = ["--seeds", "3,1,4"] if sampled else [place.root / "a.png", place.root / "faces"]
    record, out = tmp_path / "kept" / "r.safetensors", f"recorded{sampled}"
    arguments = [*given, "--direction", f"{place.smile}=0.9", "--batch", "2"]
    assert place.call(*arguments, "--record", record, out=out) == 0
    assert place.call("--replay", record, out=f"{out}again") == 0
    assert place.written(out) == sorted(["strip.png", *names.values()])
    assert place.written(f"{out}again") == sorted(names.values())
    made = [(place.root / out / name).read_bytes() for name in names.values()]
    for name, want in zip(names.values(), made, strict=True):
        assert (place.root / f"{out}again" / name).read_bytes() == want
    older = replace(SampleRecord.load(record), names=())  # such records kept no names
    older.save(tmp_path / "older.safetensors")
    assert place.call("--replay", tmp_path / "older.safetensors", out=f"{out}older") == 0
    for i, want in zip(names, made, strict=True):
        assert (place.root / f"{out}older" / f"{i}.png").read_bytes() == want


def test_a_replay_stands_alone(place: Place, tmp_path: Path, capsys) -> None:
    record = tmp_path / "r.safetensors"
    assert place.call("--seeds", "1", "--direction", place.smile, "--record", record) == 0
    capsys.readouterr()
    other = saved_backbone(tmp_path / "other", seed=1)
    refused = {
        "leave out seeds, direction": ["--seeds", "1", "--direction", place.smile],
        "leave out images": [place.root / "a.png"],
        "made with backbone": ["--backbone", other],
        "is a file": ["--out", record],
        "--device nowhere": ["--device", "nowhere"],
        "--device meta": ["--device", "meta"],
    }
    for message, more in refused.items():
        given = ["--backbone", place.backbone, "--device", "cpu", "--out", tmp_path / "out"]
        assert edit.main([str(part) for part in (*given, "--replay", record, *more)]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1 and not (tmp_path / "out").exists()
    assert place.call("--replay", place.smile) == 2
    assert "not a sample record" in capsys.readouterr().err
