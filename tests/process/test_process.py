"""Theorems about the process, on a random U-Net."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from hsl.backbones import Backbone
from hsl.directions import ImplicitFunction, Shift
from hsl.edit.explicit import h_along, mean_delta_h
from hsl.errors import HslError
from hsl.process import (
    INJECTIONS,
    Edit,
    Injection,
    SeededNoise,
    eps_of,
    invert,
    last,
    predicted_x_0,
    reverse,
)
from hsl.process.edit import slerp
from hsl.process.injection import TOGETHER
from tiny import backbone


@pytest.fixture(scope="module")
def net() -> Backbone:
    return backbone()


def x_of(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def shift(scale: float = 1.0, seed: int = 2) -> Shift:
    return Shift(scale * torch.randn(32, 4, 4, generator=torch.Generator().manual_seed(seed)))


def test_no_change_is_the_identity(net: Backbone) -> None:
    """Bit for bit, with more images than have their two decodes in one batch."""
    grid, x = net.schedule.grid(6), x_of(TOGETHER + 1)
    plain = last(reverse(net, x, grid))
    for injection in ("asymmetric", "symmetric"):
        edit = Edit(shift(0.0), injection=injection)
        assert torch.equal(last(reverse(net, x, grid, edit)), plain)
    assert torch.equal(last(reverse(net, x, grid, Edit(shift(), strength=0.0))), plain)
    assert not torch.equal(last(reverse(net, x, grid, Edit(shift()))), plain)


def test_two_decodes_in_one_batch_differ_by_rounding_alone(net: Backbone) -> None:
    """And with gradients they are apart, so that the unedited one keeps nothing for them."""
    f, grid = ImplicitFunction.for_backbone(net, zero_init=False), [300, 600]
    with torch.no_grad():
        one = list(reverse(net, x_of(2), grid, Edit(f)))
    two = list(reverse(net, x_of(2), grid, Edit(f)))
    for together, apart in zip(one, two, strict=True):
        assert torch.allclose(together.x_next, apart.x_next, atol=1e-4)
        assert torch.allclose(together.eps, apart.eps, atol=1e-4)
        assert torch.allclose(together.p, apart.p, atol=1e-4, rtol=1e-4)
    assert two[0].p.requires_grad and not two[0].eps.requires_grad


def test_a_known_eps_saves_a_decode_and_changes_nothing(net: Backbone, monkeypatch) -> None:
    grid, edit = [100, 300, 600], Edit(shift())
    first = next(reverse(net, x_of(3), grid))
    eps = eps_of(first.x, first.p, net.schedule.alpha_bar(600))
    assert torch.allclose(eps, first.eps, atol=1e-5)
    decodes, decode = [], net.decode

    def counting(b) -> torch.Tensor:
        decodes.append(len(b.h))
        return decode(b)

    monkeypatch.setattr(net, "decode", counting)
    known = last(reverse(net, x_of(3), grid, edit, eps=eps))
    # the last step has no D_t, and so needs no unedited eps
    assert decodes == [3] * (1 + 2 + 1)
    assert torch.allclose(known, last(reverse(net, x_of(3), grid, edit)), atol=1e-4)
    assert len(decodes) == 4 + 5


def test_a_symmetric_shift_of_eps_cancels(net: Backbone) -> None:
    """Theorem 1 of Asyrp: shifting eps in P_t and in D_t alike changes x_{t-1} by
    (sqrt(1 - a_{t-1}) - sqrt((1 - a_t) / (1 - beta_t))) d eps: nearly nothing, while the change
    through P_t alone is large."""
    x, t, schedule = x_of(1), 500, net.schedule
    a, a_next = schedule.alpha_bar(t), schedule.alpha_bar(t - 1)
    delta = x_of(1, seed=9)

    def step(eps_p: torch.Tensor, eps_d: torch.Tensor) -> torch.Tensor:
        return a_next**0.5 * predicted_x_0(x, eps_p, a) + (1 - a_next) ** 0.5 * eps_d

    eps = net.decode(net.encode(x, t))
    symmetric = step(eps + delta, eps + delta) - step(eps, eps)
    asymmetric = step(eps + delta, eps) - step(eps, eps)
    factor = (1 - a_next) ** 0.5 - ((1 - a) / (1 - float(schedule.betas[t]))) ** 0.5
    assert torch.allclose(symmetric, factor * delta, atol=1e-5)
    assert symmetric.norm() < 0.02 * asymmetric.norm()


def test_the_loop_cancels_a_symmetric_shift_too(net: Backbone) -> None:
    """The same through `reverse`, with a direction in eps."""
    grid = net.schedule.grid(1000)[500:520]
    delta = Shift(x_of(1, seed=9)[0], space="eps")
    plain = last(reverse(net, x_of(1), grid))
    sizes = {}
    for mode in ("symmetric", "asymmetric"):
        edit = Edit(delta, t_edit=grid[1], injection=mode)
        sizes[mode] = float((last(reverse(net, x_of(1), grid, edit)) - plain).norm())
    assert sizes["symmetric"] < 0.2 * sizes["asymmetric"]


def test_strengths_add(net: Backbone) -> None:
    grid, d, e = net.schedule.grid(5), shift(seed=3), shift(seed=4)
    one = last(reverse(net, x_of(2), grid, Edit(0.3 * d + 0.5 * d)))
    other = last(reverse(net, x_of(2), grid, Edit(d, 0.8)))
    assert torch.allclose(one, other, atol=1e-4)
    both = last(reverse(net, x_of(2), grid, Edit(d + e, 0.5)))
    halves = last(reverse(net, x_of(2), grid, Edit(0.5 * d + 0.5 * e)))
    assert torch.allclose(both, halves, atol=1e-4)


def test_reconstruction_improves_with_steps(net: Backbone) -> None:
    x_0 = x_of(2) * 0.5
    errors = []
    for n in (5, 10, 20, 40, 80):
        grid = net.schedule.grid(n)
        x_T = last(invert(net, x_0, grid))
        errors.append(float((last(reverse(net, x_T, grid)) - x_0).square().mean()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0] / 4


def test_steps_agree_with_ddim_of_diffusers(net: Backbone) -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(1000, 1e-4, 0.02, "linear", clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    x = x_of(2)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(net.unet(x, t).sample, t, x).prev_sample
    ours = last(reverse(net, x_of(2), net.schedule.grid(10, "leading")))
    assert torch.allclose(ours, x, atol=1e-4, rtol=1e-4)


def test_only_the_interval_is_edited(net: Backbone) -> None:
    grid = net.schedule.grid(10)
    edit = Edit(shift(), t_edit=300, t_start=700)
    plain = list(reverse(net, x_of(1), grid))
    seen = [s.t for s in reverse(net, x_of(1), grid, edit) if not torch.equal(
        s.p, predicted_x_0(s.x, net.decode(s.b), net.schedule.alpha_bar(s.t)))]  # fmt: skip
    assert seen == [t for t in reversed(grid) if 300 <= t <= 700]
    assert len(plain) == len(grid) and plain[-1].t_next == -1
    assert Edit(shift()).acts(0) and Edit(shift()).acts(999)
    assert torch.equal(plain[-1].p, plain[-1].x_next)


def test_boost_is_stochastic_below_t_boost_only(net: Backbone) -> None:
    grid = net.schedule.grid(10)
    noise = [SeededNoise(torch.arange(1), seed) for seed in (0, 1)]
    a, b = (list(reverse(net, x_of(1), grid, t_boost=300, noise=n)) for n in noise)
    same = [torch.equal(s.x_next, r.x_next) for s, r in zip(a, b, strict=True)]
    assert same == [t >= 300 for t in reversed(grid)]
    at = grid[3]  # a step at t_boost itself is deterministic
    edit = Edit(shift(), t_boost=at)
    for more in ({"t_boost": at}, {"edit": edit}):
        a, b = (list(reverse(net, x_of(1), grid, noise=n, **more)) for n in noise)
        same = [torch.equal(s.x_next, r.x_next) for s, r in zip(a, b, strict=True)]
        assert same == [t >= at for t in reversed(grid)]
    with pytest.raises(HslError, match="stochastic"):
        last(reverse(net, x_of(1), grid, t_boost=300))


def test_batches_do_not_matter(net: Backbone) -> None:
    """Neither the size nor the order of a batch: noise belongs to an image and a step."""
    grid, x, index = net.schedule.grid(6), x_of(5), torch.tensor([7, 0, 3, 11, 2])
    edit = Edit(shift(), 0.7, t_edit=400, t_boost=300)
    whole = last(reverse(net, x, grid, edit, noise=SeededNoise(index)))
    order = torch.tensor([4, 1, 0, 3, 2])
    parts = [
        last(reverse(net, x[rows], grid, edit, noise=SeededNoise(index[rows])))
        for rows in order.split([2, 3])
    ]
    assert torch.allclose(torch.cat(parts), whole[order], atol=1e-4)


def test_strengths_run_as_one_batch(net: Backbone) -> None:
    grid, x = net.schedule.grid(5), x_of(2)
    strengths = torch.tensor([-1.0, 0.5]).repeat_interleave(2)
    batch = last(reverse(net, x.repeat(2, 1, 1, 1), grid, Edit(shift(), strengths)))
    single = [last(reverse(net, x, grid, Edit(shift(), s))) for s in (-1.0, 0.5)]
    assert torch.allclose(batch, torch.cat(single), atol=1e-4)


def test_replaced_puts_the_direction_in_place_of_h(net: Backbone) -> None:
    grid = [500]
    direction, x = shift(), x_of(1)
    step = next(reverse(net, x, grid, Edit(direction, injection="replaced")))
    expected = net.decode(step.b._replace(h=direction.delta[None]))
    assert torch.allclose(step.eps, expected, atol=1e-5)


def test_training_gradient_reaches_the_direction_alone(net: Backbone) -> None:
    torch.manual_seed(0)
    f = ImplicitFunction.for_backbone(net)
    steps = reverse(net, x_of(2), net.schedule.grid(4), Edit(f))
    for step in steps:
        step.p.square().mean().backward()
        assert not step.x_next.requires_grad
    assert all(p.grad is not None for p in f.parameters())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("grid", [[], [5, 3], [-1, 4], [0, 1000]])
def test_bad_grids_are_refused(net: Backbone, grid: list[int]) -> None:
    with pytest.raises(HslError):
        last(reverse(net, x_of(1), grid))


def test_bad_edits_are_refused() -> None:
    for wrong in ({"t_edit": -1}, {"t_edit": 500, "t_start": 400}, {"injection": "sideways"}):
        with pytest.raises(HslError):
            Edit(shift(), **wrong)


@torch.no_grad()
def test_the_papers_inversion_takes_eps_at_the_lower_timestep(net: Backbone) -> None:
    """DDIM's ODE, Euler steps upwards; the first at the clean image."""
    x, grid, alpha_bar = x_of(2) * 0.5, net.schedule.grid(4), net.schedule.alpha_bar
    for step, (t, up) in zip(invert(net, x, grid), pairwise(grid), strict=True):
        eps = net.unet(x, t).sample
        p = (x - (1 - alpha_bar(t)) ** 0.5 * eps) / alpha_bar(t) ** 0.5
        x = alpha_bar(up) ** 0.5 * p + (1 - alpha_bar(up)) ** 0.5 * eps
        assert (step.t, step.t_next) == (t, up)
        assert torch.allclose(step.x_next, x, atol=1e-4)
        upper = net.unet(step.x, up).sample
        assert not torch.allclose(step.eps, upper, atol=1e-2)


