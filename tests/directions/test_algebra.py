"""Directions are a vector space."""

import pytest
import torch

from hsl.directions import Combination, ImplicitFunction, Shift
from hsl.errors import HslError
from some_directions import implicit, pass_through, randn


def test_vector_space() -> None:
    a, b, f = Shift(randn(32, 4, 4)), Shift(randn(32, 4, 4, seed=1)), implicit()
    assert torch.allclose((a + b).delta, a.delta + b.delta)
    assert torch.allclose((a - b * 2).delta, a.delta - 2 * b.delta)
    mixed = pass_through(2.0 * f - a)
    assert torch.allclose(mixed, 2 * pass_through(f) - pass_through(a), atol=1e-5)
    assert torch.allclose(pass_through(-f), -pass_through(f))


def test_without_leaves_nothing_along_the_others() -> None:
    a, b, c = (Shift(randn(4, 32, 4, 4, seed=s), [0, 300, 600, 900]) for s in range(3))
    pure = a.without(b, c)
    for other in (b, c):
        assert abs(float((pure.delta * other.delta).sum())) < 1e-3
    twice = pure.without(b, c)
    assert torch.allclose(twice.delta, pure.delta, atol=1e-5)
    removed = (a.delta - pure.delta).flatten()
    basis = torch.stack([b.delta.flatten(), c.delta.flatten()], 1)
    assert torch.linalg.lstsq(basis, removed[:, None]).residuals.norm() < 1e-3


def test_without_of_functions_is_per_image() -> None:
    f, g = implicit(0), implicit(1)
    left = pass_through(f.without(g)).flatten(1)
    along = (left * pass_through(g).flatten(1)).sum(1)
    assert along.abs().max() < 1e-3
    assert left.norm() > 0


def test_what_cannot_be_combined() -> None:
    with pytest.raises(HslError, match="cannot combine"):
        Combination([Shift(randn(32, 4, 4)), Shift(randn(3, 8, 8), space="x")], [1, 1])
    for wrong in (lambda: Shift(randn(2)), lambda: Shift(randn(2, 4, 1, 1), [1])):
        with pytest.raises(HslError):
            wrong()
    with pytest.raises(HslError):
        ImplicitFunction(33, 64)
