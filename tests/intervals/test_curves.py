"""From curves to t_edit and t_boost."""

import json
from pathlib import Path

import pytest
import torch

from hsl.backbones.schedule import Schedule
from hsl.errors import HslError
from hsl.intervals import (
    CurveMeans,
    Curves,
    first_crossing,
    mixing_step,
    mixing_step_radius,
    mixing_step_tv,
    radius,
    radius_theory,
    read_tsv,
    t_boost,
    t_edit,
    total_variation,
    write_tsv,
)
from hsl.process import reverse
from recorded import files as recorded
from recorded import network

BUMPY = {0: 0.0, 100: 0.35, 200: 0.1, 300: 0.5, 400: 0.9}


def test_the_first_crossing_counts() -> None:
    assert first_crossing(BUMPY, 0.3, "t_edit") == 100
    assert first_crossing(BUMPY, 0.5, "t_edit") == 300  # reached, not only passed
    backwards = dict(reversed(BUMPY.items()))
    assert first_crossing(backwards, 0.3, "t_edit") == 100


def test_an_absent_crossing_shows_the_curve() -> None:
    with pytest.raises(HslError) as error:
        first_crossing(BUMPY, 1.2, "t_boost")
    message = str(error.value)
    assert "t_boost" in message and "1.2" in message and "400: 0.9" in message
    assert "\n" not in message
    with pytest.raises(HslError) as error:
        first_crossing({t: t / 2000 for t in range(1000)}, 0.9, "t_edit")
    assert len(str(error.value)) < 400
    assert "999: 0.499" in str(error.value)  # how near it came


def test_thresholds_take_the_cosine_into_account() -> None:
    curves = Curves(p={t: t / 1000 for t in range(1000)}, x={t: t / 500 for t in range(1000)})
    assert t_edit(curves, 1.0, 0.33) == 330
    assert t_edit(curves, 0.5, 0.33) == 165
    assert t_edit(curves, 0.9) == 298  # 0.33 x 0.9 is a little above 0.297
    assert t_boost(curves) == 600
    for cosine in (0.0, -0.2):
        with pytest.raises(HslError, match="positive"):
            t_edit(curves, cosine)


def test_means_over_batches() -> None:
    means, values = CurveMeans(), torch.tensor([0.1, 0.4, 0.2, 0.9])
    for part in values.split([3, 1]):
        means.add(5, part)
    means.add(1, torch.ones(2))
    assert list(means.mean()) == [1, 5]
    assert means.mean()[5] == pytest.approx(float(values.mean()))
    assert means.std()[5] == pytest.approx(float(values.std(correction=0)))
    assert means.std()[1] == 0


def test_a_table_comes_back(tmp_path: Path) -> None:
    curve = {999: 0.1 + 0.2, 0: 1e-9, 25: 0.5}
    write_tsv(tmp_path / "new" / "curve.tsv", curve)
    assert read_tsv(tmp_path / "new" / "curve.tsv") == curve
    assert (tmp_path / "new" / "curve.tsv").read_text().startswith("0\t")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["curve.tsv"]


@pytest.mark.parametrize(
    "text",
    [
        "1 0.5\n", "1\t2\t3\n", "one\t0.5\n", "1\tx\n", "", "\n\n",
        "1\tnan\n", "1\tinf\n", "1\t-0.5\n", "1\t1e308\n", "-7\t0.5\n", f"{9 * 10**29}\t0.5\n",
        "1\t0.5\n1\t0.6\n",
    ],
)  # fmt: skip
def test_bad_tables_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text(text)
    with pytest.raises(HslError, match=r"bad\.tsv") as error:
        read_tsv(tmp_path / "bad.tsv")
    assert "\n" not in str(error.value)


