"""Parity with the recorded runs of BoundaryDiffusion (golden/boundary, sections 2 to 4)."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hsl.backbones import Backbone
from hsl.backbones.schedule import Schedule
from hsl.errors import HslError
from hsl.process import SeededNoise, Step, invert, last, reverse
from hsl.released.boundary_diffusion import (
    Latents,
    decode_as_released,
    edit_as_released,
    grid_as_released,
    inverted_as_released,
    sample_as_released,
    sampled_as_released,
    to_coordinates,
)
from recorded import Recorded, recorded
from tiny import backbone

TOLERANCE = 5e-5  # of the largest value
VARIANTS = (
    ("edit", 1.0, None),
    ("official_eta0", 0.0, None),
    ("stale_eta1", 1.0, "stale"),
    ("intended_eta1", 1.0, "once"),
    ("intended_eta0", 0.0, "once"),
)


def off(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def variants(file: Recorded) -> list[tuple[str, float, str | None]]:
    """Those of which the file holds the first distance."""
    return [kind for kind in VARIANTS if f"{kind[0]}0.z" in file.tensors]


def path_of(steps: list[Step]) -> Tensor:
    """All states of a path, from its first to its last."""
    return torch.cat([*(step.x for step in steps), steps[-1].x_next])


def hs(steps: list[Step]) -> Tensor:
    return torch.cat([step.b.h for step in steps])


# Golden


@torch.no_grad()
def test_recorded_searches(golden_dir) -> None:
    for file in recorded(golden_dir("boundary"), "boundary_search_*.safetensors"):
        n = file.about["n_inv"]
        grid = grid_as_released(n, file.t_0)
        assert grid == file.about["seq"]
        for part in ("train", "test"):
            if f"{part}.x0" not in file.tensors:
                pytest.skip("no recorded images of the searches")
            x, h = inverted_as_released(file.net, file[f"{part}.x0"], file.t_0, n)
            assert off(x, file[f"{part}.z"]) <= TOLERANCE
            assert off(h, file[f"{part}.h"]) <= TOLERANCE
            assert off(last(reverse(file.net, x, grid)), file[f"{part}.x_rec"]) <= TOLERANCE


@torch.no_grad()
def test_recorded_edits_step_by_step(golden_dir) -> None:
    for file in recorded(golden_dir("boundary"), "edit_*.safetensors"):
        grid = grid_as_released(file.about["n_inv"], file.t_0)
        inversion = list(invert(file.net, file["x0"], grid))
        assert [step.t for step in inversion] == file["inv.t"].tolist()
        assert off(path_of(inversion), file["inv.z"]) <= TOLERANCE
        assert off(hs(inversion), file["inv.h_computed"]) <= TOLERANCE
        x, h = inverted_as_released(file.net, file["x0"], file.t_0, file.about["n_inv"])
        assert off(x, file["z_lat"]) <= TOLERANCE
        assert off(h, file["h_lat"]) <= TOLERANCE

        grid = grid_as_released(file.about["n_test"], file.t_0)
        plain = list(reverse(file.net, file["z_lat"], grid))
        assert off(path_of(plain), file["rec.z"]) <= TOLERANCE
        assert off(hs(plain), file["rec.h_computed"]) <= TOLERANCE
        xs = to_coordinates(file["z_lat"], file.normal("z"), file.distances)
        moved_hs = to_coordinates(file["h_lat"], file.normal("h"), file.distances)
        for j, d in enumerate(file.distances):
            assert off(xs[j], file[f"edit{j}.z"][:1]) <= 1e-6
            assert off(moved_hs[j], file[f"edit{j}.h_used"][:1]) <= 1e-6
            for v, space in ((xs[j], "z"), (moved_hs[j], "h")):
                assert float((v[0] * file.normal(space)).sum()) == pytest.approx(d, abs=1e-3)

            latents, noise = Latents(xs[j], moved_hs[j]), file.noise(grid, j)
            for name, eta, inject in variants(file):
                steps = list(decode_as_released(file.net, latents, grid, eta, noise, inject))
                assert off(path_of(steps), file[f"{name}{j}.z"]) <= TOLERANCE, (name, j)
                if name == "edit":
                    assert [step.t for step in steps] == file[f"edit{j}.t"].tolist()
                    assert [step.t_next for step in steps] == file[f"edit{j}.t_next"].tolist()
                    assert off(hs(steps), file[f"edit{j}.h_computed"]) <= TOLERANCE


def test_recorded_edits_as_one_batch(golden_dir) -> None:
    for file in recorded(golden_dir("boundary"), "edit_*.safetensors"):
        n_inv, n_test = file.about["n_inv"], file.about["n_test"]
        grid = grid_as_released(n_test, file.t_0)
        for name, eta, inject in variants(file):
            found = edit_as_released(
                file.net, file["x0"], file.normal("z", unit=False), file.normal("h", unit=False),
                file.distances, file.t_0, n_inv, n_test, eta, file.noise(grid), inject,
            )  # fmt: skip
            for j, x in enumerate(found):
                assert off(x, file[f"{name}{j}.z"][-1:]) <= TOLERANCE, (name, j)


def test_an_i_ddpm_network_drops_the_edit_of_h(golden_dir) -> None:
    """So h's normal does not matter to it, while to a DDPM it does."""
    for file in recorded(golden_dir("boundary"), "edit_*.safetensors"):
        noise = file.noise(grid_as_released(file.about["n_test"], file.t_0))
        found = [
            edit_as_released(
                file.net, file["x0"], file.normal("z"), h_normal, file.distances, file.t_0,
                file.about["n_inv"], file.about["n_test"], noise=noise,
            )
            for h_normal in (file.normal("h"), -file.normal("h"))
        ]  # fmt: skip
        assert torch.equal(*found) != file.about["ckpt"].startswith("fam_i_")


