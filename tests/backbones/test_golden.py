"""Parity with recorded runs of Haas et al.'s code (golden/haas, files 1, 2, 3 and 7)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from hsl.backbones import TAPS, Backbone, Tap, load
from hsl.directions import Shift
from hsl.process import Edit, Injection, invert, last, reverse

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


def recorded_for(
    folder: Path, stem: str, tap: Tap = "after"
) -> list[tuple[Backbone, Recorded, list[int]]]:
    """Each golden file of a kind, with the model (of several) that gives its timesteps' h."""
    out = []
    for path in sorted(folder.glob(f"{stem}*.safetensors")):
        file = Recorded(path)
        n = int(json.loads(file.about["num_inference_steps"]))
        for model in models(folder):
            backbone = load(str(model), tap)
            k = next(  # h at any tap has as many channels
                v.shape[1]
                for name, v in file.tensors.items()
                if name.startswith(("hs_", "n_", "ddim_hs")) and v.ndim == 4 and len(v) == n
            )
            if backbone.h_shape[0] == k:
                out.append((backbone, file, backbone.schedule.grid(n, "leading")))
    if not list(folder.glob(f"{stem}*.safetensors")):
        pytest.skip(f"no golden/haas/{stem}*")
    assert out, f"no golden {stem} fits a model"
    return out


@pytest.mark.parametrize("tap", TAPS)
def test_sampling(folder: Path, tap: Tap) -> None:
    compared = 0
    for backbone, file, grid in recorded_for(folder, "1_sampling", tap):
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
            if f"hs_{tap}_{name}" in got:
                h = torch.cat([s.b.h for s in steps])
                assert relative(h, got[f"hs_{tap}_{name}"]) < 1e-5
            if f"xt_{name}" in got:
                assert relative(torch.cat([s.x for s in steps]), got[f"xt_{name}"]) < 1e-5
    assert compared


@pytest.mark.parametrize("tap", TAPS)
def test_edits(folder: Path, tap: Tap) -> None:
    compared = 0
    modes: dict[str, Injection] = {"asym": "asymmetric", "sym": "symmetric"}
    for backbone, file, grid in recorded_for(folder, "2_apply_direction", tap):
        got = file.tensors
        if f"n_{tap}" not in got:
            continue
        seed = int(file.about["seed"])
        size = got["x0_eta0_orig"].shape
        x_T = torch.randn(size, generator=torch.Generator().manual_seed(seed))
        zs = torch.randn((len(grid), *size[1:]), generator=torch.Generator().manual_seed(seed + 1))
        z_of = dict(zip(reversed(grid), zs, strict=True))

        def noise(t: int, like: Tensor, z_of: dict[int, Tensor] = z_of) -> Tensor:
            return z_of[t][None]

        direction = Shift(got[f"n_{tap}"].flip(0), grid)
        for name, expected in got.items():
            parts = name.split("_")
            if not name.startswith(f"x0_{tap}_"):
                continue
            eta, mode, scale = float(parts[2][3:]), modes[parts[3]], float(parts[4][1:])
            edit = Edit(direction, scale, injection=mode)
            x = last(reverse(backbone, x_T, grid, edit, eta, noise=noise))
            assert relative(x, expected) < 1e-5, name
            original = got[f"x0_{parts[2]}_orig"]
            moved = expected - original
            # of a small edit float32 leaves no more
            tolerance = max(2e-3, 1e-5 * float(expected.norm() / moved.norm()))
            assert relative(x - original, moved) < tolerance, name
            compared += 1
    if not compared:
        pytest.skip(f"no recorded edits at tap {tap}")


def as_released(grid: list[int]) -> list[int]:
    """The released inversion goes one jump past the reverse process's first timestep."""
    return [*grid, min(998, grid[-1] + grid[1])]


def test_inversion(folder: Path) -> None:
    for backbone, file, grid in recorded_for(folder, "3_inversion"):
        got = file.tensors
        with torch.no_grad():
            steps = list(invert(backbone, got["image"], as_released(grid)))
        for step, x in zip(steps, got["ddim_traj"], strict=True):
            assert relative(step.x_next, x[None] if x.ndim == 3 else x) < 1e-4
        assert relative(steps[-1].x_next, got["ddim_xT"]) < 1e-4
        # hs has the noisiest step first, like all that these files record
        h = torch.cat([s.b.h for s in reversed(steps)])
        assert relative(h, got["ddim_hs"]) < 1e-4


def test_latent_diffusion(golden_dir) -> None:
    folder, compared = golden_dir("haas"), 0
    for path in sorted(folder.glob("7_ldm*.safetensors")):
        for model in sorted(p for p in folder.glob("tiny-ldm*") if p.is_dir()):
            backbone, file = load(str(model)), Recorded(path)
            got = file.tensors
            grid = backbone.schedule.grid(len(got["timesteps"]), "leading")
            if backbone.h_shape != got["hs"].shape[1:] or backbone.image_size != len(
                got["x0"][0, 0]
            ):
                continue
            assert list(reversed(grid)) == got["timesteps"].tolist()
            edit = Edit(Shift(got["n"].flip(0), grid), float(file.about["scale"]),
                        injection="symmetric")  # fmt: skip
            eta, noise = float(file.about["etas"]), file.noise(grid)
            with torch.no_grad():
                steps = list(reverse(backbone, got["wT"], grid, eta=eta, noise=noise))
                edited = last(reverse(backbone, got["wT"], grid, edit, eta, noise=noise))
                w = backbone.x_0(got["image"])
                up = list(invert(backbone, w, as_released(grid)))
                back = last(reverse(backbone, up[-1].x_next, grid))
            w0 = steps[-1].x_next
            assert relative(w0, got["w0"]) < 1e-5 and relative(edited, got["w0_edit"]) < 1e-5
            assert relative(torch.cat([s.b.h for s in steps]), got["hs"]) < 1e-5
            assert relative(w, got["enc_w0"]) < 1e-5
            assert relative(up[-1].x_next, got["enc_wT"]) < 1e-4
            assert relative(torch.cat([s.b.h for s in reversed(up)]), got["enc_hs"]) < 1e-4
            assert relative(back, got["rec_w0"]) < 1e-4
            for latent, image in (("w0", "x0"), ("w0_edit", "x0_edit"), ("rec_w0", "rec_x0")):
                with torch.no_grad():  # from the recorded latent: a flipped code is a jump
                    assert relative(backbone.image(got[latent]), got[image]) < 1e-5
            compared += 1
    if not compared:
        pytest.skip("no golden/haas/tiny-ldm* with a 7_ldm*")
