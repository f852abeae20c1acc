"""Accuracies, areas under the ROC curve, and their intervals."""

import pytest
import torch
from sklearn import metrics
from torch import Tensor

from hsl.confidence import wilson
from hsl.errors import HslError
from hsl.solvers import MeanDifference, Ridge, cross_validated, figures
from hsl.solvers.scores import auc_interval
from linear import features, labelled


def draw(m: int, gap: float = 1.0, seed: int = 0, rarer: float = 0.4) -> tuple[Tensor, Tensor]:
    """Scores ``[m, 2]``, with ties, and labels."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.where(torch.rand(m, 2, generator=g) < rarer, 1, -1)
    scores = torch.randn(m, 2, generator=g, dtype=torch.float64) + gap * labels / 2
    return scores.mul(4).round().div(4), labels


def test_figures_agree_with_scikit_learn() -> None:
    scores, labels = draw(90)
    labels[:9, 1] = 0
    found = figures(scores, labels)
    for a in range(2):
        known = labels[:, a] != 0
        y, s = labels[known, a].numpy(), scores[known, a].numpy()
        predicted = [1 if value > 0 else -1 for value in s]
        assert float(found.accuracy[a]) == pytest.approx(metrics.accuracy_score(y, predicted))
        balanced = metrics.balanced_accuracy_score(y, predicted)
        assert float(found.balanced_accuracy[a]) == pytest.approx(balanced)
        assert float(found.auc[a]) == pytest.approx(metrics.roc_auc_score(y, s))
        assert int(found.positive[a]) == (y == 1).sum() and int(found.negative[a]) == (y < 0).sum()
        for name in ("accuracy", "balanced_accuracy", "auc"):
            low, high = getattr(found, f"{name}_ci")[a].tolist()
            assert 0 <= low < float(getattr(found, name)[a]) < high <= 1


@pytest.mark.parametrize(
    ("gap", "positive", "negative"), [(0.0, 30, 30), (1.5, 40, 20), (3, 20, 20)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(gap, positive, negative) -> None:
    trials, g = 2000, torch.Generator().manual_seed(1)
    labels = torch.tensor([1] * positive + [-1] * negative)[:, None].expand(-1, trials)
    noise = torch.randn(labels.shape, generator=g, dtype=torch.float64)
    found = figures(noise + gap * labels / 2, labels)
    normal = torch.distributions.Normal(0.0, 1.0)
    truth = {
        "auc": normal.cdf(torch.tensor(gap / 2**0.5)),
        "accuracy": normal.cdf(torch.tensor(gap / 2)),
        "balanced_accuracy": normal.cdf(torch.tensor(gap / 2)),
    }
    for name, value in truth.items():
        low, high = getattr(found, f"{name}_ci").unbind(-1)
        held = float(((low <= value) & (value <= high)).double().mean())
        assert 0.93 < held < 0.985, (name, held)


def test_an_interval_is_not_empty_at_the_ends() -> None:
    ends = auc_interval(torch.tensor([1.0, 0.0, 0.5]).double(), *torch.full((2, 3), 25))
    assert ends[0, 1] == 1 and 0.8 < ends[0, 0] < 0.97
    assert torch.allclose(ends[1], 1 - ends[0].flip(0))
    assert float(ends[2].mean()) == pytest.approx(0.5, abs=1e-9)


def test_one_class_has_an_accuracy_alone() -> None:
    scores, labels = draw(20)
    labels[:, 0] = -1
    labels[:, 1] = 0
    found = figures(scores, labels)
    assert float(found.accuracy[0]) == float((scores[:, 0] <= 0).double().mean())
    for name in ("balanced_accuracy", "auc", "balanced_accuracy_ci", "auc_ci"):
        assert bool(getattr(found, name).isnan().all()), name
    assert bool(found.accuracy[1].isnan())


def test_rows_for_a_report() -> None:
    rows = figures(*draw(20)).rows(["Smiling", "Bald"])
    assert [row["attribute"] for row in rows] == ["Smiling", "Bald"]
    assert len(rows[0]["auc_ci"]) == 2 and isinstance(rows[0]["accuracy"], float)


def test_bad_scores_are_refused() -> None:
    scores, labels = draw(20)
    with pytest.raises(HslError, match=r"\[20, 2\] for labels \[20, 1\]"):
        figures(scores, labels[:, :1])
    scores[4, 0] = torch.nan
    with pytest.raises(HslError, match="NaN"):
        figures(scores, labels)
    labels[4, 0] = 0
    assert bool(figures(scores, labels).auc.isfinite().all())


def test_folds_are_scored_by_the_others() -> None:
    h = features(30, 10)
    labels, gram = labelled(h), h @ h.mT
    labels[3, 1] = 0
    fold = torch.arange(30) % 4
    weights = 0.5 + torch.rand(30, generator=torch.Generator().manual_seed(0))
    scores = cross_validated(Ridge(), gram, labels, fold, weights)
    for k in range(4):
        out, kept = fold == k, fold != k
        solution = Ridge()(gram[kept][:, kept], labels[kept], weights[kept])
        assert torch.allclose(scores[out], solution.decision(gram[out][:, kept]))


def test_drawn_folds() -> None:
    h = features(30, 10)
    labels, gram = labelled(h), h @ h.mT
    solver = MeanDifference()
    each = cross_validated(solver, gram, labels, 30)
    assert torch.allclose(each, solver.leave_one_out(gram, labels))
    five = cross_validated(solver, gram, labels)
    assert torch.equal(five, cross_validated(solver, gram, labels))
    assert not torch.allclose(five, cross_validated(solver, gram, labels, seed=1))
    for folds in (1, 31):
        with pytest.raises(HslError, match="want 2 to 30"):
            cross_validated(solver, gram, labels, folds)
    labels[:, 2] = -1
    labels[4, 2] = 1
    with pytest.raises(HslError, match="Bald: 0 positive"):
        cross_validated(solver, gram, labels, names=["Smiling", "Young", "Bald"])


def test_labels_of_chance_are_not_learnt() -> None:
    """Any labels can be separated where images are few; what is left out shows it."""
    h, labels = features(80, 2000), torch.ones(80, 1)
    labels[torch.randperm(80, generator=torch.Generator().manual_seed(0))[:40]] = -1
    gram = h @ h.mT
    fitted = figures(Ridge(0.1)(gram, labels).decision(gram), labels)
    left_out = figures(Ridge(0.1).leave_one_out(gram, labels), labels)
    assert float(fitted.accuracy) == 1.0
    assert float(left_out.accuracy) < 0.7


def test_every_interval_is_of_its_own_figure() -> None:
    """Of few positives and many negatives, so that none stands for another."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.where(torch.rand(60, 1, generator=generator) < 0.2, 1, -1)
    scores = labels + 1.5 * torch.randn(60, 1, generator=generator).double() + 0.4
    found, n = figures(scores, labels), torch.tensor([60.0]).double()
    n_p, n_n = found.positive, found.negative
    assert int(n_p + n_n) == 60 and 3 < int(n_p) < 20
    assert torch.allclose(found.accuracy_ci, wilson(found.accuracy, n))
    rates = [((scores > 0) == (labels > 0))[labels == side].double().mean() for side in (1, -1)]
    ends = [
        wilson(rate, n_side.double()).squeeze()
        for rate, n_side in zip(rates, (n_p, n_n), strict=True)
    ]
    for end, sign in ((0, -1), (1, 1)):
        apart = torch.hypot(ends[0][end] - rates[0], ends[1][end] - rates[1]) / 2
        expected = found.balanced_accuracy[0] + sign * apart
        assert torch.allclose(found.balanced_accuracy_ci[0, end], expected)
    area, m = found.auc[0], (n_p + n_n)[0] / 2 - 1
    for a in found.auc_ci[0]:  # where the score test is just passed
        spread = 1 + m * ((1 - a) / (2 - a) + a / (1 + a))
        variance = a * (1 - a) * spread / (n_p * n_n)[0]
        assert float((area - a).abs()) == pytest.approx(1.96 * float(variance.sqrt()), rel=1e-4)
    assert found.auc_ci[0, 0] < area < found.auc_ci[0, 1] <= 1
