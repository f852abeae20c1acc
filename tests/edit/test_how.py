"""``python -m hsl.edit``: where along the process, and how, an edit is put in."""

from pathlib import Path

import pytest
import torch

from edits import Place, made_borders, made_place
from hsl import edit
from hsl.backbones import PLAIN, Backbone, Speed, load
from hsl.data.images import load_images
from hsl.directions import Direction, ImplicitFunction, Shift, provenance
from hsl.edit import editor, interval, sources
from hsl.edit.explicit import h_along, mean_delta_h
from hsl.edit.records import sample
from hsl.encoders.perceptual import PerceptualDistance
from hsl.intervals import Curves
from hsl.intervals.profile import Profile, write_tables
from hsl.process import Edit, SeededNoise, invert, last, reverse

pytestmark = pytest.mark.usefixtures("quiet")

TWO = 2.1 / 127.5  # levels of 255: files hold 8 bits


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return made_place(tmp_path_factory.mktemp("edit"))


@pytest.fixture(scope="module")
def net(place: Place) -> Backbone:
    return load(place.backbone)


@pytest.fixture(scope="module")
def borders(place: Place) -> dict[str, str]:
    return made_borders(place)


@pytest.fixture
def edits(monkeypatch) -> list[Edit]:
    """The edits that the command makes."""
    made: list[Edit] = []

    def watched(backbone, x, grid, edit, *rest, **named):
        made.append(edit)
        return sample(backbone, x, grid, edit, *rest, **named)

    monkeypatch.setattr(editor, "sample", watched)
    return made


def by_hand(net: Backbone, path: Path, what: Edit | None, inversion=6, steps=6, eta=0.0):
    """The library's edit of one image."""
    images, _ = load_images(path, 8)
    grids = [net.schedule.grid(n) for n in (inversion, steps)]
    x = last(invert(net, net.x_0(images), grids[0], refine=1))
    noise = SeededNoise(torch.arange(1))
    return net.image(last(reverse(net, x, grids[1], what, eta, noise=noise))).clamp(-1, 1)


@pytest.mark.parametrize("steps", [4, 12])
def test_other_steps_than_of_training(place: Place, net: Backbone, steps: int, capsys) -> None:
    """Inverted in 9, edited in 4 or 12, trained in 6: each step adds 6 / steps as much."""
    smile = Direction.load(place.smile)
    smile.save(place.root / "six.safetensors", steps=6, **provenance(net))
    image = place.root / "a.png"
    given = ["--direction", f"{place.root}/six.safetensors=3", "--invert-steps", "9"]
    assert place.call(image, *given, "--steps", str(steps), out="steps") == 0
    said = capsys.readouterr()
    want = by_hand(net, image, Edit(smile, 3 * 6 / steps, 300, 100, 800), 9, steps)
    assert torch.allclose(place.pixels("steps", "a.png"), want, atol=TWO)
    assert f"6 / {steps}" in said.out and f"│ {18 / steps:.3g} " in said.out
    assert ("trained in 6 steps and is taken in 12" in said.err) == (steps == 12)


def test_the_factor_of_the_released_thread_is_warned_of(
    place: Place, net: Backbone, capsys
) -> None:
    """6 / 40, the default n_train over the n_test of issue 11, and nothing at the same number."""
    Direction.load(place.smile).save(place.root / "6.safetensors", steps=6, **provenance(net))
    for steps in ("6", "40"):
        given = ["--direction", f"{place.root}/6.safetensors", "--steps", steps]
        assert place.call(place.root / "a.png", *given, out="warned") == 0
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and err[0].startswith("hsl.edit: warning: ") and "0.15 times" in err[0]


def test_the_backbone_computes_as_told(place: Place, monkeypatch) -> None:
    told = []
    whole = Backbone.run_with
    monkeypatch.setattr(Backbone, "run_with", lambda b, s: told.append(s) or whole(b, s))
    arguments = ("a.png", "--direction", place.smile, "--speed", "bfloat16")
    monkeypatch.chdir(place.root)
    assert place.call(*arguments, "--speed", "channels_last", out="fast") == 0
    assert told == [Speed(bfloat16=True, channels_last=True)]
    assert place.call(*arguments[:3], out="plain") == 0
    assert told[1:] == [PLAIN]
    pair = [place.pixels(out, "a.png") for out in ("fast", "plain")]
    assert 0 < float((pair[0] - pair[1]).abs().mean()) < 0.02
    assert place.call(*arguments[:3], "--speed", "checkpoint", out="none") == 2