def test_a_refined_inversion_is_the_reverse_process_backwards(net: Backbone) -> None:
    """Up to grid[0], where the clean image stands in for x: that step alone is left."""
    x_0, grid = x_of(2) * 0.5, net.schedule.grid(60)
    errors = []
    for refine in (0, 1, 3, 9):
        x_T = last(invert(net, x_0, grid, refine))
        with torch.no_grad():
            *_, step = reverse(net, x_T, grid)
        errors.append(float((step.x - x_0).norm() / x_0.norm()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.01 * errors[0]
    with pytest.raises(HslError):
        last(invert(net, x_0, grid, -1))


# Content injection, and the other options of an edit


def test_slerp_turns_h_and_keeps_its_length() -> None:
    g = torch.Generator().manual_seed(0)
    h, other = (torch.randn(2, 8, 4, 4, generator=g) for _ in range(2))
    norm = h.flatten(1).norm(dim=1)

    def angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1).acos()

    whole = slerp(h, 5 * other, torch.tensor(1.0), rescale=False)
    assert torch.allclose(whole, 5 * other, atol=1e-4)  # as long as it is
    for share in (0.0, 0.3, 1.0):
        turned = slerp(h, 5 * other, torch.tensor(share))
        assert torch.allclose(turned.flatten(1).norm(dim=1), norm, rtol=1e-5)
        expected = (1 - share) * angle(h, other)
        assert torch.allclose(angle(turned, other), expected, atol=1e-3)
    assert slerp(h, -h, torch.tensor(0.3)).isfinite().all()
    assert torch.allclose(slerp(h, 2 * h, torch.tensor(0.3)), h, atol=1e-5)


def test_content_of_an_image_is_injected(net: Backbone) -> None:
    """Share 0 changes nothing; share 1 puts the content's h, at the length of h, into P_t alone."""
    grid, content = net.schedule.grid(5), h_along(net, x_of(1, seed=8), net.schedule.grid(5))
    assert content.timesteps == grid[:-1]
    plain = last(reverse(net, x_of(2), grid))
    still = last(reverse(net, x_of(2), grid, Edit(content, 0.0, injection="slerp")))
    assert torch.allclose(still, plain, atol=1e-4)
    step = next(reverse(net, x_of(2), grid[:2], Edit(content, 1.0, injection="slerp")))
    c = content.delta[1]
    h = c * step.b.h.flatten(1).norm(dim=1)[:, None, None, None] / c.norm()
    p = predicted_x_0(step.x, net.decode(step.b._replace(h=h)), net.schedule.alpha_bar(step.t))
    assert torch.allclose(step.p, p, atol=1e-4)
    assert torch.equal(step.eps, net.decode(step.b))


@pytest.mark.parametrize("injection", INJECTIONS)
def test_outside_a_mask_h_is_what_it_was(net: Backbone, injection: Injection) -> None:
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1:3, 2] = True
    edit = Edit(shift(), 0.5, injection=injection, mask=mask)
    b = net.encode(x_of(2), 500)
    h = edit.h(b, x_of(2), 500)
    assert torch.allclose(h[..., ~mask], b.h[..., ~mask], atol=1e-6)
    assert (h - b.h)[..., mask].abs().amin() > 0
    everywhere = Edit(shift(), 0.5, injection=injection, mask=torch.ones_like(mask))
    whole = Edit(shift(), 0.5, injection=injection).h(b, x_of(2), 500)
    assert torch.allclose(everywhere.h(b, x_of(2), 500), whole, atol=1e-6)


