"""The dual of the support vector machine by an interior-point method: near the optimum in 10 to 30
steps, whatever the conditioning. On features of few dimensions a step costs n r^2 (Ferris & Munson
2003), else n^3.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.solvers.dual import Box

Solve = Callable[[Tensor], Tensor]
#: The most dimensions that count as few, and the columns that are looked at first.
RANK, _FIRST = 640, 48
#: Levels of the mean product of distances and multipliers at which it may show which are free.
_GOALS = (1e-4, 1e-6, 1e-8, 1e-10)


def factor(gram: Tensor) -> Tensor | None:
    """Z ``[n, r]`` with Z Z' = K, from some of its columns; None if r is above n / 3 or 640."""
    n, size = len(gram), _FIRST
    most = min(RANK, n // 3)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(gram.device)
    trace = gram.trace()
    while size <= most:
        columns = order[:size].sort().values
        rows = gram[columns]
        values, vectors = torch.linalg.eigh(rows[:, columns])
        large = values > 1e-11 * values[-1]
        z = (vectors[:, large] / values[large].sqrt()).mT @ rows
        left = float(1 - z.square().sum() / trace)
        if left <= 1e-10:
            return z.mT.contiguous()
        # a further column explains hardly more of the rest than one of these did of the whole
        if int(large.sum()) < size or left > 1 - 0.8 * size / most or size == most:
            return None
        size = min(2 * size, most)
    return None


def interior(
    gram: Tensor, z: Tensor | None, y: Tensor, box: Box, most: int = 60
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """By Mehrotra's predictor and corrector (1992).

    Args:
        gram: ``[n, n]``.
        z: `factor` of it, if there is one.
        y: labels ``[n]``.
        box: bounds ``[n]``, low < high.
        most: steps.

    Yields:
        Multipliers ``[n]``, inside the box; which are free at the optimum, and which are at their
        upper bound, as far as can be seen: at each of `_GOALS`, and in the end.
    """

    def times(c: Tensor) -> Tensor:
        return gram @ c if z is None else z @ (z.mT @ c)

    c = box.feasible(box.low + 0.5 * (box.high - box.low))
    bend = float(c @ times(c))
    # the lowest point of the objective on the line from 0 through c: t = y'c / c'Kc
    c = c * (min(1.0, max(float(y @ c) / bend, 1e-12)) if bend > 0 else 1.0)
    g = times(c) - y
    at = _Iterate(c, y.new_zeros(()), c - box.low, box.high - c, g.clamp(min=0) + 1,
                  (-g).clamp(min=0) + 1)  # fmt: skip
    goals = list(_GOALS)
    for _ in range(most):
        off = at.lower - at.upper - at.b - g
        near = max(float(at.mean) / float(at.c.abs().max()), float(off.abs().max()))
        while goals and near < goals[0]:
            yield at.places()
            goals = [goal for goal in goals if goal <= near]
        if not goals:
            return
        solve = _solver(gram, z, at.lower / at.room + at.upper / at.left)
        if solve is None:
            break
        ones, low, high = solve(torch.ones_like(c)), -at.room * at.lower, -at.left * at.upper
        ahead = at.direction(solve, ones, off, low, high)
        aim = at.mean * (at.moved(ahead, at.reach(ahead)).mean / at.mean) ** 3
        low = low + aim - ahead.c * ahead.lower
        high = high + aim - ahead.left * ahead.upper
        move = at.direction(solve, ones, off, low, high)
        at = at.moved(move, min(1.0, 0.995 * at.reach(move)))
        g = times(at.c) - y
    yield at.places()


class _Iterate(NamedTuple):
    """c, its distances to both bounds, and their multipliers ``[n]``, all above 0; or how these
    move."""

    c: Tensor
    b: Tensor
    room: Tensor
    left: Tensor
    lower: Tensor
    upper: Tensor

    @property
    def mean(self) -> Tensor:
        """Of the products of distances and multipliers: 0 at the optimum."""
        return (self.room @ self.lower + self.left @ self.upper) / (2 * len(self.c))

    def direction(
        self, solve: Solve, ones: Tensor, off: Tensor, low: Tensor, high: Tensor
    ) -> "_Iterate":
        """Newton's: takes ``off`` from the gradient's condition, brings the products of the lower
        and the upper bound to ``low`` and ``high`` more, and the sum of c to 0. ``ones``: what
        ``solve`` makes of 1."""
        right = solve(off + low / self.room - high / self.left)
        b = (right.sum() + self.c.sum()) / ones.sum()
        c = right - b * ones
        lower, upper = (low - self.lower * c) / self.room, (high + self.upper * c) / self.left
        return _Iterate(c, b, c, -c, lower, upper)

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """c, which are free, and which at the upper bound: the larger of distance and multiplier
        tells, in their own units."""
        size = self.c.abs().max()
        top = self.left <= size * self.upper
        return self.c, (self.room > size * self.lower) & ~top, top

    def reach(self, move: "_Iterate") -> float:
        """How far all distances and multipliers stay above 0; at most 1.01."""
        pairs = zip(self[2:], move[2:], strict=True)
        ends = [torch.where(step < 0, value / -step, torch.inf).min() for value, step in pairs]
        return min(1.01, float(torch.stack(ends).min()))

    def moved(self, move: "_Iterate", t: float) -> "_Iterate":
        """Further by t."""
        return _Iterate(*(value + t * step for value, step in zip(self, move, strict=True)))


def _solver(gram: Tensor, z: Tensor | None, diagonal: Tensor) -> Solve | None:
    """Solves (K + diag) x = r for vectors; None where rounding has made it not positive."""
    if z is None:
        matrix = gram.clone()
        matrix.diagonal().add_(diagonal)
        dense, failed = torch.linalg.cholesky_ex(matrix)
        return None if int(failed) else lambda r: torch.cholesky_solve(r[:, None], dense)[:, 0]
    scaled = z / diagonal[:, None]
    inner = z.mT @ scaled
    inner.diagonal().add_(1)
    small, failed = torch.linalg.cholesky_ex(inner)

    def solve(r: Tensor) -> Tensor:
        u = r / diagonal
        return u - scaled @ torch.cholesky_solve((z.mT @ u)[:, None], small)[:, 0]

    return None if int(failed) else solve