@torch.no_grad()
def test_recorded_samples(golden_dir) -> None:
    for file in recorded(golden_dir("boundary"), "uncond_*.safetensors"):
        chain = reverse(file.net, file["x_T"], grid_as_released(999, 999))
        times, afters = file["gen.t"].tolist(), {}
        for i, (t, step) in enumerate(zip(times, chain, strict=False)):
            assert step.t == t and step.t_next == file["gen.t_next"][i]
            afters[f"gen.z_after_step{i}"] = step.x_next
        known = [key for key in file.tensors if key.startswith("gen.z_after_step")]
        assert known
        assert max(off(afters[key], file[key]) for key in known) <= TOLERANCE
        x, h = sampled_as_released(file.net, file["x_T"], file.t_0)
        assert off(x, file["z_lat"]) <= TOLERANCE
        assert off(h, file["h_lat"]) <= TOLERANCE

        n = file.about["n_inv"]
        grid = grid_as_released(n, file.t_0)
        xs = to_coordinates(file["z_lat"], file.normal("z"), file.distances)
        moved = to_coordinates(file["h_lat"], file.normal("h", unit=False), file.distances)
        steps = list(
            decode_as_released(
                file.net, Latents(xs.flatten(0, 1), moved.flatten(0, 1)), grid, 1, file.noise(grid)
            )
        )
        whole = sample_as_released(
            file.net, file["x_T"], file.normal("z", unit=False), file.normal("h", unit=False),
            file.distances, file.t_0, n, noise=file.noise(grid),
        )  # fmt: skip
        for j in range(len(file.distances)):
            assert off(moved[j], file[f"edit{j}.h_used"][:1]) <= 1e-6
            states = torch.stack([*(step.x[j] for step in steps), steps[-1].x_next[j]])
            assert off(states, file[f"edit{j}.z"]) <= TOLERANCE
            own_h = torch.stack([step.b.h[j] for step in steps])
            assert off(own_h, file[f"edit{j}.h_computed"]) <= TOLERANCE
            assert off(whole[j], file[f"edit{j}.z"][-1:]) <= TOLERANCE


# Without a golden


@pytest.fixture(scope="module")
def net() -> Backbone:
    return backbone()


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_grid_truncates_where_ours_forgives() -> None:
    schedule = Schedule.linear()
    assert grid_as_released(1, 500) == [0]
    assert grid_as_released(40, 500) == schedule.grid(40, t_0=500)
    assert grid_as_released(999, 999) == [*range(998), 999] == schedule.grid(999)
    ours, theirs = np.array(schedule.grid(36, t_0=500)), np.array(grid_as_released(36, 500))
    assert sorted(set(ours - theirs)) == [0, 1]
    with pytest.raises(HslError, match="at least 1"):
        grid_as_released(0, 500)


