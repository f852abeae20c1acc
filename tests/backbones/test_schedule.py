"""Alpha-bar and grids, beside the released code's and diffusers'."""

import re
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

from hsl.backbones.schedule import Schedule

ASYRP_40 = [
    0, 25, 51, 76, 102, 128, 153, 179, 204, 230, 256, 281, 307, 333, 358, 384, 409, 435, 461, 486,
    512, 537, 563, 589, 614, 640, 666, 691, 717, 742, 768, 794, 819, 845, 870, 896, 922, 947, 973,
    999,
]  # fmt: skip


def test_asyrp_grid() -> None:
    schedule = Schedule.linear()
    assert schedule.grid(40) == ASYRP_40
    assert schedule.grid(1000) == list(range(1000))
    assert schedule.grid(3, t_0=500) == [0, 250, 500]


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("n", [1, 2, 7, 10, 40, 50, 333, 1000])
def test_spacings_are_those_of_diffusers(spacing: str, n: int) -> None:
    scheduler = DDIMScheduler(1000, timestep_spacing=spacing)
    scheduler.set_timesteps(n)
    assert Schedule.linear().grid(n, spacing) == scheduler.timesteps.flip(0).tolist()


@pytest.mark.parametrize("spacing", ["asyrp", "leading", "linspace", "trailing"])
def test_a_grid_fits_a_short_schedule(spacing: str) -> None:
    grid = Schedule.linear(17).grid(5, spacing)
    assert len(set(grid)) == 5 and grid == sorted(grid) and grid[0] >= 0 and grid[-1] <= 16


def test_alphas() -> None:
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    schedule = Schedule(betas)
    assert schedule.alpha_bar(-1) == 1 and schedule.snr(-1) == float("inf")
    assert schedule.alpha_bar(1) == pytest.approx(float((1 - betas[0]) * (1 - betas[1])), abs=1e-15)
    for kind, ours in (("linear", Schedule.linear), ("scaled_linear", Schedule.scaled_linear)):
        theirs = DDIMScheduler(1000, 0.0015, 0.0195, kind).alphas_cumprod.double()
        assert torch.allclose(ours(1000, 0.0015, 0.0195).alphas_cumprod, theirs, rtol=1e-4)
    for t in (-2, 1000):
        with pytest.raises(IndexError):
            schedule.alpha_bar(t)


@pytest.mark.parametrize("factor", [0.25, 16.0, 64.0])
def test_shifted_multiplies_the_signal_to_noise_ratio(factor: float) -> None:
    plain, shifted = Schedule.linear(), Schedule.linear().shifted(factor)
    for t in (0, 1, 500, 999):
        assert shifted.snr(t) == pytest.approx(factor * plain.snr(t), rel=1e-6)
    assert len(shifted) == len(plain)


@pytest.mark.parametrize(
    "betas", [[], [0.1, 1.0], [0.0], [[0.1, 0.2]], [0.1, -0.1], [float("nan")]]
)
def test_bad_betas_are_refused(betas: list) -> None:
    with pytest.raises(ValueError, match="betas"):
        Schedule(betas)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 1}, "n=1"),
        ({"n": 1001}, "n=1001"),
        ({"n": 6, "t_0": 4}, "n=6"),
        ({"n": 5, "t_0": 1000}, "t_0=1000"),
        ({"n": 5, "t_0": -1}, "t_0=-1"),
        ({"n": 5, "spacing": "leading", "t_0": 500}, "t_0 belongs"),
        ({"n": 5, "spacing": "cosine"}, "cosine"),
    ],
)
def test_bad_grids_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule.linear().grid(**arguments)


def test_released_schedule(golden_dir) -> None:
    path: Path = golden_dir("asyrp") / "schedule.safetensors"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    golden, schedule = load_file(path), Schedule.linear()
    assert torch.allclose(schedule.betas, golden["betas"].double(), atol=1e-8)
    for kind, tolerance in (("f64", 1e-12), ("f32", 1e-6)):
        alphas = golden[f"alphas_cumprod_{kind}"].double()
        assert torch.allclose(schedule.alphas_cumprod, alphas, rtol=tolerance * 10, atol=tolerance)
    sequences = {k: v for k, v in golden.items() if k.startswith("seq.")}
    assert sequences
    for name, sequence in sequences.items():
        t_0, n = map(int, re.fullmatch(r"seq\.t(\d+)\.n(\d+)", name).groups())
        if n <= t_0 + 1:  # the released code repeats timesteps beyond
            assert schedule.grid(n, t_0=t_0) == sequence.tolist(), name
