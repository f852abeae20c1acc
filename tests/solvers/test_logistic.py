"""Newton's method of logistic regression: its steps, which its optimum does not show."""

import pytest
import torch
from torch import Tensor

from hsl.solvers import Logistic
from hsl.solvers import logistic as module
from hsl.solvers.base import centre, spread
from linear import features, labelled


def pose(n: int = 60, d: int = 40) -> tuple[Tensor, Tensor, Tensor, float]:
    """Centred Gram matrix, labels, weights ``[n]`` and penalty."""
    h = features(n, d, uneven=True)
    gram, y = centre(h @ h.mT), labelled(h)[:, 0]
    v = 0.5 + torch.rand(n, generator=torch.Generator().manual_seed(0)).double()
    return gram, y, v, float(spread(gram, v[:, None]))


def test_it_stays_where_it_ended() -> None:
    gram, y, v, penalty = pose()
    c, b = module._newton(gram, y, v, penalty, torch.zeros_like(y), 0.0)
    again, offset = module._newton(gram, y, v, penalty, c, b)
    assert again is c and offset == b and abs(b) > 1e-3


@pytest.mark.parametrize("start", [-30.0, 12.0, 30.0])
def test_it_comes_back_from_afar(start: float) -> None:
    """Where the curvature is next to nothing, a whole step goes too far and is halved."""
    gram, y, v, penalty = pose()
    expected, b = module._newton(gram, y, v, penalty, torch.zeros_like(y), 0.0)
    found, offset = module._newton(gram, y, v, penalty, torch.zeros_like(y), start)
    assert torch.allclose(found, expected, atol=1e-9) and offset == pytest.approx(b, abs=1e-7)


def test_leaving_one_out_takes_the_curvature_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image needs a fit of its own; the scores are those of such fits."""
    h = features(40, 30)
    labels, gram = labelled(h), h @ h.mT
    fits: list[None] = []
    newton = module._newton

    def counting(*arguments):
        fits.append(None)
        return newton(*arguments)

    monkeypatch.setattr(module, "_newton", counting)
    monkeypatch.setattr(module, "_STEPS", 9)  # two more than are needed
    scores = Logistic(1.0).leave_one_out(gram, labels)
    assert len(fits) == labels.shape[1]
    again = centre(gram)
    penalties = spread(again, torch.ones_like(labels))
    for i in range(0, 40, 7):
        rest = torch.ones(40).double()
        rest[i] = 0
        for a, penalty in enumerate(penalties.tolist()):
            c, b = newton(again, labels[:, a], rest, penalty, torch.zeros(40).double(), 0.0)
            assert float(c[i]) == pytest.approx(0, abs=1e-12)
            assert float(scores[i, a]) == pytest.approx(float(again[i] @ c + b), abs=1e-7)
