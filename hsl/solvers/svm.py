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

    centred = False  # where coefficients sum to 0, the Gram matrix of h itself gives the same

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
            bounds = Box(box.low[a], box.high[a])
            best = optimum(gram, y[a], bounds, c[a].clamp(bounds.low, bounds.high), z)
            c[a], b[a] = best.c, best.b
            if a == 0 and z is None and len(gram) > 200 + 50 * len(y):
                together = bool(bounds.inside(best.c).double().mean() > 0.95)
        return c, b

    def check(self, part: LabelledPart, coefficients: Tensor) -> None:
        """Warn of each attribute whose fit is not the optimum."""
        for a, name in enumerate(part.names):
            y, c = part.labels[:, a], coefficients[a]
            end = point(part.gram, y, Box.of(y, self.C * part.weights[:, a]), c)
            if end.gap > max(_WIDE, 10 * tolerance(part.gram, c)):
                warnings.warn(
                    f"{name}: the SVM ended at a gap of {end.gap:.1g}, the margin being 1, and "
                    "not at the optimum; give a smaller C, or scale the features down",
                    stacklevel=3,
                )

    def left_out(self, gram: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """An image that is no support vector is scored by the fit of all images. Of a support
        vector the multiplier is set to 0. Where all others then keep their places (free, at 0, at
        C), one inverse matrix gives the new fit (Cauwenberghs & Poggio 2000); where they do not,
        the fit goes on from there."""
        coefficients, intercepts = self.solve(gram, labels, weights)
        scores = (coefficients @ gram + intercepts[:, None]).mT.contiguous()
        z = factor(gram)
        for a, (c, b) in enumerate(zip(coefficients, intercepts, strict=True)):
            y, box = labels[:, a], Box.of(labels[:, a], self.C * weights[:, a])
            index = c.nonzero()[:, 0]
            without, offset, stay = _removed(gram, y, box, c, b, index)
            values = (without * gram[index]).sum(1) + offset
            moved = (~stay).nonzero()[:, 0]
            for i in moved.tolist():
                others = torch.arange(len(y), device=y.device) != index[i]
                rest = Box(box.low.where(others, 0), box.high.where(others, 0))
                best = optimum(gram, y, rest, c.where(others, 0), z)
                values[i] = best.c @ gram[index[i]] + best.b
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
    if bool(start.any()) and (end := _ended(gram, y, box, start)) is not None:
        return end
    loose = (box.low < box.high).nonzero()[:, 0]
    is_part = len(loose) < len(y)
    part = gram[loose[:, None], loose] if is_part else gram
    low_rank = z if z is None or not is_part else z[loose]
    bounds, labels = box.at(loose), y[loose]
    c = torch.zeros_like(labels)
    solved = None
    if z is None:  # so many blocks take a fraction of the time of the interior point's n^3
        c, reached = descend(part, labels, bounds, c, _GAP, len(labels) // 2)
        if reached:
            solved = pivot(part, labels, bounds, c, bounds.inside(c), c >= bounds.high)
    near = [c]
    if solved is None:
        for c, free, top in interior(part, low_rank, labels, bounds):
            solved = pivot(part, labels, bounds, c, free, top)
            if solved is not None:
                break
            near.append(bounds.settled(c, free, top))
    if solved is None:
        best = min((point(part, labels, bounds, c) for c in near), key=lambda p: p.gap).c
        solved = active_set(part, labels, bounds, best, _SINGLE)
    whole = torch.zeros_like(y)
    whole[loose] = solved
    return point(gram, y, box, whole)


def _ended(gram: Tensor, y: Tensor, box: Box, start: Tensor) -> Point | None:
    """The optimum, if it is found from ``start [n]``: by block pivoting, or a few single steps."""
    top, free = (start >= box.high) & (box.low < box.high), box.inside(start)
    solved = pivot(gram, y, box, start, free, top)
    if solved is None:
        solved = active_set(gram, y, box, box.settled(start, free, top), _FEW)
    end = point(gram, y, box, solved)
    return end if end.gap <= 4 * tolerance(gram, solved) else None


def _closed(gram: Tensor, y: Tensor, box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Of each attribute whether the bordered system is the optimum ``[A]``; its c ``[A, n]``, 0
    where there is none, and b ``[A]``."""
    right = torch.nn.functional.pad(y.mT, (0, 0, 0, 1))
    # no exception for a singular matrix: what comes out then is not finite, or fits nothing
    roots = torch.linalg.solve_ex(bordered(gram), right)[0].mT
    c, b = roots[:, :-1].contiguous(), roots[:, -1].clone()
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
    # An image at C: the free multipliers make up for its own. A free image: its row and column
    # leave the system.
    share = torch.cat([gram[places][:, index], gram.new_ones(1, len(index))])
    change = (inverse @ share * c[index]).mT
    was_free = free[index]
    column = torch.searchsorted(places, index[was_free])
    ratio = c[index[was_free]] / inverse.diagonal()[column]
    change[was_free] = -(inverse[column] * ratio[:, None])
    without = c.repeat(len(index), 1)
    without[:, places] += change[:, :-1]
    all_rows = torch.arange(len(index), device=c.device)
    without[all_rows, index] = 0
    offset = b + change[:, -1]
    slack = without @ gram + offset[:, None] - y
    inside = (box.low <= without) & (without <= box.high)
    right = torch.where(free, slack.abs() < 1e-9, True)
    right &= torch.where(~free & (c <= box.low), slack > -1e-9, True)
    right &= torch.where(~free & (c > box.low), slack < 1e-9, True)
    good = inside & right
    good[all_rows, index] = True
    return without.nan_to_num(0, 0, 0), offset, good.all(1) & offset.isfinite()
