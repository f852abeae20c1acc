"""Perceptual curves of a backbone, the paper's quantities on them, and their tables."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hsl.backbones import load
from hsl.encoders.perceptual import PerceptualDistance
from hsl.errors import HslError
from hsl.intervals import Curves, t_boost, t_edit
from hsl.intervals.profile import (
    Profile,
    measure,
    measures,
    read_tables,
    rows,
    summary,
    write_tables,
)
from hsl.process import invert, reverse
from hsl.study.profile_figure import draw
from recorded import told
from runs import faces
from tiny import backbone

GRID = [0, 199, 399, 599, 799, 999]
P = {0: 0.0, 200: 0.1, 400: 0.3, 600: 0.5, 800: 0.45}
X = {200: 0.7, 400: 1.3, 600: 1.35, 800: 1.4}
FLAT = Profile(Curves(P, X), Curves(dict.fromkeys(P, 0.1), dict.fromkeys(X, 0.2)))


def squared(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().flatten(1).mean(1)


def test_curves() -> None:
    net, distance = backbone(), PerceptualDistance.load("toyfaces/guide", resize=True)
    images = faces(5).faces("train").images
    found = measure(net, GRID, images, distance, batch=2)
    assert all(list(curve) == GRID for curve in (found.mean.p, found.std.p))
    assert all(list(curve) == GRID[1:] for curve in (found.mean.x, found.std.x))
    with torch.no_grad():
        for step in invert(net, images, GRID):
            p, x = distance(step.p, images), distance(step.x_next, images)
            for curves, of in (
                (found.mean, torch.mean),
                (found.std, lambda d: d.std(correction=0)),
            ):
                assert curves.p[step.t] == pytest.approx(float(of(p)), abs=1e-6)
                assert curves.x[step.t_next] == pytest.approx(float(of(x)), abs=1e-6)
        first = next(iter(reverse(net, step.x_next, GRID)))  # P_T, as the reverse process begins
        assert found.mean.p[999] == pytest.approx(float(distance(first.p, images).mean()), abs=1e-6)


def test_latent_diffusion_is_measured_on_images() -> None:
    net = backbone(space_to_depth=True)
    distance = PerceptualDistance.load("toyfaces/guide", resize=True)
    images = faces(3, size=16).faces("train").images
    found = measure(net, GRID, images, distance)
    with torch.no_grad():
        step = next(iter(invert(net, net.x_0(images), GRID)))
        x = distance(net.image(step.x_next), images).mean()
    assert found.mean.x[199] == pytest.approx(float(x), abs=1e-6)


def test_as_released_differs_by_the_timestep_of_p() -> None:
    images = faces(3).faces("train").images
    right = measure(backbone(), GRID, images, squared)
    released = measure(backbone(), GRID, images, squared, as_released=True)
    assert released.mean.x == right.mean.x and released.std.x == right.std.x
    for curves, ours in zip(released, right, strict=True):
        assert list(curves.p) == GRID[1:]
        assert list(curves.p.values()) == list(ours.p.values())[:-1]


def test_the_released_table(golden_dir) -> None:
    """Of mean squared errors: that code takes one image more than it is asked for."""
    folder = golden_dir("asyrp")
    path, weights = folder / "distance_table.safetensors", folder / "ddpm_A_weights.safetensors"
    if not path.exists() or not weights.exists():
        pytest.skip("no distance_table.safetensors, or not its network")
    table = load_file(path)
    net = load(str(weights), told=told({"image_size": table["x0"].shape[-1]}))
    grid = net.schedule.grid(len(table["x.key"]) + 1)
    found = measure(net, grid, table["x0"][:3], squared, batch=2, as_released=True)
    for name, curve in (("x0_t", found.mean.p), ("x", found.mean.x),
                        ("x0_t_std", found.std.p), ("x_std", found.std.x)):  # fmt: skip
        assert list(curve) == table[f"{name}.key"].long().tolist()
        got, want = torch.tensor(list(curve.values())), table[f"{name}.value"].float()
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_the_papers_quantities() -> None:
    found = measures(FLAT.mean, t_edit=400, t_boost=200)
    assert found == pytest.approx((0.45 - 0.3, 0.3, 0.1, 0.7))
    # all that the process changes is changed in [T, t_edit] or may be after it
    assert found.strength + found.flexibility == pytest.approx(P[800])
    named = {row["quantity"]: row["value"] for row in summary(FLAT.mean, 400, 200)}
    assert named["editing strength of [800, 400]"] == pytest.approx(0.15)
    assert named["quality deficiency at 200"] == 0.7 and named["t_edit"] == 400


def test_printed_rows_begin_at_the_end() -> None:
    table = rows(FLAT, 2)
    assert [row["t"] for row in table] == [800, 400, 0]
    assert table[0] == {"t": 800, "LPIPS(x, P_t)": 0.45, "std of P_t": 0.1,
                        "LPIPS(x, x_t)": 1.4, "std of x_t": 0.2}  # fmt: skip
    assert table[-1]["LPIPS(x, x_t)"] is None


def test_tables_come_back(tmp_path: Path) -> None:
    paths = write_tables(tmp_path / "new" / "celeba", FLAT)
    assert read_tables(tmp_path / "new" / "celeba") == FLAT
    assert {p.name.removeprefix("celeba_LPIPS_distance_") for p in paths} == {
        "x.tsv", "x_std.tsv", "x0_t.tsv", "x0_t_std.tsv"
    }  # fmt: skip
    for path, t in ((paths[0], "800"), (paths[2], "400")):
        text = path.read_text()
        rows = [row for row in text.splitlines(keepends=True) if row.split()[0] != t]
        path.write_text("".join(rows))
        with pytest.raises(HslError, match=f"no row for t = {t}, which the other tables have"):
            read_tables(tmp_path / "new" / "celeba")
        path.write_text(text)
    paths[-1].unlink()
    with pytest.raises(HslError, match=r"celeba_LPIPS_distance_x_std\.tsv: no such file"):
        read_tables(tmp_path / "new" / "celeba")


@pytest.mark.parametrize("name", ["celeba", "church", "bedroom", "afhq", "metface"])
def test_released_tables_are_read(golden_dir, name: str) -> None:
    tables = golden_dir("asyrp").parents[1] / "real" / "lpips_tables"
    if not tables.is_dir():
        pytest.skip("no released tables")
    profile = read_tables(tables / name)
    assert all(list(c) == list(profile.mean.x) for c in (*profile.mean, *profile.std))
    found = measures(profile.mean, t_edit(profile.mean, 1.0), t_boost(profile.mean))
    assert found.flexibility == pytest.approx(0.33, abs=0.01)
    assert found.deficiency == pytest.approx(1.2, abs=0.01)
    assert found.strength > 0.6 and found.flexibility_boost < found.flexibility


@pytest.mark.parametrize(("thresholds", "scale"), [((0.3, 0.7), "linear"), ((0.3, 0.01), "log")])
def test_the_picture_marks_thresholds_and_bands(thresholds, scale: str) -> None:
    (axis,) = draw(FLAT, thresholds, 400, 200, "a title").axes
    assert axis.get_yscale() == scale and axis.get_xlim() == (800, 0)
    lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert lines["LPIPS(x, $P_t$)"] == [[t, pytest.approx(v)] for t, v in P.items()]
    assert lines["LPIPS(x, $x_t$)"] == [[t, pytest.approx(v)] for t, v in X.items()]
    heights = {line.get_ydata()[0] for line in axis.lines if len(set(line.get_ydata())) == 1}
    assert set(thresholds) <= heights
    places = {line.get_xdata()[0] for line in axis.lines if len(set(line.get_xdata())) == 1}
    assert {400, 200} <= places
    assert len(axis.collections) == 2
    texts = {text.get_text() for text in axis.texts}
    assert {
        "editing\nstrength 0.15",
        "editing\nflexibility 0.3",
        "quality\ndeficiency 0.7",
    } <= texts
