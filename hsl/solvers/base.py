"""What every solver does: check the problem, drop missing labels, weight the classes."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hsl.errors import HslError

ClassWeight = Literal["balanced"] | None
#: A direction this much shorter than the sum of what it is made of is rounding error.
_CANCELLED = 1e-9


class Solution(NamedTuple):
    """Directions as coefficients over the images that they were fitted on.

    ``coefficients [A, N]`` float64: direction = coefficients @ h, for h ``[N, D]``; each row sums
    to 0. ``intercept [A]`` float64: <h, direction> + intercept is positive where the attribute is.
    """

    coefficients: Tensor
    intercept: Tensor

    def decision(self, cross: Tensor) -> Tensor:
        """Signed scores ``[M, A]`` of M images, from their products ``cross [M, N]`` with the
        fitted ones."""
        return cross.double() @ self.coefficients.mT + self.intercept


class Solver(ABC):
    """Finds one direction an attribute from the Gram matrix of the features alone.

    Args:
        class_weight: ``balanced`` weighs an image by n / (2 n_c), n_c being the number of images
            of its class.
    """

    centred = True  # False: `solve` takes the Gram matrix of h itself where h is near its mean
    joint = False  # True: one fit for all attributes, on the images that have all labels

    def __init__(self, class_weight: ClassWeight = None) -> None:
        if class_weight not in (None, "balanced"):
            raise HslError(f"class_weight {class_weight!r}: want balanced or none")
        self.class_weight = class_weight

    @abstractmethod
    def solve(self, gram: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients ``[A, n]``, each row with sum 0, and intercepts ``[A]`` for a centred
        ``gram [n, n]``, ``labels [n, A]`` in {+1, -1} and ``weights [n, A]`` above 0."""

    def check(self, part: "LabelledPart", coefficients: Tensor) -> None:
        """Warn where ``coefficients [a, n]`` are not what the solver promises; here never."""
        return

    def left_out(self, gram: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Score ``[n, A]`` of each image by the fit without it; arguments as in `solve`. Here by n
        fits; solvers that can, do better."""
        scores = torch.empty_like(labels)
        for i in range(len(gram)):
            rows = torch.arange(len(gram), device=gram.device) != i
            coefficients, intercept = self.solve(gram[rows][:, rows], labels[rows], weights[rows])
            scores[i] = coefficients @ gram[rows, i] + intercept
        return scores

    def __call__(
        self,
        gram: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        names: Sequence[str] | None = None,
    ) -> Solution:
        """Fit all attributes.

        Args:
            gram: ``[N, N]``, the products <h_i, h_j>; converted to float64.
            labels: ``[N, A]`` in {+1, -1}, 0 where missing: that image is not used for that
                attribute.
            weights: ``[N]`` or ``[N, A]``, not negative; 0 leaves an image out.
            names: of the A attributes, for messages.

        Raises:
            HslError: an attribute without both classes, features that are not finite or all
                alike, or labels that the features do not tell apart at all.
        """
        problem = Problem.of(gram, labels, weights, names, self)
        coefficients = torch.zeros_like(problem.labels.mT)
        intercept = coefficients.new_zeros(len(coefficients))
        for part in problem.parts(self.joint):
            centred = self.centred or part.far
            gram = part.centred if centred else part.gram
            fitted, offset = self.solve(gram, part.labels, part.weights)
            part.require_difference(fitted)
            self.check(part, fitted)
            if centred:  # the fit saw h - m: <h - m, d> + b = <h, d> + (b - <m, d>)
                offset = offset - fitted @ part.gram.mean(1)
            coefficients[part.columns[:, None], part.rows] = fitted
            intercept[part.columns] = offset
        return Solution(coefficients, intercept)

    def leave_one_out(
        self,
        gram: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        names: Sequence[str] | None = None,
    ) -> Tensor:
        """Score ``[N, A]`` of each image by the fit without it; NaN where its label is missing.

        What is set by the whole set (class weights, the scale of a penalty) stays as it is.

        Raises:
            HslError: as for a fit, or a class of one image.
        """
        problem = Problem.of(gram, labels, weights, names, self, least=2)
        scores = torch.full_like(problem.labels, torch.nan)
        for part in problem.parts(self.joint):
            values = self.left_out(part.centred, part.labels, part.weights)
            scores[part.rows[:, None], part.columns] = values
        return scores


class LabelledPart(NamedTuple):
    """The ``rows [n]`` of ``columns [a]`` that have labels, all of the columns the same ones."""

    rows: Tensor
    columns: Tensor
    gram: Tensor
    labels: Tensor
    weights: Tensor
    names: list[str]
    far: bool  # the mean of h exceeds its spread: centring keeps rounding error out

    @property
    def centred(self) -> Tensor:
        """The Gram matrix of h minus its mean over the rows."""
        return centre(self.gram)

    def require_difference(self, coefficients: Tensor) -> None:
        """Refuse directions that are nothing but rounding error."""
        size = (coefficients.abs() @ self.gram.diagonal().clamp(min=0).sqrt()).square()
        norm = ((coefficients @ self.gram) * coefficients).sum(1)
        for name, bad in zip(self.names, norm <= _CANCELLED**2 * size, strict=True):
            if bad:
                raise HslError(
                    f"{name}: the features do not differ between its classes; use others, or "
                    "drop the attribute"
                )


class Problem(NamedTuple):
    """A checked problem in float64; weights are 0 where labels are missing."""

    gram: Tensor
    labels: Tensor
    weights: Tensor
    names: list[str]

    @classmethod
    def of(
        cls,
        gram: Tensor,
        labels: Tensor,
        weights: Tensor | None,
        names: Sequence[str] | None,
        solver: Solver,
        least: int = 1,
    ) -> "Problem":
        """Check and weigh; ``least``: images that each class must have."""
        n = len(gram)
        if gram.shape != (n, n) or labels.ndim != 2 or len(labels) != n:
            raise HslError(f"want gram [N, N] and labels [N, A], not {_shapes(gram, labels)}")
        names = [f"attribute {a}" for a in range(labels.shape[1])] if names is None else list(names)
        if len(names) != labels.shape[1]:
            raise HslError(f"{len(names)} names for {labels.shape[1]} attributes")
        gram = gram.double()
        if not bool((finite := gram.diagonal().isfinite()).all()):
            raise HslError(
                f"features of image {int((~finite).nonzero()[0])} have NaN or infinity: leave it "
                f"out of the fit of {', '.join(names)}"
            )
        labels = labels.to(gram)
        weights = torch.ones_like(labels) if weights is None else weights.to(gram)
        weights = weights[:, None] if weights.ndim == 1 else weights
        if weights.shape not in (labels.shape, (n, 1)) or not bool((weights >= 0).all()):
            raise HslError("weights: want [N] or [N, A] numbers that are not negative")
        weights = torch.where(labels == 0, 0, weights.expand_as(labels))
        for a, name in enumerate(names):
            _check_labels(name, labels[:, a], weights[:, a], least)
        if solver.class_weight == "balanced":
            weights = weights * _inverse_frequency(labels, weights)
        return cls(gram, labels, weights, names)

    def parts(self, joint: bool) -> Iterator[LabelledPart]:
        """Attributes with labels on the same images together: they share the linear algebra."""
        used = self.weights > 0
        if joint:
            used = used.all(1, keepdim=True).expand_as(used)
        patterns, which = used.unique(dim=1, return_inverse=True)
        for k in range(patterns.shape[1]):
            rows, columns = patterns[:, k].nonzero()[:, 0], (which == k).nonzero()[:, 0]
            gram = self.gram if len(rows) == len(used) else self.gram[rows][:, rows]
            labels, weights = self.labels[rows][:, columns], self.weights[rows][:, columns]
            names = [self.names[a] for a in columns.tolist()]
            if joint:
                for a, name in enumerate(names):
                    _check_labels(f"{name} (with all others)", labels[:, a], weights[:, a], 1)
            trace = float(gram.trace())
            spread = trace - float(gram.sum()) / len(gram)
            if spread <= 1e-14 * trace:
                raise HslError(f"{', '.join(names)}: all images have the same features")
            yield LabelledPart(rows, columns, gram, labels, weights, names, spread < 0.5 * trace)


def centre(gram: Tensor) -> Tensor:
    """The Gram matrix ``[N, N]`` of features minus their mean: P K P, with P = I - 11'/N."""
    rows = gram - gram.mean(1, keepdim=True)
    return rows - rows.mean(0, keepdim=True)


def spread(gram: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean squared distance of the features to their weighted mean, for each column of
    ``weights [n, A]``: sum_i p_i K_ii - p'Kp with p = w / sum w. It is the unit of the penalties,
    so that these do not depend on the scale of h."""
    share = weights / weights.sum(0)
    return gram.diagonal() @ share - (share * (gram @ share)).sum(0)


def subsample(labels: Tensor, seed: int = 0) -> Tensor:
    """Weights ``[N, A]`` in {0, 1} that keep, of each attribute, as many images of the commoner
    class as there are of the rarer, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(labels.shape, generator=generator, dtype=torch.float64).to(labels.device)
    weights = torch.zeros(labels.shape, dtype=torch.float64, device=labels.device)
    for a in range(labels.shape[1]):
        classes = [(labels[:, a] == sign).nonzero()[:, 0] for sign in (1, -1)]
        few = min(map(len, classes))
        for rows in classes:
            weights[rows[order[rows, a].argsort()[:few]], a] = 1
    return weights


def bordered(gram: Tensor) -> Tensor:
    """[[K, 1], [1', 0]] ``[n + 1, n + 1]``: free intercept, coefficients of sum 0."""
    matrix = gram.new_ones(len(gram) + 1, len(gram) + 1)
    matrix[:-1, :-1] = gram
    matrix[-1, -1] = 0
    return matrix


def _check_labels(name: str, labels: Tensor, weights: Tensor, least: int) -> None:
    if not bool(((labels.abs() == 1) | (labels == 0)).all()):
        raise HslError(f"{name}: labels must be +1, -1, or 0 where missing")
    used = labels[weights > 0]
    positive, negative = int((used > 0).sum()), int((used < 0).sum())
    if min(positive, negative) < least:
        raise HslError(
            f"{name}: {positive} positive and {negative} negative images; want {least} or more of "
            "each: add images, or drop the attribute"
        )


def _inverse_frequency(labels: Tensor, weights: Tensor) -> Tensor:
    used = weights > 0
    factors = torch.zeros_like(labels)
    for sign in (1, -1):
        of_class = used & (labels == sign)
        factors += of_class * used.sum(0) / (2 * of_class.sum(0).clamp(min=1))
    return factors


def _shapes(*tensors: Tensor) -> str:
    return " and ".join(str(list(t.shape)) for t in tensors)
