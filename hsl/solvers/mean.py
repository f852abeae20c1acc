"""Difference of class means."""

from typing import final

import torch
from torch import Tensor

from hsl.solvers.base import Solver


@final
class MeanDifference(Solver):
    """d = mean of h where the attribute is, minus the mean where it is not.

    What goes along with the attribute in the data is in d, too (`Encoding` takes it out). The
    intercept puts the boundary half-way between the means. Class weights change nothing here.
    """

    def solve(self, gram: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        means = [_shares(labels == sign, weights) for sign in (1, -1)]
        halves = [0.5 * ((mean @ gram) * mean).sum(1) for mean in means]
        return means[0] - means[1], halves[1] - halves[0]

    def left_out(self, gram: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """In closed form: a mean without i is (S m - w_i h_i) / (S - w_i), S being the weight of
        its class."""
        scores = torch.zeros_like(labels)
        for sign in (1, -1):
            members = labels == sign
            share = _shares(members, weights)
            inner, norm = gram @ share.mT, ((share @ gram) * share).sum(1)
            # lost: the share of i in its own class; 0 in the other one, which stays as it is
            lost = torch.where(members, share.mT, 0)
            inner_without = (inner - lost * gram.diagonal()[:, None]) / (1 - lost)
            norm_without = norm - 2 * lost * inner + lost**2 * gram.diagonal()[:, None]
            scores += sign * (inner_without - 0.5 * norm_without / (1 - lost) ** 2)
        return scores


def _shares(members: Tensor, weights: Tensor) -> Tensor:
    """``[A, n]``: the weights of the members, divided by their sum."""
    of_class = torch.where(members, weights, 0)
    return (of_class / of_class.sum(0)).mT