def test_a_missing_or_binary_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HslError, match=r"none\.tsv: no such"):
        read_tsv(tmp_path / "none.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(HslError, match=r"binary\.tsv"):
        read_tsv(tmp_path / "binary.tsv")
    with pytest.raises(HslError, match="is a folder"):
        read_tsv(tmp_path)


def test_released_timesteps(golden_dir) -> None:
    folder: Path = golden_dir("asyrp")
    tables = folder.parents[1] / "real" / "lpips_tables"
    if not tables.is_dir() or not (folder / "auto_timesteps.json").exists():
        pytest.skip("no recorded timesteps, or no released tables")
    golden = json.loads((folder / "auto_timesteps.json").read_text())
    for about in golden["datasets"].values():
        name = about["table"]
        curves = Curves(
            read_tsv(tables / f"{name}_LPIPS_distance_x0_t.tsv"),
            read_tsv(tables / f"{name}_LPIPS_distance_x.tsv"),
        )
        assert len(curves.p) == about["rows"]
        for cosine, t in about["t_edit"].items():
            assert t_edit(curves, float(cosine)) == t, (name, cosine)
        assert t_boost(curves) == about["t_boost"]["xt_table_th1.2"]
        assert first_crossing(curves.p, 0.1, "t_boost") == about["t_boost"]["x0t_table_th0.1"]


# The mixing step

ALPHA_BAR = Schedule.linear().alphas_cumprod


def test_total_variation_is_that_of_two_gaussians() -> None:
    # along the line between the means: P(N(m, s) > 0) - P(N(-m, s) > 0)
    found = total_variation(ALPHA_BAR, 5.0)
    for t in (0, 300, 700, 999):
        a = float(ALPHA_BAR[t])
        shift, std = a**0.5 * 2.5, (1 - a) ** 0.5
        above = float(torch.special.ndtr(torch.tensor(shift / std, dtype=torch.float64)))
        expected = above - (1 - above)
        assert float(found[t]) == pytest.approx(expected, abs=1e-12)
    assert bool((found.diff() <= 0).all())


@pytest.mark.parametrize("eps", [0.9, 0.5, 0.1])
def test_the_mixing_step_is_where_the_curve_gets_there(eps: float) -> None:
    t = mixing_step_tv(ALPHA_BAR, 6.0, eps)
    curve = total_variation(ALPHA_BAR, 6.0)
    assert curve[t] <= eps < curve[t - 1]
    off = (radius_theory(ALPHA_BAR, 57.0, 192) / 192**0.5 - 1).abs()
    t = mixing_step_radius(ALPHA_BAR, 57.0, 192, eps / 10)
    assert off[t] <= eps / 10 < off[t - 1]


def test_the_radius_is_that_of_noised_samples() -> None:
    g = torch.Generator().manual_seed(0)
    x_0 = torch.randn(2000, 3, 4, 4, generator=g) * 0.5
    moment = float(x_0.double().square().sum((1, 2, 3)).mean())
    for t in (100, 600):
        a = float(ALPHA_BAR[t])
        x = a**0.5 * x_0 + (1 - a) ** 0.5 * torch.randn(x_0.shape, generator=g)
        expected = float(radius(x).square().mean().sqrt())
        assert float(radius_theory(ALPHA_BAR, moment, 48)[t]) == pytest.approx(expected, rel=0.01)


def test_the_mixing_step_of_accuracies() -> None:
    curve = {0: 0.95, 500: 0.93, 300: 0.9, 700: 0.9, 999: 0.5}
    assert mixing_step(curve, 0.0) == 0
    assert mixing_step(curve, 0.02) == 500
    assert mixing_step(curve, 0.05) == 700  # 0.95 - 0.05, whatever the rounding
    assert mixing_step(curve, 1.0) == 999


def test_a_mixing_step_that_is_not_there() -> None:
    for call in (
        lambda: mixing_step({}, 0.1),
        lambda: mixing_step({5: float("nan"), 6: 0.5}, 0.1),
        lambda: mixing_step({5: 0.5}, -0.1),
        lambda: mixing_step_tv(ALPHA_BAR, 6.0, 1.0),
        lambda: mixing_step_tv(ALPHA_BAR, 0.0, 0.5),
        lambda: mixing_step_tv(ALPHA_BAR[:100], 6.0, 0.1),
        lambda: mixing_step_radius(ALPHA_BAR[:100], 57.0, 192, 0.01),
        lambda: mixing_step_radius(ALPHA_BAR, 57.0, 0, 0.01),
        lambda: total_variation(ALPHA_BAR, float("nan")),
    ):
        with pytest.raises(HslError, match="mixing step") as error:
            call()
        assert "\n" not in str(error.value)


def test_recorded_mixing_steps(golden_dir) -> None:
    for about, file in recorded(golden_dir("boundary"), "mixing_*.safetensors"):
        alpha_bar, x_0 = file["alphas_cumprod"], file["x0"].double()
        label = file["label"] > 0
        distance = float((x_0[label].mean(0) - x_0[~label].mean(0)).norm())
        moment = float(radius(x_0).square().mean())
        assert (distance, moment) == pytest.approx((about["D"], about["m2"]), rel=1e-6)
        assert torch.allclose(total_variation(alpha_bar, distance), file["tv"], atol=1e-6)
        d = x_0.shape[1]
        theory = radius_theory(alpha_bar, moment, d)
        assert torch.allclose(theory, file["radius_theory"], rtol=1e-6)
        for eps, step in about["tv_step"].items():
            assert mixing_step_tv(alpha_bar, distance, float(eps)) == step["tv_step"]
        for eps, step in about["radius_step"].items():
            assert mixing_step_radius(alpha_bar, moment, d, float(eps)) == step
        for t, expected in zip(about["t_grid"], file["radius_empirical"], strict=True):
            a = float(alpha_bar[t])
            x = a**0.5 * x_0 + (1 - a) ** 0.5 * file["noise"].double()
            assert float(radius(x).mean()) == pytest.approx(float(expected), rel=1e-6)


def test_recorded_radii(golden_dir) -> None:
    """The released code's ``--radius``: t = 998 is left out, and t = 500 the end."""
    folder = golden_dir("boundary")
    for about, file in recorded(folder, "radius_*.safetensors"):
        if not (folder / about["ckpt"]).exists():
            pytest.skip(f"golden/boundary lacks {about['ckpt']}")
        net, x = network(folder / about["ckpt"]), file["x_T"]
        radii = [radius(x)]
        with torch.no_grad():
            for step in reverse(net, x, [*range(500, 998), 999]):
                if step.t == 500:
                    break
                radii.append(radius(step.x_next))
        curve = file["radius_curve"].double()
        assert torch.allclose(torch.stack(radii, 1), curve, rtol=1e-5)
        assert torch.allclose(radius(file["x_500"]), file["radius_500"].double(), rtol=1e-5)
        assert float(radii[-1].mean()) == pytest.approx(about["mean"], rel=1e-5)
        assert float(radii[-1].mean()) == pytest.approx(float(file["mean_radius"]), rel=1e-5)
