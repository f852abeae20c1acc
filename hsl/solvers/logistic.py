"""Logistic regression: the usual linear probe."""

from typing import final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from hsl.errors import HslError
from hsl.solvers.base import ClassWeight, Solver, bordered, spread

#: Largest |penalty c_i - v_i y_i sigmoid(-y_i f_i)|, in units of the largest penalty |c_i|.
TOLERANCE = 1e-10
_STEPS = 100


@final
class Logistic(Solver):
    """w, b = argmin sum_i v_i log(1 + exp(-y_i (<w, h_i> + b))) + (alpha s / 2) |w|^2.

    w = sum_i c_i h_i with c_i = v_i y_i sigmoid(-y_i f_i) / (alpha s), found by Newton's method
    on (c, b) with step halving, to `TOLERANCE` in that equation.

    Args:
        alpha: above 0, in units of s, the mean squared distance of h to its mean, as in `Ridge`.
        class_weight: see `Solver`.
    """

    def __init__(self, alpha: float = 1.0, class_weight: ClassWeight = None) -> None:
        super().__init__(class_weight)
        if not 0 < alpha < float("inf"):
            raise HslError(f"Logistic: alpha is {alpha}; want a number above 0")
        self.alpha = alpha

    def solve(self, gram: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        penalties = self.alpha * spread(gram, weights)
        fits = [
            _newton(gram, y, v, float(p), torch.zeros_like(y), 0.0)
            for y, v, p in zip(labels.mT, weights.mT, penalties, strict=True)
        ]
        return torch.stack([c for c, _ in fits]), gram.new_tensor([b for _, b in fits])

    def left_out(self, gram: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Exact, under the penalty of all images: Newton's method with the curvature of the fit
        of all, for all images at once; those few for which that does not converge, by a fit."""
        penalties = self.alpha * spread(gram, weights)
        coefficients, intercepts = self.solve(gram, labels, weights)
        scores = torch.empty_like(labels)
        for a, penalty in enumerate(penalties.tolist()):
            y, v, c, b = labels[:, a], weights[:, a], coefficients[a], float(intercepts[a])
            scores[:, a], converged = _without_each(gram, y, v, penalty, c, b)
            for i in (~converged).nonzero()[:, 0].tolist():
                rest = v.clone()
                rest[i] = 0
                c_i, b_i = _newton(gram, y, rest, penalty, c, b)
                scores[i, a] = gram[i] @ c_i + b_i
        return scores


def _newton(
    gram: Tensor, y: Tensor, v: Tensor, penalty: float, c: Tensor, b: float
) -> tuple[Tensor, float]:
    """One attribute's ``c [n]`` and b, from a start; ``v [n]`` may hold zeros."""

    def loss(c: Tensor, f: Tensor) -> Tensor:
        return v @ softplus(-y * f) + 0.5 * penalty * (c @ gram @ c)

    f = gram @ c + b
    for _ in range(_STEPS):
        miss = torch.sigmoid(-y * f)
        pull = v * y * miss
        if float((penalty * c - pull).abs().max()) <= TOLERANCE * float(pull.abs().max()):
            return c, b
        matrix, root = _curvature(gram, y, v, penalty, f)
        right = root * f + y * v.sqrt() * (-0.5 * y * f).exp()
        solved = torch.linalg.solve(matrix, torch.nn.functional.pad(right, (0, 1)))
        new_c, new_b = root * solved[:-1], float(solved[-1])
        step, before = 1.0, loss(c, f)
        new_f = gram @ new_c + new_b
        while float(loss(c + step * (new_c - c), f + step * (new_f - f))) > float(before) * (
            1 + 1e-12
        ):
            step /= 2
        c, b, f = c + step * (new_c - c), b + step * (new_b - b), f + step * (new_f - f)
    raise HslError("Logistic: no convergence; give a larger alpha")


def _curvature(
    gram: Tensor, y: Tensor, v: Tensor, penalty: float, f: Tensor
) -> tuple[Tensor, Tensor]:
    """The bordered matrix of Newton's step in u = c / r, and r ``[n]``, the root of the curvature;
    r may be 0 (Rasmussen & Williams 2006, section 3.4)."""
    root = (v * torch.sigmoid(-y * f) * torch.sigmoid(y * f)).sqrt()
    matrix = bordered(root[:, None] * gram * root)
    matrix.diagonal()[:-1].add_(penalty)
    matrix[-1, :-1] = matrix[:-1, -1] = root
    return matrix, root


def _without_each(
    gram: Tensor, y: Tensor, v: Tensor, penalty: float, c: Tensor, b: float
) -> tuple[Tensor, Tensor]:
    """From the fit of all: score ``[n]`` of each image without it, and where that converged."""
    matrix, root = _curvature(gram, y, v, penalty, gram @ c + b)
    inverse = torch.linalg.inv(matrix)
    diagonal = inverse.diagonal()[:-1, None]
    # row i: the fit without image i
    cs, bs = c.repeat(len(y), 1).fill_diagonal_(0), torch.full_like(y, b)
    for _ in range(_STEPS):
        f = cs @ gram + bs[:, None]
        pull = (v * y * torch.sigmoid(-y * f)).fill_diagonal_(0)
        excess = pull - penalty * cs
        converged = excess.abs().amax(1) <= TOLERANCE * pull.abs().amax(1)
        if bool(converged.all()):
            break
        right = torch.cat([excess / root.clamp(min=1e-150), -cs.sum(1, keepdim=True)], 1)
        move = right @ inverse
        move -= move.diagonal()[:, None] / diagonal * inverse[:-1]  # u_i stays 0
        cs, bs = cs + root * move[:, :-1], bs + move[:, -1]
    return f.diagonal(), converged
