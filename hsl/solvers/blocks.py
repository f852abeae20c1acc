"""The dual of the support vector machine by blocks of its worst multipliers: towards the optimum.

A block holds, of the multipliers that may rise, those of the lowest gradient, and, of those that
may fall, those of the highest (Joachims 1999). It is solved by projected Newton steps (Bertsekas
1982).
"""

import torch
from torch import Tensor

from hsl.solvers.dual import Box, movable, times

#: Multipliers of a block, half of them such as may rise.
_BLOCK = 128
_STEPS = 3  # on one block; the gap falls to a third, or these are taken


def descend(
    gram: Tensor, y: Tensor, box: Box, c: Tensor, gap: float, blocks: int
) -> tuple[Tensor, bool]:
    """Multipliers ``[n]`` whose gap is at most ``gap``, from a feasible start by at most ``blocks``
    blocks; and whether that gap was reached: on ill-conditioned features blocks do little.

    Args:
        gram: ``[n, n]``.
        y: labels ``[n]``.
        box: bounds ``[n]``.
        c: a feasible start ``[n]``.
        gap: of the gradient, the margin being 1.
        blocks: at most.
    """
    c, g = c.clone(), times(gram, c) - y
    span, floor = box.high.max() - box.low.min(), 1e-12 * gram.diagonal().mean()
    half = min(_BLOCK // 2, len(y))
    for _ in range(blocks):
        rise, fall = movable(g, c, box)
        lowest = rise.topk(half, largest=False)
        highest = fall.topk(half)
        now = float(highest.values[0] - lowest.values[0])
        if now <= gap:
            return c, True
        worst = [
            lowest.indices[lowest.values < highest.values[0]],
            highest.indices[highest.values > lowest.values[0]],
        ]
        index = torch.cat(worst).unique()
        rows = gram[index]
        moved = _on_block(rows[:, index], g[index], c[index], box.at(index), now / 3, span, floor)
        g += (moved - c[index]) @ rows
        c[index] = moved
    return c, False


def _on_block(
    gram: Tensor, g: Tensor, c: Tensor, box: Box, gap: float, span: Tensor, floor: Tensor
) -> Tensor:
    """A few projected Newton steps, each no worse than no step."""
    for _ in range(_STEPS):
        rise, fall = movable(g, c, box)
        lowest, highest = rise.min(), fall.max()
        if float(highest - lowest) <= gap:
            break
        free = box.inside(c)
        b = -g[free].mean() if bool(free.any()) else -0.5 * (lowest + highest)
        slack = g + b
        chosen = free | ((rise + b) < 0) | ((fall + b) > 0)
        index = chosen.nonzero()[:, 0]
        move = _newton(gram, slack, c, box, index, span, floor)
        step, curved = float(g @ move), gram @ move
        if step < 0:
            bend = float(move @ curved)
            t = min(1.0, -step / bend) if bend > 0 else 1.0
        else:  # the projection turned it uphill: one pair instead
            move = torch.zeros_like(c)
            i, j = rise.argmin(), fall.argmax()
            apart = (gram[i, i] + gram[j, j] - 2 * gram[i, j]).clamp(min=floor)
            length = torch.minimum((highest - lowest) / apart, box.high[i] - c[i])
            length = torch.minimum(length, c[j] - box.low[j])
            move[i], move[j] = length, -length
            t, curved = 1.0, gram @ move
        # to the bound, not next to it: rounding would leave a free multiplier there
        c = torch.minimum(torch.maximum(c + t * move, box.low), box.high)
        g = g + t * curved
    return c


def _newton(
    gram: Tensor, slack: Tensor, c: Tensor, box: Box, index: Tensor, span: Tensor, floor: Tensor
) -> Tensor:
    """The move ``[n]`` to the minimum over the multipliers of ``index``, projected onto the box.

    What is added to the diagonal keeps the move within the width of the box where the features
    do not determine it."""
    gradient = slack[index]
    matrix = gram[index[:, None], index]
    added = torch.maximum(floor, gradient.abs().max() / span)
    matrix.diagonal().add_(added)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):  # not positive, by its own error
        matrix.diagonal().add_(1e6 * floor)
        factor, _ = torch.linalg.cholesky_ex(matrix)
    right = torch.stack([gradient, torch.ones_like(gradient)], 1)
    step, ones = torch.cholesky_solve(right, factor).unbind(1)
    start = c[index]
    target = start - step + ones * (step.sum() / ones.sum())
    move = torch.zeros_like(c)
    move[index] = box.at(index).nearest(target, start.sum()) - start
    return move