def test_dt_lambda_scales_the_direction_of_the_first_steps(net: Backbone) -> None:
    grid = net.schedule.grid(5)
    edit = Edit(shift(), dt_lambda=0.9, dt_end=700)
    for step in reverse(net, x_of(1), grid, edit):
        a = net.schedule.alpha_bar(step.t_next)
        factor = 0.9 if step.t >= 700 else 1.0
        expected = a**0.5 * step.p + factor * (1 - a) ** 0.5 * step.eps
        assert torch.allclose(step.x_next, expected, atol=1e-5)


def test_mean_delta_h_is_a_mean_over_images_along_their_edits(net: Backbone) -> None:
    torch.manual_seed(0)
    grid, x = net.schedule.grid(6), x_of(3)
    edit = Edit(ImplicitFunction.for_backbone(net), 0.7, t_edit=300, t_start=900)
    found = mean_delta_h(net, x, grid, edit, batch=2)
    assert found.timesteps == [399, 599, 799]
    rows = [
        edit.direction(s.b, s.x, s.t).mean(0) for s in reverse(net, x, grid, edit) if edit.acts(s.t)
    ]
    assert torch.allclose(found.delta, torch.stack(rows[::-1]), atol=1e-5)
    one = mean_delta_h(net, x, grid, edit, per_timestep=False)
    assert torch.allclose(one.delta, found.delta.mean(0), atol=1e-6)
    moved = last(reverse(net, x, grid, replace(edit, direction=one)))
    assert not torch.allclose(moved, last(reverse(net, x, grid)), atol=1e-3)