def test_both_grids_end_at_the_same_timestep(place: Place, borders, monkeypatch) -> None:
    grids = []

    def watched(walk):
        def walked(backbone, x, grid, *rest, **named):
            grids.append(list(grid))
            return walk(backbone, x, grid, *rest, **named)

        return walked

    monkeypatch.setattr(sources, "invert", watched(invert))
    monkeypatch.setattr(sources, "reverse", watched(reverse))
    image = place.root / "a.png"
    for what in (["--direction", place.smile], ["--boundary", borders["A"]]):
        assert place.call(image, *what, "--invert-steps", "20", out="grids") == 0
    lengths, ends = [len(grid) for grid in grids], [grid[-1] for grid in grids]
    assert lengths == [20, 6, 8, 2] and ends == [999, 999, 400, 400]


def test_options_are_those_of_the_edit(place: Place, net: Backbone, edits) -> None:
    image, smile = place.root / "a.png", Direction.load(place.smile)
    given = ["--t-edit", "200", "--t-start", "999", "--t-boost", "0", "--injection", "symmetric",
             "--mask", "0:2,1:4", "--dt-lambda", "0.9", "--dt-end", "500"]  # fmt: skip
    assert place.call(image, "--direction", f"{place.smile}=2", *given, out="how") == 0
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0:2, 1:4] = True
    want = Edit(smile, 2.0, 200, 0, 999, "symmetric", mask=mask, dt_lambda=0.9, dt_end=500)
    found = by_hand(net, image, want)
    assert torch.allclose(place.pixels("how", "a.png"), found, atol=TWO)
    (made,) = edits
    assert (made.t_edit, made.t_start, made.t_boost, made.injection) == (200, 999, 0, "symmetric")
    assert (made.dt_lambda, made.dt_end) == (0.9, 500)
    assert made.mask is not None and torch.equal(made.mask, mask)
    assert not torch.allclose(found, by_hand(net, image, None), atol=0.02)


@pytest.mark.parametrize("injection", ["replaced", "slerp"])
def test_a_share_is_not_divided_among_steps(
    place: Place, net: Backbone, injection, edits, tmp_path: Path
) -> None:
    """What takes the place of h: the strength is its share, in any number of steps."""
    h = Shift(torch.randn(32, 4, 4, generator=torch.Generator().manual_seed(1)))
    h.save(tmp_path / "h.safetensors", t_edit=300, steps=3, **provenance(net))
    given = ["--direction", f"{tmp_path}/h.safetensors", "--injection", injection]
    assert place.call(place.root / "a.png", *given, "--interpolate", "0:0.5:2", out=injection) == 0
    (made,) = edits
    assert isinstance(made.strength, torch.Tensor) and made.strength.tolist() == [0, 0.5]
    want = by_hand(net, place.root / "a.png", Edit(h, 0.5, 300, injection=injection))
    found = place.pixels(injection, "a_1_+0.00.png", "a_2_+0.50.png")
    assert torch.allclose(found[1], want[0], atol=TWO)
    plain = by_hand(net, place.root / "a.png", None)[0]
    assert torch.allclose(found[0], plain, atol=TWO)
    assert not torch.allclose(found[1], plain, atol=TWO)


def test_noise_at_all_steps(place: Place, net: Backbone) -> None:
    image = place.root / "a.png"
    assert place.call(image, "--direction", f"{place.smile}=0", "--eta", "1", out="eta") == 0
    found = place.pixels("eta", "a.png")
    assert torch.allclose(found, by_hand(net, image, None, eta=1.0), atol=TWO)
    assert not torch.allclose(found, by_hand(net, image, None), atol=0.1)


# Profiles


def tables(folder: Path, name: str = "profile") -> Path:
    """P_t reaches 0.1 k and x_t 0.4 k at t = 100 k."""
    curves = [{100 * k: scale * k for k in range(1, 10)} for scale in (0.1, 0.4)]
    folder.mkdir(exist_ok=True)
    write_tables(folder / name, Profile(Curves(*curves), Curves(*curves)))
    return folder


def test_the_interval_is_read_off_a_profile(place: Place, net, edits, tmp_path: Path) -> None:
    """At the paper's thresholds: 0.33 x the largest cosine, and 1.2; by hand one goes before."""
    for path, cosine in ((place.smile, 0.9), (place.hat, 0.6)):
        about = provenance(net) | {"cosine": cosine}
        Direction.load(path).save(tmp_path / Path(path).name, **about)
    directions = [part for name in ("Hat", "Smile")
                  for part in ("--direction", f"{tmp_path}/{name}.safetensors")]  # fmt: skip
    prefix = tables(tmp_path / "profile") / "profile"
    table = f"{prefix}_LPIPS_distance_x.tsv"
    for more in (
        ["--profile", prefix.parent],
        ["--profile", prefix],
        ["--profile", table, "--cosine", "0.6"],
        ["--profile", table, "--t-boost", "0"],
        ["--profile", table, "--edit-threshold", "0.6", "--boost-threshold", "2"],
    ):
        assert place.call(place.root / "a.png", *directions, *more, out="profiled") == 0
    found = [(made.t_edit, made.t_boost) for made in edits]
    assert found == [(300, 300), (300, 300), (200, 300), (300, 0), (600, 500)]


