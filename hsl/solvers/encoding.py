"""Ridge regression of the features on all labels at once: what each attribute alone changes."""

from typing import final

import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.solvers.base import Solver


@final
class Encoding(Solver):
    """D, m = argmin sum_i v_i |h_i - m - sum_a (y_ia / 2) d_a|^2 + penalty.

    d_a is the change of h from -1 to +1 of attribute a *with all other attributes held fixed*:
    `MeanDifference`, which it equals for a single attribute and alpha = 0, mixes in those that go
    along with a. With Z the centred labels / 2, V the weights and n their sum,
    D = (Z'VZ / n + alpha I / 4)^-1 Z'V H / n: it takes the labels alone, no Gram matrix, to find.
    The intercept puts the boundary half-way between the projected class means.

    All attributes are fitted together, on the images that have all of their labels. So one
    weight an image, and no class weights.

    Args:
        alpha: not negative; added to the variances of the labels, which are at most 1. Above 0,
            attributes that always go together share their effect; with 0 they are refused.
    """

    joint = True

    def __init__(self, alpha: float = 0.01) -> None:
        super().__init__()
        if not 0 <= alpha < float("inf"):
            raise HslError(f"Encoding: alpha is {alpha}; want a number that is not negative")
        self.alpha = alpha

    def solve(self, gram: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        if not torch.equal(weights, weights[:, :1].expand_as(weights)):
            raise HslError("Encoding: want one weight an image, the same for all attributes")
        share = weights[:, :1] / weights[:, :1].sum()
        half = labels / 2
        half = half - (share * half).sum(0)
        moments = half.mT @ (share * half)
        moments.diagonal().add_(self.alpha / 4)
        if float(torch.linalg.cond(moments)) > 1e12:
            raise HslError("Encoding: some attributes always go together: give an alpha above 0")
        coefficients = torch.linalg.solve(moments, (share * half).mT)
        projected = coefficients @ gram
        positive, negative = (
            (projected.mT * of_class).sum(0) / of_class.sum(0)
            for of_class in (share * (labels == 1), share * (labels == -1))
        )
        return coefficients, -0.5 * (positive + negative)
