"""The dual of the support vector machine, where the closed form does not hold.

In signed multipliers c_i = alpha_i y_i: minimise 1/2 c'Kc - y'c with sum c = 0 and c between
low and high, which are 0 and y_i C_i in their order. Gradient g = Kc - y; at the optimum, for
some b, g_i + b = 0 where low < c_i < high, >= 0 where c_i = low, <= 0 where c_i = high.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.solvers.base import bordered

_INF = float("inf")


class Box(NamedTuple):
    """Bounds ``[..., n]`` of the signed multipliers."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, labels: Tensor, limits: Tensor) -> "Box":
        """For labels in {+1, -1} and limits C_i."""
        signed = labels * limits
        return cls(signed.clamp(max=0), signed.clamp(min=0))

    def feasible(self, c: Tensor) -> Tensor:
        """``c [..., n]`` moved into the box and onto sum 0: the heavier side is scaled down."""
        c = torch.minimum(torch.maximum(c, self.low), self.high)
        positive, negative = c.clamp(min=0).sum(-1, True), -c.clamp(max=0).sum(-1, True)
        common = torch.minimum(positive, negative)
        tiny = torch.finfo(c.dtype).tiny
        return c * torch.where(c > 0, common / (positive + tiny), common / (negative + tiny))


def smo(gram: Tensor, labels: Tensor, box: Box, c: Tensor, gap: float, steps: int) -> Tensor:
    """Sequential minimal optimisation with second-order working sets (Fan, Chen & Lin 2005), all
    A problems side by side.

    Args:
        gram: ``[n, n]``.
        labels: ``[A, n]``.
        box: bounds ``[A, n]``.
        c: a feasible start ``[A, n]``.
        gap: stop where no pair violates the optimality conditions by more.
        steps: at most.

    Returns:
        Feasible multipliers ``[A, n]``, near the optimum.
    """
    c, gradient, diagonal = c.clone(), c @ gram - labels, gram.diagonal()
    floor = 1e-12 * diagonal.mean()
    every = torch.arange(len(c), device=c.device)
    for step in range(steps):
        best, i = torch.where(c < box.high, gradient, _INF).min(1)
        excess = torch.where(c > box.low, gradient, -_INF) - best[:, None]
        # a look at the values makes a GPU wait: not at every step
        if step % 32 == 0 and bool((excess.amax(1) <= gap).all()):
            break
        curvature = (diagonal[i, None] + diagonal - 2 * gram[i]).clamp(min=floor)
        j = torch.where(excess > 0, excess**2 / curvature, -1).argmax(1)
        c_i, c_j = c[every, i], c[every, j]
        end_i, end_j = box.high[every, i], box.low[every, j]
        move = excess[every, j].clamp(min=0) / curvature[every, j]
        move = torch.minimum(move, torch.minimum(end_i - c_i, c_j - end_j))
        # set to the bound, not moved to it: rounding would leave them near it
        c[every, i] = torch.where(move == end_i - c_i, end_i, c_i + move)
        c[every, j] = torch.where(move == c_j - end_j, end_j, c_j - move)
        gradient += move[:, None] * (gram[i] - gram[j])
    return c


def active_set(gram: Tensor, y: Tensor, box: Box, c: Tensor) -> tuple[Tensor, Tensor]:
    """The exact optimum of one problem, from a feasible start near it.

    A primal active-set method: Newton's step on the free multipliers, as far as the box lets it
    go; what meets a bound stays there; what violates its condition at a bound is freed.

    Args:
        gram: ``[n, n]``.
        y: labels ``[n]``.
        box: bounds ``[n]``.
        c: a feasible start ``[n]``.

    Returns:
        c ``[n]`` and the intercept: that of the free ones; where none is free, the middle of the
        interval that the conditions leave (as LIBSVM does).

    Raises:
        HslError: no convergence.
    """
    c = c.clone()
    free, movable = (c > box.low) & (c < box.high), box.low < box.high
    # keeps the system solvable if images repeat; the next step corrects what it spoils
    jitter = 1e-12 * gram.diagonal().mean()
    for _ in range(10 * len(y) + 100):
        gradient = gram @ c - y
        tolerance = max(1e-11, 1e-13 * float((gram.abs() @ c.abs()).max()))
        b = intercept(gradient, free, box, c)
        slack = gradient + b
        if bool((slack[free].abs() > tolerance).any()):
            _advance(gram, slack, free, box, c, jitter)
            continue
        at_low, at_high = c <= box.low, c > box.low
        violation = torch.where(at_low, -slack, slack)
        wrong = ~free & movable & (violation > 2 * tolerance)
        if not bool(wrong.any()):
            return c, b
        for side in (at_low & wrong, at_high & wrong):
            if bool(side.any()):
                free[torch.where(side, violation, -1).argmax()] = True
    raise HslError("SVM: no convergence; give a smaller C")


def intercept(gradient: Tensor, free: Tensor, box: Box, c: Tensor) -> Tensor:
    """b, from the free multipliers; if there are none, the middle of where it may be."""
    if bool(free.any()):
        return -gradient[free].mean()
    highest = torch.where(c > box.low, gradient, -_INF).max()
    return -0.5 * (highest + torch.where(c < box.high, gradient, _INF).min())


def _advance(
    gram: Tensor, slack: Tensor, free: Tensor, box: Box, c: Tensor, jitter: Tensor
) -> None:
    """One step on the free multipliers, in place; those that meet a bound are free no more."""
    index = free.nonzero()[:, 0]
    matrix = bordered(gram[index][:, index])
    matrix.diagonal()[:-1].add_(jitter)
    right = torch.cat([-slack[index], -c.sum()[None]])
    move = torch.linalg.solve(matrix, right)[:-1]
    end = torch.where(move > 0, box.high[index], box.low[index])
    room = torch.where(move == 0, _INF, (end - c[index]) / move)
    step = room.min().clamp(max=1.0)
    hit = room <= step
    c[index] = torch.where(hit, end, c[index] + step * move)
    free[index[hit]] = False