def test_timesteps_that_repeat_are_refused(net: Backbone) -> None:
    assert len(set(grid_as_released(401, 400))) < 401
    with pytest.raises(HslError, match="ascending"):
        inverted_as_released(net, randn(1, 3, 8, 8), 400, 401)


def test_coordinates_do_not_depend_on_where_one_was() -> None:
    v, normal = randn(4, 3, 8, 8), randn(3, 8, 8, seed=1)
    normal /= normal.norm()
    moved = to_coordinates(v, normal, [-3.0, 0.0, 20.0])
    along = (moved * normal).sum((2, 3, 4))
    assert torch.allclose(along, torch.tensor([-3.0, 0.0, 20.0])[:, None], atol=1e-4)
    across = moved - along[..., None, None, None] * normal
    assert torch.allclose(across, across[:1].expand_as(across), atol=1e-5)


@torch.no_grad()
def test_stale_means_the_h_of_the_step_before(net: Backbone) -> None:
    x, h, grid = randn(2, 3, 8, 8), randn(2, 32, 4, 4, seed=1), [0, 200, 400, 600]
    steps = list(decode_as_released(net, Latents(x, h), grid, 0.0, inject="stale"))
    used = h
    for step in steps:
        b = net.encode(step.x, step.t)
        assert torch.allclose(step.eps, net.decode(b._replace(h=used)), atol=1e-5)
        used = b.h
    once = list(decode_as_released(net, Latents(x, h), grid, 0.0, inject="once"))
    assert torch.equal(once[0].x_next, steps[0].x_next)
    rest = last(reverse(net, once[0].x_next, grid[:-1]))
    assert torch.equal(once[-1].x_next, rest)
    assert not torch.allclose(once[-1].x_next, steps[-1].x_next, atol=1e-2)
    never = last(decode_as_released(net, Latents(x, h), grid, 0.0, inject="never"))
    assert torch.equal(never, last(reverse(net, x, grid)))


def test_a_batch_equals_its_images(net: Backbone) -> None:
    x_0, normals = randn(2, 3, 8, 8), (randn(3, 8, 8, seed=1), randn(32, 4, 4, seed=2))
    index = torch.arange(6)
    whole = edit_as_released(
        net, x_0, *normals, [-5, 0, 5], 300, 4, 4, noise=SeededNoise(index)
    )  # fmt: skip
    assert whole.shape == (3, 2, 3, 8, 8)
    for j, d in enumerate((-5, 0, 5)):
        for i in range(2):
            noise = SeededNoise(index[2 * j + i :][:1])
            one = edit_as_released(net, x_0[i : i + 1], *normals, [d], 300, 4, 4, noise=noise)
            assert torch.allclose(one[0, 0], whole[j, i], atol=1e-3, rtol=1e-4)


def test_as_many_steps_as_released(net: Backbone) -> None:
    """40 up and 40 down, with noise at each."""
    x_0, normals = randn(1, 3, 8, 8), (randn(3, 8, 8, seed=1), randn(32, 4, 4, seed=2))
    usual, told = (
        edit_as_released(net, x_0, *normals, [5], 300, noise=SeededNoise(torch.arange(1)), **more)
        for more in ({}, {"n_inv": 40, "n_test": 40, "eta": 1.0})
    )
    assert torch.equal(usual, told)


def test_what_cannot_be_is_refused(net: Backbone) -> None:
    x = randn(1, 3, 8, 8)
    with pytest.raises(HslError, match="at least 2"):
        inverted_as_released(net, x, 500, 1)
    for t_0 in (-1, 998, 999):
        with pytest.raises(HslError, match="want a timestep in"):
            sampled_as_released(net, x, t_0)
    with pytest.raises(HslError, match="inject 'twice': want one of stale, once, never"):
        decode_as_released(net, Latents(x, x), [0, 5], inject="twice")
