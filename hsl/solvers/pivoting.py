"""The dual of the support vector machine to rounding error, from a point near its optimum."""

import torch
from torch import Tensor

from hsl.solvers.base import bordered
from hsl.solvers.dual import INF, Box, movable, times, tolerance

_PATIENCE, _MOST, _FREED = 6, 60, 256


def pivot(gram: Tensor, y: Tensor, box: Box, c: Tensor, free: Tensor, top: Tensor) -> Tensor | None:
    """The optimum ``[n]`` by block pivoting (Kim & Park 2011): multipliers that are ``free [n]``
    solve their equations, those at the ``top [n]`` and at the bottom stay; all that are wrong
    change places at once. None where that does not end.

    What is free moves from ``c [n]``, near the optimum, no further than its equations say: where
    images repeat they have more than one solution.
    """
    fixed = box.low == box.high
    added = 1e-12 * gram.diagonal().mean()
    # what is off a bound by rounding alone is at the bound
    edge = 1e-13 * (box.high - box.low)
    below, above = free & (c - box.low <= edge), free & (box.high - c <= edge)
    free, top = free & ~below & ~above, top | above
    least, patience = len(y) + 1, _PATIENCE
    at, g = torch.zeros_like(c), -y  # a point, and its gradient
    for _ in range(_MOST):
        c = torch.where(top, box.high, box.low).where(~free, c)
        g = g + times(gram, c - at)
        index = free.nonzero()[:, 0]
        if len(index):
            solution = _free(gram[index[:, None], index], -g[index], -c.sum(), added)
            if solution is None:
                return None
            move, b = torch.zeros_like(c), solution[1]
            move[index] = solution[0]
            c, g = c + move, g + times(gram, move)
        else:
            rise, fall = movable(g, c, box)
            b = -0.5 * (rise.min() + fall.max())
            if abs(float(c.sum())) > 1e-12 * float(c.abs().max()):
                return None
        slack, allowed = g + b, tolerance(gram, c)
        under, over = free & (c < box.low), free & (c > box.high)
        off = torch.where(top, slack, -slack).where(~free & ~fixed, 0)
        off = off.where(off > allowed, 0)
        wrong = int(under.sum() + over.sum() + (off > 0).sum())
        if wrong == 0:
            return c if _solves(gram, y, c, b, index, allowed) else None
        patience = _PATIENCE if wrong < least else patience - 1
        least = min(least, wrong)
        if patience == 0:
            return None
        freed = _freed(off, free)
        free, top, at = (free & ~under & ~over) | freed, (top & ~freed) | over, c
    return None


def _solves(gram: Tensor, y: Tensor, c: Tensor, b: Tensor, index: Tensor, allowed: float) -> bool:
    """Whether the free multipliers, those of ``index``, solve their equations: by a gradient that
    is computed anew, not summed up over the steps."""
    slack = times(gram, c) - y + b
    return not len(index) or float(slack[index].abs().max()) <= 10 * allowed


def _freed(off: Tensor, free: Tensor) -> Tensor:
    """Which multipliers ``[n]`` at a bound to set free: of those with ``off [n]`` above 0 the
    worst. A bad start has too many of them: more free multipliers than the rank of the Gram matrix
    have no solution."""
    worst = off.topk(min(len(off), max(_FREED, int(free.sum()) // 2)))
    freed = torch.zeros_like(free)
    freed[worst.indices] = worst.values > 0
    return freed


def active_set(gram: Tensor, y: Tensor, box: Box, c: Tensor, most: int) -> Tensor:
    """Towards the optimum ``[n]`` from a feasible start, never upwards: Newton's step on the free
    multipliers, as far as the box lets it go; what meets a bound stays there; of what violates
    its condition at a bound the worst is freed. At most ``most`` steps."""
    c = c.clone()
    free, may_move = box.inside(c), box.low < box.high
    added = 1e-12 * gram.diagonal().mean()
    for _ in range(most):
        g = times(gram, c) - y
        allowed = tolerance(gram, c)
        rise, fall = movable(g, c, box)
        b = -g[free].mean() if bool(free.any()) else -0.5 * (fall.max() + rise.min())
        slack = g + b
        if bool((slack[free].abs() > allowed).any()):
            if not _advance(gram, slack, free, box, c, added):
                break
            continue
        low, high = c <= box.low, c > box.low
        off = torch.where(low, -slack, slack)
        wrong = ~free & may_move & (off > 2 * allowed)
        if not bool(wrong.any()):
            break
        for side in (low & wrong, high & wrong):
            if bool(side.any()):
                free[torch.where(side, off, -1).argmax()] = True
    return c


def _free(
    matrix: Tensor, right: Tensor, total: Tensor, added: Tensor
) -> tuple[Tensor, Tensor] | None:
    """C and b with K c + b = right and sum c = total. As the sum is given, the same constant added
    to all of K moves b alone; it makes K positive wherever that has one solution."""
    mean = matrix.diagonal().mean()
    matrix = matrix + mean
    for more in (1.0, 1e3, 1e6):
        shifted = matrix.clone()
        shifted.diagonal().add_(more * added)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if not int(failed):
            break
    else:
        return None
    ones = torch.cholesky_solve(torch.ones_like(right)[:, None], factor)[:, 0]
    c, b = torch.zeros_like(right), right.new_zeros(())
    for _ in range(3):
        left, missing = right - matrix @ c - b, total - c.sum()
        step = torch.cholesky_solve(left[:, None], factor)[:, 0]
        turn = (step.sum() - missing) / ones.sum()
        c, b = c + step - turn * ones, b + turn
    return c, b + mean * total


def _advance(gram: Tensor, slack: Tensor, free: Tensor, box: Box, c: Tensor, added: Tensor) -> bool:
    """One step on the free multipliers, in place; those that meet a bound are free no more. False
    where there is none to take."""
    index = free.nonzero()[:, 0]
    matrix = bordered(gram[index[:, None], index])
    matrix.diagonal()[:-1].add_(added)
    right = torch.cat([-slack[index], -c.sum()[None]])
    move = torch.linalg.solve_ex(matrix, right)[0][:-1]
    if not bool(move.isfinite().all()):
        return False
    end = torch.where(move > 0, box.high[index], box.low[index])
    room = torch.where(move == 0, INF, (end - c[index]) / move)
    step = room.min().clamp(max=1.0)
    hit = room <= step
    c[index] = torch.where(hit, end, c[index] + step * move)
    free[index[hit]] = False
    return True
