"""How well scores tell an attribute's classes apart, with 95% confidence intervals.

The accuracy on the images of the fit says nothing where there are fewer images than dimensions:
any labels can be separated. Use held-out images (`figures` of ``Solution.decision``), the folds
of `cross_validated`, or ``Solver.leave_one_out``; the last two take the Gram matrix alone. Their
scores are not quite independent of each other, which the intervals leave out of account.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hsl.confidence import Z, wilson
from hsl.errors import HslError
from hsl.solvers.base import Solver


class Figures(NamedTuple):
    """By attribute: counts ``[A]``, figures ``[A]`` in [0, 1] and their intervals ``[A, 2]``. NaN
    where there is no image, or, except for the accuracy, only one class."""

    positive: Tensor
    negative: Tensor
    accuracy: Tensor
    accuracy_ci: Tensor
    balanced_accuracy: Tensor
    balanced_accuracy_ci: Tensor
    auc: Tensor
    auc_ci: Tensor

    def rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """One row an attribute, for `hsl.tables`."""
        lists = {key: value.tolist() for key, value in self._asdict().items()}
        return [
            {"attribute": name} | {key: values[a] for key, values in lists.items()}
            for a, name in enumerate(names)
        ]


def figures(decision: Tensor, labels: Tensor) -> Figures:
    """Figures of signed scores ``decision [M, A]`` for ``labels [M, A]`` in {+1, -1, 0 missing}.

    A score of 0 counts as -1. Balanced accuracy is the mean of the classes' accuracies; its
    interval joins their Wilson intervals (Zou & Donner 2008). The AUC's is a score interval
    (`auc_interval`), which is not empty at an AUC of 1, as DeLong's is.

    Raises:
        HslError: another shape of labels, or a score that is NaN though its label is there.
    """
    if decision.shape != labels.shape or decision.ndim != 2:
        raise HslError(f"scores {list(decision.shape)} for labels {list(labels.shape)}")
    known = labels != 0
    if bool(decision[known].isnan().any()):
        raise HslError("a labelled image has no score (NaN): were its features finite?")
    right = (decision > 0) == (labels > 0)
    rates, intervals, counts = [], [], []
    for chosen in (known, labels > 0, labels < 0):
        n = chosen.sum(0).double()
        rates.append((right & chosen).sum(0) / n)
        intervals.append(wilson(rates[-1], n))
        counts.append(n.long())
    (low_p, high_p), (low_n, high_n) = intervals[1].unbind(-1), intervals[2].unbind(-1)
    balanced = (rates[1] + rates[2]) / 2
    below = torch.hypot(rates[1] - low_p, rates[2] - low_n) / 2
    above = torch.hypot(high_p - rates[1], high_n - rates[2]) / 2
    areas = auc(decision, labels)
    return Figures(
        positive=counts[1],
        negative=counts[2],
        accuracy=rates[0],
        accuracy_ci=intervals[0],
        balanced_accuracy=balanced,
        balanced_accuracy_ci=torch.stack([balanced - below, balanced + above], -1),
        auc=areas,
        auc_ci=auc_interval(areas, counts[1], counts[2]),
    )


def auc(decision: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve ``[A]``: the share of pairs of a positive and a negative image that
    the scores put in order, ties counting half. NaN without pairs."""
    areas = []
    for scores, y in zip(decision.mT, labels.mT, strict=True):
        positive, negative = scores[y > 0], scores[y < 0].sort().values
        below = torch.searchsorted(negative, positive).sum()
        up_to = torch.searchsorted(negative, positive, right=True).sum()
        areas.append((below + up_to) / (2.0 * len(positive) * len(negative)))
    return torch.stack(areas).double()


def auc_interval(area: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Score interval ``[..., 2]`` of an AUC: all a with (area - a)^2 <= Z^2 V(a), V being Hanley &
    McNeil's variance with (positive + negative) / 2 - 1 in the place of both its counts (Newcombe
    2006, part 2, method 5)."""
    pairs, n = (positive * negative).double(), (positive + negative) / 2 - 1

    def outside(a: Tensor) -> Tensor:
        variance = a * (1 - a) * (1 + n * ((1 - a) / (2 - a) + a / (1 + a))) / pairs
        return (area - a) ** 2 > Z**2 * variance

    ends = []
    for far in (0.0, 1.0):
        near, end = area.clone(), torch.full_like(area, far)
        for _ in range(60):  # bisection
            middle = (near + end) / 2
            out = outside(middle)
            near, end = torch.where(out, near, middle), torch.where(out, middle, end)
        ends.append(near)
    return torch.where(area.isnan()[..., None], torch.nan, torch.stack(ends, -1))


def cross_validated(
    solver: Solver,
    gram: Tensor,
    labels: Tensor,
    folds: int | Tensor = 5,
    weights: Tensor | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Tensor:
    """Score ``[N, A]`` of each image by the fit on the other folds.

    Args:
        solver: any.
        gram: ``[N, N]``.
        labels: ``[N, A]`` in {+1, -1, 0}.
        folds: how many (2 to N), drawn at random and equal in size; or the fold ``[N]`` of each
            image, e.g. to keep the images of one person together.
        weights: as the solver takes them.
        names: of the attributes, for messages.
        seed: of the draw.

    Raises:
        HslError: as the solver does; an attribute may lack a class outside one of the folds.
    """
    n = len(gram)
    if isinstance(folds, int):
        if not 2 <= folds <= n:
            raise HslError(f"{folds} folds of {n} images: want 2 to {n}")
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        folds = order.argsort() % folds
    folds = folds.to(gram.device)
    scores = gram.new_empty(labels.shape, dtype=torch.float64)
    for fold in folds.unique():
        out, fitted = (folds == fold).nonzero()[:, 0], (folds != fold).nonzero()[:, 0]
        fold_weights = None if weights is None else weights[fitted]
        solution = solver(gram[fitted][:, fitted], labels[fitted], fold_weights, names)
        scores[out] = solution.decision(gram[out][:, fitted])
    return scores
