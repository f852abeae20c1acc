"""The dual of the support vector machine.

In signed multipliers c_i = alpha_i y_i: minimise 1/2 c'Kc - y'c with sum c = 0 and c between
low and high, which are 0 and y_i C_i in their order. Gradient g = Kc - y; at the optimum, for
some b, g_i + b = 0 where low < c_i < high, >= 0 where c_i = low, <= 0 where c_i = high. The gap is
by how much a pair of them contradicts each other.
"""

from typing import NamedTuple

import torch
from torch import Tensor

INF = float("inf")


class Box(NamedTuple):
    """Bounds ``[..., n]`` of the signed multipliers."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, labels: Tensor, limits: Tensor) -> "Box":
        """For labels in {+1, -1} and limits C_i."""
        signed = labels * limits
        return cls(signed.clamp(max=0), signed.clamp(min=0))

    def at(self, index: Tensor) -> "Box":
        """The bounds of some."""
        return Box(self.low[index], self.high[index])

    def inside(self, c: Tensor) -> Tensor:
        """Which of ``c [n]`` are free, at neither bound."""
        return (c > self.low) & (c < self.high)

    def feasible(self, c: Tensor) -> Tensor:
        """``c [..., n]`` moved into the box and onto sum 0: the heavier side is scaled down."""
        c = torch.minimum(torch.maximum(c, self.low), self.high)
        positive, negative = c.clamp(min=0).sum(-1, True), -c.clamp(max=0).sum(-1, True)
        common = torch.minimum(positive, negative)
        tiny = torch.finfo(c.dtype).tiny
        return c * torch.where(c > 0, common / (positive + tiny), common / (negative + tiny))

    def settled(self, c: Tensor, free: Tensor, top: Tensor) -> Tensor:
        """``c [n]`` with the multipliers that are not ``free [n]`` moved to a bound: those of ``top
        [n]`` to the upper one, the others to the lower one. The free ones make up for the change
        of the sum, as far as they can."""
        c = torch.where(top, self.high, self.low).where(~free, c)
        index = free.nonzero()[:, 0]
        if len(index):
            c[index] = self.at(index).nearest(c[index], c[index].sum() - c.sum())
        return self.feasible(c) if float(c.sum().abs()) > 1e-9 * float(c.abs().max()) else c

    def nearest(self, v: Tensor, total: Tensor) -> Tensor:
        """The point of the box with that sum that is nearest to ``v [n]``: v + m, cut to the box.
        The sum of that is piecewise linear in m."""
        ends = torch.cat([self.low - v, self.high - v])
        order = ends.argsort()
        slopes = torch.ones_like(ends)
        slopes[len(v) :] = -1
        slope, at = slopes[order].cumsum(0), ends[order]
        rises = (slope[:-1] * at.diff()).cumsum(0)
        sums = self.low.sum() + torch.cat([rises.new_zeros(1), rises])
        k = (torch.searchsorted(sums, total[None], right=True)[0] - 1).clamp(0, len(at) - 1)
        m = at[k] + torch.where(slope[k] > 0.5, (total - sums[k]) / slope[k].clamp(min=1), 0)
        return torch.minimum(torch.maximum(v + m, self.low), self.high)


class Point(NamedTuple):
    """Multipliers ``[n]``, intercept, and the gap: by how much the conditions of the optimum are
    missed."""

    c: Tensor
    b: Tensor
    gap: float


def movable(g: Tensor, c: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """The gradient ``[n]`` of those that may rise, infinite of the others; and of those that may
    fall, minus infinite of the others."""
    return torch.where(c < box.high, g, INF), torch.where(c > box.low, g, -INF)


def times(gram: Tensor, c: Tensor) -> Tensor:
    """K c ``[n]``. Where most of c is 0, as of images that no margin touches, only the rows of the
    others are read."""
    nonzero = c.nonzero()[:, 0]
    return gram @ c if 4 * len(nonzero) > len(c) else c[nonzero] @ gram[nonzero]


def tolerance(gram: Tensor, c: Tensor) -> float:
    """What rounding leaves of a gap: the error of Kc, which is a sum of products of at most
    |h_i| |h_j| |c_j|."""
    lengths = gram.diagonal().clamp(min=0).sqrt()
    return max(1e-11, 1e-13 * float(lengths.max() * (lengths @ c.abs())))


def point(gram: Tensor, y: Tensor, box: Box, c: Tensor) -> Point:
    """``c`` with its intercept: that of the free ones; where none is free, the middle of the
    interval that the conditions leave (as LIBSVM does)."""
    g = times(gram, c) - y
    rise, fall = movable(g, c, box)
    lowest, highest = rise.min(), fall.max()
    free = box.inside(c)
    b = -g[free].mean() if bool(free.any()) else -0.5 * (lowest + highest)
    return Point(c, b, max(0.0, float(highest - lowest)))
