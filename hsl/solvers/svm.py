"""The support vector machine, solved exactly."""

import warnings
from typing import final

import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.solvers.base import ClassWeight, LabelledPart, Solver, bordered
from hsl.solvers.blocks import descend
from hsl.solvers.dual import Box, Point, point, tolerance
from hsl.solvers.interior import factor, interior
from hsl.solvers.pivoting import active_set, pivot

#: Blocks go on to this gap, where the rest is quick.
_GAP = 0.1
#: A gap that a user should know of: LIBSVM's tolerance is 1e-3.
_WIDE = 1e-6
#: Steps of the method that takes one multiplier at a time: at most, and from a known start.
_SINGLE, _FEW = 300, 40


@final
class SVM(Solver):
    """w, b = argmin 1/2 |w|^2 + C sum_i v_i max(0, 1 - y_i (<w, h_i> + b)), b being free.

    The problem of BoundaryDiffusion's ``SVC(kernel="linear")`` (Zhu et al. 2023, released code),
    to rounding error rather than its tolerance of 1e-3. With far fewer images than dimensions
    no multiplier reaches C: the margin is hard, and C has no influence.

    The bordered system [[K, 1], [1', 0]] [c; b] = [y; 0] is one for all attributes: where all
    0 <= y_i c_i <= C v_i, every image is a support vector and this *is* the optimum. The others
    come near theirs by `blocks`, or, where features are of few dimensions or blocks do not end, by
    an interior point (`interior`), and reach it by `pivoting`. Where none of these ends, the
    nearest point is returned, and a warning says its gap.

    Args:
        C: bound of the multipliers; above 0.
        class_weight: see `Solver`.
    """

    centred = False  # of coefficients of sum 0 both Gram matrices make the same

    def __init__(self, C: float = 1.0, class_weight: ClassWeight = None) -> None:
        super().__init__(class_weight)
        if not 0 < C < float("inf"):
            raise HslError(f"SVM: C is {C}; want a number above 0")
        self.C = C

    def solve(self, gram: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        y, box = labels.mT.contiguous(), Box.of(labels.mT, self.C * weights.mT)
        c, b = torch.zeros_like(y), torch.zeros_like(y[:, 0])
        z = factor(gram)
        # worth its n^3 if many attributes share it, or the first shows that it may hold
        together = z is None and len(gram) <= 200 + 50 * len(y)
        known = torch.zeros_like(y, dtype=torch.bool)[:, 0]
        for a in range(len(y)):
            if together:
                known[a:], c[a:], b[a:] = _closed(gram, y[a:], Box(box.low[a:], box.high[a:]))
                together = False
            if known[a]:
                continue
            own = Box(box.low[a], box.high[a])
            found = optimum(gram, y[a], own, c[a].clamp(own.low, own.high), z)
            c[a], b[a] = found.c, found.b
            if a == 0 and z is None and len(gram) > 200 + 50 * len(y):
                together = bool(own.inside(found.c).double().mean() > 0.95)
        return c, b

    def check(self, part: LabelledPart, coefficients: Tensor) -> None:
        """Say of which attributes this is not the optimum."""
        for a, name in enumerate(part.names):
            y, c = part.labels[:, a], coefficients[a]
            found = point(part.gram, y, Box.of(y, self.C * part.weights[:, a]), c)
            if found.gap > max(_WIDE, 10 * tolerance(part.gram, c)):
                warnings.warn(
                    f"{name}: the SVM ended at a gap of {found.gap:.1g}, the margin being 1, and "
                    "not at the optimum; give a smaller C, or scale the features down",
                    stacklevel=3,
                )

    def left_out(self, gram: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """An image that is no support vector is scored by the fit of all. Of a support vector, the
        multiplier is taken away; where all others keep their places (free, at 0, at C), the rest
        follows from one inverse matrix (Cauwenberghs & Poggio 2000); else the fit goes on from
        there."""
        coefficients, intercepts = self.solve(gram, labels, weights)
        scores = (coefficients @ gram + intercepts[:, None]).mT.contiguous()
        z = factor(gram)
        for a, (c, b) in enumerate(zip(coefficients, intercepts, strict=True)):
            y, box = labels[:, a], Box.of(labels[:, a], self.C * weights[:, a])
            index = c.nonzero()[:, 0]
            without, offset, kept = _removed(gram, y, box, c, b, index)
            values = (without * gram[index]).sum(1) + offset
            moved = (~kept).nonzero()[:, 0]
            for i in moved.tolist():
                others = torch.arange(len(y), device=y.device) != index[i]
                rest = Box(box.low.where(others, 0), box.high.where(others, 0))
                found = optimum(gram, y, rest, c.where(others, 0), z)
                values[i] = found.c @ gram[index[i]] + found.b
            scores[index, a] = values
        return scores


def optimum(gram: Tensor, y: Tensor, box: Box, start: Tensor, z: Tensor | None) -> Point:
    """Of one problem; or the nearest point that was found.

    Args:
        gram: ``[n, n]``.
        y: labels ``[n]``.
        box: bounds ``[n]``; the same where a multiplier may not move.
        start: in the box ``[n]``; of use where most are free, or at a bound, as at the optimum.
        z: `factor` of the Gram matrix, if there is one.
    """
    if bool(start.any()) and (found := _ended(gram, y, box, start)) is not None:
        return found
    kept = (box.low < box.high).nonzero()[:, 0]
    some = len(kept) < len(y)
    part = gram[kept[:, None], kept] if some else gram
    low_rank = z if z is None or not some else z[kept]
    own, labels = box.at(kept), y[kept]
    c = torch.zeros_like(labels)
    solved = None
    if z is None:  # so many blocks take a fraction of the time of the interior point's n^3
        c, reached = descend(part, labels, own, c, _GAP, len(labels) // 2)
        solved = pivot(part, labels, own, c, own.inside(c), c >= own.high) if reached else None
    near = [c]
    if solved is None:
        for c, free, top in interior(part, low_rank, labels, own):
            solved = pivot(part, labels, own, c, free, top)
            if solved is not None:
                break
            near.append(own.settled(c, free, top))
    if solved is None:
        best = min((point(part, labels, own, c) for c in near), key=lambda each: each.gap).c
        solved = active_set(part, labels, own, best, _SINGLE)
    whole = torch.zeros_like(y)
    whole[kept] = solved
    return point(gram, y, box, whole)


def _ended(gram: Tensor, y: Tensor, box: Box, start: Tensor) -> Point | None:
    """The optimum, if it is found from ``start [n]``: by block pivoting, or a few single steps."""
    top, free = (start >= box.high) & (box.low < box.high), box.inside(start)
    solved = pivot(gram, y, box, start, free, top)
    if solved is None:
        solved = active_set(gram, y, box, box.settled(start, free, top), _FEW)
    found = point(gram, y, box, solved)
    return found if found.gap <= 4 * tolerance(gram, solved) else None


def _closed(gram: Tensor, y: Tensor, box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Of each attribute whether the bordered system is the optimum ``[A]``; its c ``[A, n]``, 0
    where there is none, and b ``[A]``."""
    right = torch.nn.functional.pad(y.mT, (0, 0, 0, 1))
    # no exception for a singular matrix: what comes out then is not finite, or fits nothing
    found = torch.linalg.solve_ex(bordered(gram), right)[0].mT
    c, b = found[:, :-1].contiguous(), found[:, -1].clone()
    fits = ((c @ gram + b[:, None] - y).abs() < 1e-9).all(1)
    solved = fits & ((box.low <= c) & (c <= box.high)).all(1)
    return solved, torch.where(fits[:, None], c, 0), b


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