def test_the_bundled_backbone_has_thresholds_of_its_own() -> None:
    assert interval.thresholds(None, None, 2.0) == (0.33, 2.0)
    own = PerceptualDistance.load("toyfaces/guide").thresholds
    assert interval.thresholds("toyfaces", None, None) == own != (0.33, 1.2)
    assert load("toyfaces").domain == "toyfaces"


# Content


def test_content_is_the_librarys(place: Place, net: Backbone, edits) -> None:
    content, image = place.root / "faces" / "2.png", place.root / "a.png"
    given = [image, "--content", content, "--gamma", "0.6"]
    assert place.call(*given, "--invert-steps", "9", out="content") == 0
    x_0, grid = net.x_0(load_images(content, 8)[0]), net.schedule.grid(9)
    want = Edit(h_along(net, x_0, grid), 0.4, 400, 200, injection="slerp", dt_lambda=0.9985,
                dt_end=950)  # fmt: skip
    found = by_hand(net, image, want, 9)
    assert torch.allclose(place.pixels("content", "a.png"), found, atol=TWO)
    assert edits[0].strength == pytest.approx(0.4) and edits[0].t_boost == 200
    assert place.written("content") == ["a.png", "strip.png"]


def test_gamma_1_changes_nothing(place: Place, net: Backbone) -> None:
    content, image = place.root / "faces" / "2.png", place.root / "a.png"
    given = [image, "--content", content, "--t-boost", "0", "--dt-lambda", "1", "--t-edit", "0"]
    assert place.call(*given, "--interpolate", "0:1:2", out="gamma") == 0
    none, whole = place.pixels("gamma", "a_2_+1.00.png", "a_1_+0.00.png")
    assert torch.allclose(none, by_hand(net, image, None)[0], atol=TWO)
    assert not torch.allclose(whole, none, atol=0.02)
    assert place.call("--seeds", "0", "--content", content, out="sampled") == 0


# Means


