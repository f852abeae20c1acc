"""Ridge and logistic regression against scikit-learn."""

import pytest
import torch
from sklearn import linear_model
from torch import Tensor

from hsl.solvers import Logistic, Ridge
from hsl.solvers.base import centre, spread
from linear import features, labelled

SIZES = pytest.mark.parametrize(("n", "d"), [(60, 8), (40, 200)])
CLASS_WEIGHT = pytest.mark.parametrize("class_weight", [None, "balanced"])


def in_their_units(alpha: float, h: Tensor, y: Tensor, weights: Tensor, class_weight: str | None):
    """The penalty and the images' weights, as scikit-learn takes them."""
    if class_weight:
        n = len(y)
        weights = weights * torch.where(y > 0, n / (2 * (y > 0).sum()), n / (2 * (y < 0).sum()))
    mean = (weights @ h) / weights.sum()
    return alpha * float(weights @ (h - mean).square().sum(1) / weights.sum()), weights.numpy()


@SIZES
@CLASS_WEIGHT
@pytest.mark.parametrize("alpha", [1e-3, 2.0])
def test_ridge(n: int, d: int, class_weight, alpha: float) -> None:
    h = features(n, d)
    labels = labelled(h, rarer=0.3)
    weights = 0.2 + torch.rand(n, generator=torch.Generator().manual_seed(2)).double()
    solution = Ridge(alpha, class_weight)(h @ h.mT, labels, weights)
    for a in range(3):
        y = labels[:, a]
        lam, each = in_their_units(alpha, h, y, weights, class_weight)
        other = linear_model.Ridge(lam, tol=1e-12).fit(h.numpy(), y.numpy(), each)
        w = torch.from_numpy(other.coef_)
        assert torch.allclose(solution.coefficients[a] @ h, w, rtol=1e-7, atol=1e-9)
        assert float(solution.intercept[a]) == pytest.approx(other.intercept_, abs=1e-7)


@SIZES
@CLASS_WEIGHT
@pytest.mark.parametrize("alpha", [1e-3, 0.1])
def test_logistic(n: int, d: int, class_weight, alpha: float) -> None:
    h = features(n, d)
    labels = labelled(h, rarer=0.3)
    weights = 0.2 + torch.rand(n, generator=torch.Generator().manual_seed(2)).double()
    solution = Logistic(alpha, class_weight)(h @ h.mT, labels, weights)
    for a in range(3):
        y = labels[:, a]
        lam, each = in_their_units(alpha, h, y, weights, class_weight)
        other = linear_model.LogisticRegression(
            C=1 / lam, tol=1e-12, solver="newton-cg", max_iter=1000
        ).fit(h.numpy(), y.numpy(), each)
        w = torch.from_numpy(other.coef_[0])
        assert float((solution.coefficients[a] @ h - w).norm() / w.norm()) < 1e-6
        assert float(solution.intercept[a]) == pytest.approx(other.intercept_[0], abs=1e-5)


def test_logistic_is_stationary_when_the_classes_are_separated() -> None:
    h = 30 * features(50, 100)
    labels = labelled(h, noise=0)
    gram, alpha = h @ h.mT, 1e-8
    solution = Logistic(alpha)(gram, labels)
    lam = alpha * spread(gram, torch.ones_like(labels))
    margin = labels * solution.decision(gram)
    expected = labels * torch.sigmoid(-margin) / lam
    assert torch.allclose(solution.coefficients.mT, expected, rtol=1e-4, atol=1e-12)
    assert bool((margin > 3).all())


def test_spread_is_the_weighted_variance() -> None:
    h = features(20, 6)
    weights = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)).double()
    for a in range(2):
        share = weights[:, a] / weights[:, a].sum()
        expected = share @ (h - share @ h).square().sum(1)
        assert float(spread(h @ h.mT, weights)[a]) == pytest.approx(float(expected))
    assert torch.allclose(centre(h @ h.mT), (h - h.mean(0)) @ (h - h.mean(0)).mT)
