"""Ridge regression of the labels on the features: a linear probe with squared loss."""

from typing import final

import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.solvers.base import ClassWeight, Solver, bordered, spread


@final
class Ridge(Solver):
    """w, b = argmin sum_i v_i (y_i - <w, h_i> - b)^2 + alpha s |w|^2, b being free.

    This is *decoding*: w reads the attribute from h, and so turns away from whatever varies in h
    without telling the classes apart. It is not the change of h that the attribute makes; that
    is `Encoding`. By the bordered system [[K + alpha s V^-1, 1], [1', 0]] [c; b] = [y; 0].

    Args:
        alpha: above 0, in units of s, the mean squared distance of h to its mean (about the mean
            eigenvalue of the centred Gram matrix); so it means the same at any scale of h.
        class_weight: see `Solver`.
    """

    def __init__(self, alpha: float = 1.0, class_weight: ClassWeight = None) -> None:
        super().__init__(class_weight)
        if not 0 < alpha < float("inf"):
            raise HslError(f"Ridge: alpha is {alpha}; want a number above 0")
        self.alpha = alpha

    def solve(self, gram: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        right = torch.nn.functional.pad(labels, (0, 0, 0, 1))
        solved = torch.empty_like(right)
        for columns, matrix in self._systems(gram, weights):
            solved[:, columns] = torch.linalg.solve(matrix, right[:, columns])
        return solved[:-1].mT, solved[-1]

    def left_out(self, gram: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """In closed form: y_i - f_(-i)(h_i) = c_i / (M^-1)_ii, M being the bordered matrix (the
        hat matrix's leverages in other words; Allen 1974)."""
        scores = torch.empty_like(labels)
        right = torch.nn.functional.pad(labels, (0, 0, 0, 1))
        for columns, matrix in self._systems(gram, weights):
            inverse = torch.linalg.inv(matrix)
            residual = (inverse @ right[:, columns])[:-1] / inverse.diagonal()[:-1, None]
            scores[:, columns] = labels[:, columns] - residual
        return scores

    def _systems(self, gram: Tensor, weights: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The bordered matrix of all columns that have the same weights, for each such group."""
        patterns, which = weights.unique(dim=1, return_inverse=True)
        penalties = self.alpha * spread(gram, patterns) / patterns
        return [
            ((which == k).nonzero()[:, 0], bordered(gram + penalties[:, k].diag()))
            for k in range(patterns.shape[1])
        ]