@pytest.mark.parametrize("overall", [False, True])
def test_a_mean_delta_h_is_a_direction(
    place: Place, net: Backbone, overall: bool, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "new" / "mean.safetensors"
    given = [place.root / "faces", "--direction", f"{place.smile}=2", "--save-mean", path]
    more = ["--global"] if overall else []
    arguments = ["--backbone", place.backbone, "--steps", "6", "--device", "cpu", "--batch", "2"]
    assert edit.main([*arguments, *map(str, given), *more]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    images, grid = load_images(place.root / "faces", 8)[0], net.schedule.grid(6)
    x_T = last(invert(net, net.x_0(images), grid, refine=1))
    what = Edit(Direction.load(place.smile), 2.0, 300, 100, 800)
    want, found = mean_delta_h(net, x_T, grid, what, not overall), Direction.load(path, net)
    assert isinstance(found, Shift) and torch.allclose(found.delta, want.delta, atol=1e-5)
    assert found.timesteps == (None if overall else [399, 599, 799])
    about = found.about
    assert (about["t_edit"], about["t_boost"], about["strength"]) == (300, 100, 2.0)
    assert about["mean_of"] == ["Smile"] and about["images"] == 3
    assert place.call(place.root / "a.png", "--direction", path, out="mean") == 0
    want = by_hand(net, place.root / "a.png", Edit(found, 2.0, 300, 100, 800))
    assert torch.allclose(place.pixels("mean", "a.png"), want, atol=TWO)


def test_the_mean_of_several_is_that_of_their_sum(place: Place, net, tmp_path: Path) -> None:
    constant = Shift(torch.ones(32, 4, 4))
    constant.save(tmp_path / "one.safetensors", t_edit=300, steps=3, **provenance(net))
    path = tmp_path / "sum.safetensors"
    given = [place.root / "a.png", *["--direction", f"{tmp_path}/one.safetensors=2"] * 2]
    arguments = ["--backbone", place.backbone, "--steps", "6", "--device", "cpu"]
    assert edit.main([*arguments, *map(str, given), "--save-mean", str(path)]) == 0
    found = Direction.load(path)
    assert torch.allclose(found.delta, torch.full_like(found.delta, 2.0))  # 2 (2 x 3 / 6)
    assert (found.about["strength"], found.about["steps"]) == (1.0, 6)


def test_a_mean_where_boosting_begins_early(net: Backbone) -> None:
    """t_boost above t_edit: the edited steps below it are stochastic, in any batches."""
    torch.manual_seed(0)
    what = Edit(ImplicitFunction.for_backbone(net), 0.7, t_edit=100, t_boost=500)
    x, grid = torch.randn(3, 3, 8, 8), net.schedule.grid(6)
    one, three = (mean_delta_h(net, x, grid, what, batch=n) for n in (1, 3))
    assert torch.allclose(one.delta, three.delta, atol=1e-4)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--t-start", "200"], "t_start=200 is below t_edit=300"),
        (["--t-boost", "-1"], "t_boost=-1"),
        (["--invert-steps", "1"], "--invert-steps 1: want at least 2"),
        (["--injection", "fancy"], "--injection"),
        (["--injection", "slerp", "--direction", "{hat}"], "one direction alone"),
        (["--mask", "0:2"], "--mask 0:2: want"),
        (["--mask", "0:9,0:2"], "4 rows and columns"),
        (["--mask", "2:2,0:2"], "4 rows and columns"),
        (["--mask", ":2,0:2"], "want rows and columns"),
        (["--mask", "a:2,0:2"], "want rows and columns"),
        (["--dt-lambda", "nan"], "--dt-lambda nan"),
        (["--dt-end", "900"], "--dt-end goes with --dt-lambda"),
        (["--eta", "2"], "--eta 2"),
        (["--gamma", "0.5"], "--gamma goes with --content"),
        (["--content", "{image}"], "one of the three"),
        (["--cosine", "0.9"], "--cosine goes with --profile"),
        (["--global"], "--global goes with --save-mean"),
        (["--profile", "{tables}"], "give --cosine"),
        (["--profile", "{tables}", "--cosine", "-1"], "must be positive"),
        (["--profile", "{tables}", "--cosine", "1", "--edit-threshold", "9"], "never reaches 9"),
        (["--profile", "{tables}", "--cosine", "1", "--boost-threshold", "0"], "--boost-threshold"),
        (["--profile", "{two}", "--cosine", "1"], "several profiles"),
        (["--profile", "{image}", "--cosine", "1"], "no such file"),
        (["--profile", "/nowhere", "--cosine", "1"], "no such file"),
        (["--profile", "{empty}", "--cosine", "1"], "no table"),
        (["--profile", "{tables}", "--t-edit", "3", "--t-boost", "3"], "leave one out"),
        (["--save-mean", "mean.pt"], "ends in .safetensors"),
        (["--save-mean", "m.safetensors", "--record", "r.safetensors"], "goes without --record"),
        (["--save-mean", "m.safetensors", "--out", "{empty}"], "goes without --out"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments, message, place: Place, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    tables(tables(tmp_path / "two"), "b")
    where = {"image": place.root / "a.png", "hat": place.hat, "two": tmp_path / "two",
             "tables": tables(tmp_path / "one"), "empty": tmp_path / "empty"}  # fmt: skip
    given = ["--backbone", place.backbone, "--steps", "6", "--device", "cpu"]
    given += [str(where["image"]), "--direction", place.smile]
    before = sorted(tmp_path.rglob("*"))
    assert edit.main([*given, *(item.format(**where) for item in arguments)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0] and err[0].startswith("hsl.edit: "), err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{image}", "--content", "{image}", "--gamma", "2"], "want a gamma of 0"),
        (["{image}", "--content", "{faces}"], "want one image"),
        (["{image}", "--content", "none.png"], "no such file"),
        (["{image}", "--content", "{image}", "--keep", "{smile}"], "--keep goes with"),
        (["{image}", "--content", "{image}", "--scaled"], "--scaled goes with --direction"),
        (["{image}", "--content", "{image}", "--steps", "1"], "--steps 1: want at least 2"),
        (["{image}", "--content", "{image}", "--t-edit", "4000"], "no step is edited"),
        (["--seeds", "1", "--direction", "{smile}", "--invert-steps", "9"], "goes with images"),
        (["{image}", "--boundary", "{A}", "--t-start", "900"], "--t-start goes with --direction"),
        (["{image}", "--boundary", "{A}", "--profile", "x"], "--profile goes with --direction"),
        (["{image}", "--boundary", "{A}", "--save-mean", "m.safetensors"], "without --boundary"),
        (["--replay", "{smile}", "--gamma", "0.5"], "leave out gamma"),
    ],
)
def test_what_else_is_wrong(arguments, message, place: Place, borders, capsys) -> None:
    where = borders | {"image": place.root / "a.png", "faces": place.root / "faces",
                       "smile": place.smile}  # fmt: skip
    assert place.call(*(item.format(**where) for item in arguments), out="refused") == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0], err
    assert not (place.root / "refused").exists()
