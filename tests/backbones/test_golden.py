"""Parity with recorded runs of Haas et al.'s code (golden/haas, files 1 and 2)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from hsl.backbones import Backbone, load
from hsl.directions import Shift
from hsl.process import Edit, Injection, last, reverse

pytestmark = pytest.mark.golden


class Recorded:
    """One golden file."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            self.about = file.metadata()
            self.tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118

    def noise(self, grid: list[int]):
        """The recorded z, index 0 being the noisiest step."""
        zs = dict(zip(reversed(grid), self.tensors["zs"], strict=True))
        return lambda t, like: zs[t][None]


def relative(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.fixture(scope="module")
def folder(golden_dir) -> Path:
    folder = golden_dir("haas")
    if not list(folder.glob("tiny-ddpm*")):
        pytest.skip("no golden/haas/tiny-ddpm*")
    return folder


def models(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("tiny-ddpm*") if p.is_dir())


def recorded_for(folder: Path, stem: str) -> list[tuple[Backbone, Recorded, list[int]]]:
    """Each golden file of a kind, with the model (of several) that gives its timesteps' h."""
    out = []
    for path in sorted(folder.glob(f"{stem}*.safetensors")):
        file = Recorded(path)
        n = int(json.loads(file.about["num_inference_steps"]))
        for model in models(folder):
            backbone = load(str(model))
            k = next(
                v.shape[1]
                for name, v in file.tensors.items()
                if "after" in name and v.ndim == 4 and len(v) == n
            )
            if backbone.h_shape[0] == k:
                out.append((backbone, file, backbone.schedule.grid(n, "leading")))
    assert out, f"no golden {stem} fits a model"
    return out


def test_sampling(folder: Path) -> None:
    compared = 0
    for backbone, file, grid in recorded_for(folder, "1_sampling"):
        got = file.tensors
        assert list(reversed(grid)) == got["timesteps"].tolist()
        for name, eta in (("eta0", 0.0), ("eta1", 1.0), ("eta0p5", 0.5), ("etalist", None)):
            if f"x0_{name}" not in got:
                continue
            etas = got["etalist"].flip(0).tolist() if eta is None else eta
            with torch.no_grad():
                steps = list(reverse(backbone, got["x_T"], grid, eta=etas, noise=file.noise(grid)))
            assert relative(steps[-1].x_next, got[f"x0_{name}"]) < 1e-5
            compared += 1
            if f"hs_after_{name}" in got:
                h = torch.cat([s.b.h for s in steps])
                assert relative(h, got[f"hs_after_{name}"]) < 1e-5
            if f"xt_{name}" in got:
                assert relative(torch.cat([s.x for s in steps]), got[f"xt_{name}"]) < 1e-5
    assert compared


def test_edits(folder: Path) -> None:
    compared = 0
    modes: dict[str, Injection] = {"asym": "asymmetric", "sym": "symmetric"}
    for backbone, file, grid in recorded_for(folder, "2_apply_direction"):
        got = file.tensors
        seed = int(file.about["seed"])
        size = got["x0_eta0_orig"].shape
        x_T = torch.randn(size, generator=torch.Generator().manual_seed(seed))
        zs = torch.randn((len(grid), *size[1:]), generator=torch.Generator().manual_seed(seed + 1))
        z_of = dict(zip(reversed(grid), zs, strict=True))

        def noise(t: int, like: Tensor, z_of: dict[int, Tensor] = z_of) -> Tensor:
            return z_of[t][None]

        direction = Shift(got["n_after"].flip(0), grid)
        for name, expected in got.items():
            parts = name.split("_")
            if not name.startswith("x0_after_"):
                continue
            eta, mode, scale = float(parts[2][3:]), modes[parts[3]], float(parts[4][1:])
            edit = Edit(direction, scale, injection=mode)
            x = last(reverse(backbone, x_T, grid, edit, eta, noise=noise))
            assert relative(x, expected) < 1e-5, name
            original = got[f"x0_{parts[2]}_orig"]
            assert relative(x - original, expected - original) < 2e-3, name
            compared += 1
    assert compared