def test_what_has_no_mean_or_content_is_refused(net: Backbone) -> None:
    with pytest.raises(HslError, match="0 edited timesteps"):
        mean_delta_h(net, x_of(1), [0, 100], Edit(shift(), t_edit=500))
    with pytest.raises(HslError, match="0 images"):
        mean_delta_h(net, x_of(0), [0, 100], Edit(shift()))
    with pytest.raises(HslError, match="one image"):
        h_along(net, x_of(2), [0, 100])
    eps = Shift(x_of(1)[0], space="eps")
    for wrong in (
        {"direction": eps, "injection": "slerp"},
        {"direction": eps, "h_factor": 0.5},
        {"direction": eps, "mask": torch.ones(4, 4, dtype=torch.bool)},
        {"injection": "slerp", "h_factor": 0.5},
    ):
        with pytest.raises(HslError):
            Edit(**({"direction": shift()} | wrong))


def test_noise_is_an_images_own_and_a_seeds() -> None:
    like = torch.zeros(2, 3, 2, 2)
    for draw in (lambda noise: noise(500, like), lambda noise: noise.x_T(like)):
        first, second = draw(SeededNoise(torch.tensor([4, 9])))
        assert not torch.equal(first, second)
        swapped = draw(SeededNoise(torch.tensor([9, 4])))
        assert torch.equal(swapped, torch.stack([second, first]))
        other = draw(SeededNoise(torch.tensor([4, 9]), seed=1))
        assert not torch.equal(other[0], first) and not torch.equal(other[0], second)


def test_noise_is_what_it_was() -> None:
    """Published figures and cached latents stand on these numbers."""
    noise, like = SeededNoise(torch.tensor([5, 70000]), seed=3), torch.zeros(2, 3)
    step = [[0.1255956, 1.5080113, 0.6065760], [-0.7505121, -0.6659457, -1.8709259]]
    start = [[-1.0503261, -1.7532748, -0.3974279], [0.9364876, 0.0835067, 0.0933083]]
    assert torch.allclose(noise(10, like), torch.tensor(step), atol=1e-6)
    assert torch.allclose(noise.x_T(like), torch.tensor(start), atol=1e-6)


def test_no_step_draws_the_noise_that_a_sample_begins_with() -> None:
    """Also of schedules of more than 1000 steps."""
    noise, like = SeededNoise(torch.tensor([7])), torch.zeros(1, 3, 2, 2)
    drawn = [noise(t, like) for t in range(-1, 1100)] + [noise.x_T(like)]
    assert len({tuple(z.flatten().tolist()) for z in drawn}) == len(drawn)
