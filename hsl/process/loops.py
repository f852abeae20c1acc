"""The one reverse loop and the one inversion loop, as iterators of steps.

Notation of Kwon et al. 2023 (Asyrp), eq. 2: x_{t-1} = sqrt(a_{t-1}) P_t + D_t + sigma_t z_t, with
P_t = (x_t - sqrt(1 - a_t) eps) / sqrt(a_t), the predicted x_0, and
D_t = sqrt(1 - a_{t-1} - sigma_t^2) eps. sigma_t is eta times the standard deviation of the
posterior, sqrt((1 - a_{t-1}) / (1 - a_t)) sqrt(1 - a_t / a_{t-1}) (Song et al. 2021, eq. 16).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.backbones import Backbone, Bottleneck
from hsl.errors import HslError
from hsl.process.edit import Edit
from hsl.process.injection import inject
from hsl.process.noise import Noise


class Step(NamedTuple):
    """One step from ``t`` to ``t_next`` (-1 is the clean image).

    ``x [B, C, s, s]`` before it; ``b``: the unedited bottleneck; ``eps``: what D_t uses (P_t's
    own where an edited step has no D_t, as on the last step); ``p``: P_t, edited if the step is;
    ``x_next`` after it.
    """

    t: int
    t_next: int
    x: Tensor
    b: Bottleneck
    eps: Tensor
    p: Tensor
    x_next: Tensor


def predicted_x_0(x: Tensor, eps: Tensor, a: float) -> Tensor:
    """P_t from x_t ``[B, C, s, s]``, eps and alpha-bar_t (DDIM, Song et al. 2021, eq. 12)."""
    return (x - (1 - a) ** 0.5 * eps) / a**0.5


def eps_of(x: Tensor, p: Tensor, a: float) -> Tensor:
    """The eps that `predicted_x_0` makes ``p [B, C, s, s]`` of, at alpha-bar ``a`` below 1."""
    return (x - a**0.5 * p) / (1 - a) ** 0.5


def learned_sigma(v: Tensor, a: float, a_next: float) -> Tensor:
    """Standard deviation of an ancestral step, by a network that predicts its variance.

    log sigma^2 = u log beta + (1 - u) log beta~ with u = (v + 1) / 2: between the posterior's
    variance beta~ and beta itself, here of the step from ``a`` to ``a_next`` (Nichol & Dhariwal
    2021, eq. 15; Dhariwal & Nichol 2021).

    Args:
        v: the second half of the network's output, ``[B, C, s, s]``.
        a: alpha-bar before the step.
        a_next: alpha-bar after it, below 1.
    """
    beta = 1 - a / a_next
    posterior = beta * (1 - a_next) / (1 - a)
    u = (v + 1) / 2
    return torch.exp(0.5 * (u * math.log(beta) + (1 - u) * math.log(posterior)))


def invert(backbone: Backbone, x: Tensor, grid: Sequence[int], refine: int = 0) -> Iterator[Step]:
    """Deterministic DDIM inversion of x_0 ``[B, C, s, s]``, one step per pair of the grid:
    x_next = sqrt(a_next) P + sqrt(1 - a_next) eps, with P predicted from x and eps.

    The papers' inversion (``refine=0``: Asyrp, DiffusionCLIP, BoundaryDiffusion) takes eps at the
    lower timestep of each pair, beginning with the clean image as x at ``grid[0]``. The reverse
    process takes it at the upper one, and so does not quite lead back. With ``refine`` = n each
    step looks for the x_next from which the reverse process does lead back to x: by n fixed-point
    iterations that begin with the eps of the step before (cf. Pan et al. 2023, AIDI). Already
    n = 1 costs no more than the papers' inversion, one U-Net pass a step, and reconstructs far
    better.

    Args:
        backbone: the frozen denoiser.
        x: x_0, from ``backbone.x_0(image)``.
        grid: ascending timesteps; the last x_next is x_T at ``grid[-1]``.
        refine: fixed-point iterations a step. In its steps ``b`` and ``eps`` are then those at
            ``t_next``, and ``p`` is the P that the reverse process will see there.

    Raises:
        HslError: a grid that does not fit, or a negative ``refine``.
    """
    _check_grid(backbone, grid)
    if refine < 0:
        raise HslError(f"refine={refine}: want 0 or more iterations")
    b = backbone.encode(x, grid[0])
    eps = backbone.decode(b)
    for t, t_next in pairwise(grid):
        a, a_next = backbone.schedule.alpha_bar(t), backbone.schedule.alpha_bar(t_next)
        if refine == 0 and t != grid[0]:
            b = backbone.encode(x, t)
            eps = backbone.decode(b)
        p = predicted_x_0(x, eps, a)
        x_next = a_next**0.5 * p + (1 - a_next) ** 0.5 * eps
        for _ in range(refine):
            b = backbone.encode(x_next, t_next)
            eps = backbone.decode(b)
            p = predicted_x_0(x, eps, a)
            x_next = a_next**0.5 * p + (1 - a_next) ** 0.5 * eps
        yield Step(t, t_next, x, b, eps, p, x_next)
        x = x_next


def reverse(
    backbone: Backbone,
    x: Tensor,
    grid: Sequence[int],
    edit: Edit | None = None,
    eta: float | Sequence[float] = 0.0,
    t_boost: int = 0,
    noise: Noise | None = None,
    detach: bool = True,
    learned: bool = False,
    eps: Tensor | None = None,
) -> Iterator[Step]:
    """The reverse process from x_T ``[B, C, s, s]`` to the clean image, edited or not.

    Args:
        backbone: the frozen denoiser.
        x: x at ``grid[-1]``.
        grid: ascending timesteps; walked from the last to the first and then to -1.
        edit: what to put in, where (`Edit`); None samples or reconstructs.
        eta: share of the posterior's noise; 0 is DDIM, 1 is DDPM; or one per grid entry.
        t_boost: eta is 1 below it (the edit's own t_boost counts too).
        noise: gives z where eta > 0; required there.
        detach: stop gradients from one step to the next, as Asyrp's training does; False
            keeps the whole graph (DiffusionCLIP's).
        learned: of steps with eta = 1, scale the noise by the variance that the network predicts
            (`learned_sigma`), not by the posterior's; the mean is the same. An edited step takes
            it from the unedited bottleneck, by one more decode.
        eps: the unedited eps ``[B, C, s, s]`` at ``grid[-1]``, where it is known from elsewhere:
            saves an asymmetric edit's first step the decode of it.

    Raises:
        HslError: a grid or eta that does not fit, a stochastic step without ``noise``, or a
            variance to be learned where none is predicted.
    """
    _check_grid(backbone, grid)
    if learned and not backbone.learned_variance:
        raise HslError(f"{backbone.name} predicts no variance: leave learned out")
    t_boost = t_boost if edit is None else max(t_boost, edit.t_boost)
    for t, t_next, share in _downwards(grid, eta, t_boost):
        a, a_next = backbone.schedule.alpha_bar(t), backbone.schedule.alpha_bar(t_next)
        sigma = share * ((1 - a / a_next) * (1 - a_next) / (1 - a)) ** 0.5
        factor = edit.dt_lambda if edit is not None and t >= edit.dt_end else 1.0
        d = factor * (1 - a_next - sigma**2) ** 0.5
        b = backbone.encode(x, t)
        if edit is not None and edit.acts(t):
            known = eps if t == grid[-1] else None
            x, b, eps_d, eps_p = inject(backbone, x, b, t, edit, known, needs_d=d != 0)
            out = None
        else:
            out = backbone.output(b)
            eps_d = eps_p = out[:, : backbone.channels]
        p = predicted_x_0(x, eps_p, a)
        x_next = a_next**0.5 * p + d * eps_d
        if sigma > 0:
            if noise is None:
                raise HslError(f"t={t} is stochastic (eta or t_boost): give a noise")
            spread = _net_sigma(backbone, b, out, a, a_next) if learned and share == 1 else sigma
            x_next = x_next + spread * noise(t, x)
        if detach:
            x_next = x_next.detach()
        yield Step(t, t_next, x, b, eps_d, p, x_next)
        x = x_next


def _downwards(
    grid: Sequence[int], eta: float | Sequence[float], t_boost: int
) -> Iterator[tuple[int, int, float]]:
    """From the last timestep to the first: each with the one after it, in the end -1, and with its
    share of the posterior's noise, which is 1 below ``t_boost``."""
    etas = [float(eta)] * len(grid) if isinstance(eta, int | float) else [float(e) for e in eta]
    if not all(0 <= e <= 1 for e in etas):
        raise HslError(f"eta={eta}: want values in [0, 1]")
    if len(etas) != len(grid):
        raise HslError(f"{len(etas)} values of eta for {len(grid)} timesteps")
    steps = zip(grid, [-1, *grid[:-1]], etas, strict=True)
    for t, t_next, share in reversed(list(steps)):
        yield t, t_next, 1.0 if t < t_boost else share


def _net_sigma(
    backbone: Backbone, b: Bottleneck, out: Tensor | None, a: float, a_next: float
) -> Tensor:
    """`learned_sigma` by the network's output for the unedited ``b``: ``out``, where it is known,
    else by one more decode."""
    out = backbone.output(b) if out is None else out
    return learned_sigma(out[:, backbone.channels :], a, a_next)


def last(steps: Iterable[Step]) -> Tensor:
    """Run an iterator of steps to its end without gradients: the last x_next.

    Raises:
        HslError: there is no step.
    """
    x = None
    with torch.no_grad():
        for step in steps:
            x = step.x_next
    if x is None:
        raise HslError("no steps: the grid is empty")
    return x


def _check_grid(backbone: Backbone, grid: Sequence[int]) -> None:
    ascending = all(t < u for t, u in pairwise(grid))
    if not grid or not ascending or grid[0] < 0 or grid[-1] >= len(backbone.schedule):
        raise HslError(f"want ascending timesteps in [0, {len(backbone.schedule) - 1}]: {grid}")
