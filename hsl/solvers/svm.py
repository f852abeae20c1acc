"""The support vector machine, solved exactly."""

from typing import final

import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.solvers.base import ClassWeight, Solver, bordered
from hsl.solvers.dual import Box, active_set, smo

#: SMO brings the rest near the optimum: to this gap, or by this many steps an image.
_GAP, _STEPS = 1e-2, 10


@final
class SVM(Solver):
    """w, b = argmin 1/2 |w|^2 + C sum_i v_i max(0, 1 - y_i (<w, h_i> + b)), b being free.

    The problem of BoundaryDiffusion's ``SVC(kernel="linear")`` (Zhu et al. 2023, released code),
    to rounding error rather than its tolerance of 1e-3. With far fewer images than dimensions
    no multiplier reaches C: the margin is hard, and C has no influence.

    First the bordered system [[K, 1], [1', 0]] [c; b] = [y; 0], once for all attributes: where
    all 0 <= y_i c_i <= C v_i, every image is a support vector and this *is* the optimum. The
    others start from it, cut to the box, and go on by SMO side by side, and by an active-set
    method one at a time.

    Args:
        C: bound of the multipliers; above 0.
        class_weight: see `Solver`.
    """

    def __init__(self, C: float = 1.0, class_weight: ClassWeight = None) -> None:
        super().__init__(class_weight)
        if not 0 < C < float("inf"):
            raise HslError(f"SVM: C is {C}; want a number above 0")
        self.C = C

    def solve(self, gram: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        y, box = labels.mT, Box.of(labels.mT, self.C * weights.mT)
        right = torch.nn.functional.pad(labels, (0, 0, 0, 1))
        # no exception for a singular matrix: what comes out then is not finite, or fits nothing
        found = torch.linalg.solve_ex(bordered(gram), right)[0].mT
        c, b = found[:, :-1].contiguous(), found[:, -1].clone()
        fits = ((c @ gram + b[:, None] - y).abs() < 1e-9).all(1)
        solved = fits & ((box.low <= c) & (c <= box.high)).all(1)
        left = (~solved).nonzero()[:, 0]
        rest = Box(box.low[left], box.high[left])
        start = torch.where(fits[left, None], c[left], 0)
        c[left], b[left] = _optimum(gram, y[left], rest, start)
        return c, b

    def left_out(self, gram: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """An image that is no support vector is scored by the fit of all. Of a support vector, the
        multiplier is taken away; where all others keep their places (free, at 0, at C), the rest
        follows from one inverse matrix (Cauwenberghs & Poggio 2000); else the fit goes on from
        there."""
        coefficients, intercepts = self.solve(gram, labels, weights)
        scores = (coefficients @ gram + intercepts[:, None]).mT.contiguous()
        for a, (c, b) in enumerate(zip(coefficients, intercepts, strict=True)):
            y, box = labels[:, a], Box.of(labels[:, a], self.C * weights[:, a])
            index = c.nonzero()[:, 0]
            without, offset, kept = _removed(gram, y, box, c, b, index)
            values = (without * gram[index]).sum(1) + offset
            moved = (~kept).nonzero()[:, 0]
            gone = torch.zeros_like(without[moved], dtype=torch.bool)
            gone[torch.arange(len(moved), device=y.device), index[moved]] = True
            rest = Box(box.low.where(~gone, 0), box.high.where(~gone, 0))
            found, offset = _optimum(gram, y.expand_as(gone), rest, without[moved])
            values[moved] = (found * gram[index[moved]]).sum(1) + offset
            scores[index, a] = values
        return scores


def _optimum(gram: Tensor, labels: Tensor, box: Box, start: Tensor) -> tuple[Tensor, Tensor]:
    """Multipliers ``[A, n]`` and intercepts ``[A]`` of problems on one Gram matrix, for bounds and
    any start ``[A, n]``."""
    near = smo(gram, labels, box, box.feasible(start), _GAP, _STEPS * len(gram))
    problems = zip(labels, box.low, box.high, near, strict=True)
    found = [active_set(gram, y, Box(low, high), c) for y, low, high, c in problems]
    if not found:
        return start, start.new_empty(0)
    return torch.stack([c for c, _ in found]), torch.stack([b for _, b in found])


def _removed(
    gram: Tensor, y: Tensor, box: Box, c: Tensor, b: Tensor, index: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The multipliers ``[m, n]`` and intercepts ``[m]`` without each image of ``index [m]``, if all
    others keep their places; and whether they do ``[m]``."""
    free = (c > box.low) & (c < box.high)
    places = free.nonzero()[:, 0]
    matrix = bordered(gram[places][:, places])
    matrix.diagonal()[:-1].add_(1e-12 * gram.diagonal().mean())
    # singular if none is free: what comes out then is not finite, and is kept nowhere
    inverse = torch.linalg.inv_ex(matrix)[0]
    # At C: the free ones answer for what it did. Free: its row and column leave the system.
    share = torch.cat([gram[places][:, index], gram.new_ones(1, len(index))])
    change = (inverse @ share * c[index]).mT
    own = free[index]
    column = torch.searchsorted(places, index[own])
    change[own] = -(inverse[column] * (c[index[own]] / inverse.diagonal()[column])[:, None])
    without = c.repeat(len(index), 1)
    without[:, places] += change[:, :-1]
    every = torch.arange(len(index), device=c.device)
    without[every, index] = 0
    offset = b + change[:, -1]
    slack = without @ gram + offset[:, None] - y
    inside = (box.low <= without) & (without <= box.high)
    right = torch.where(free, slack.abs() < 1e-9, True)
    right &= torch.where(~free & (c <= box.low), slack > -1e-9, True)
    right &= torch.where(~free & (c > box.low), slack < 1e-9, True)
    good = inside & right
    good[every, index] = True
    return without.nan_to_num(0, 0, 0), offset, good.all(1) & offset.isfinite()
