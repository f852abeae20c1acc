"""The support vector machine against its conditions of optimality, and against scikit-learn."""

import pytest
import torch
from sklearn.svm import SVC
from torch import Tensor

from hsl.solvers import SVM, Solution
from hsl.solvers import gram as products
from hsl.solvers import svm as module
from hsl.solvers.base import bordered
from linear import features, labelled, overlapping

#: n, d, C, class_weight, share of positives, rows of uneven length
PROBLEMS = {
    "bordered": (40, 400, 1.0, None, 0.5, False),
    "hard margin": (60, 80, 1.0, None, 0.3, True),
    "imbalanced": (120, 300, 1.0, None, 0.05, False),
    "not separable": (120, 10, 1.0, None, 0.5, False),
    "not separable, uneven": (150, 40, 0.3, None, 0.4, True),
    "small C": (80, 40, 1e-3, None, 0.3, False),
    "all at C": (40, 10, 1e-7, None, 0.5, False),
    "large C": (60, 12, 50.0, None, 0.4, False),
    "balanced": (120, 10, 1.0, "balanced", 0.1, False),
    "balanced, imbalanced": (100, 60, 0.01, "balanced", 0.07, True),
    "two images": (2, 3, 1.0, None, 0.5, False),
    "one dimension": (50, 1, 1.0, None, 0.5, False),
}
every_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


def pose(problem) -> tuple[Tensor, Tensor, Tensor, SVM]:
    """Features, labels, bounds of the multipliers ``[n, A]``, solver."""
    n, d, C, class_weight, rarer, uneven = problem
    h = features(n, d, seed=n + d, uneven=uneven)
    labels = labelled(h, 3, rarer=rarer)
    bounds = torch.full_like(labels, C)
    if class_weight:
        positive = (labels > 0).sum(0)
        bounds *= torch.where(labels > 0, n / (2 * positive), n / (2 * (n - positive)))
    return h, labels, bounds, SVM(C, class_weight)


def violation(gram: Tensor, labels: Tensor, bounds: Tensor, solution: Solution) -> float:
    """How far the Karush-Kuhn-Tucker conditions are from being met."""
    alpha = solution.coefficients.mT * labels
    assert bool((alpha >= 0).all()) and bool((alpha <= bounds * (1 + 1e-12)).all())
    margin = labels * solution.decision(gram)
    at_0, at_c = alpha == 0, alpha >= bounds
    short = torch.where(at_0, 1 - margin, torch.where(at_c, margin - 1, (margin - 1).abs()))
    scale = 1 + (gram.abs() @ alpha).max()
    return float(max(short.max(), solution.coefficients.sum(1).abs().max() / alpha.max()) / scale)


@every_problem
def test_it_is_the_optimum(problem) -> None:
    h, labels, bounds, solver = pose(problem)
    gram = h @ h.mT
    assert violation(gram, labels, bounds, solver(gram, labels)) < 1e-11


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_optimum_of_random_problems(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    n, d = (int(torch.randint(low, 90, (), generator=g)) for low in (4, 1))
    C = float(10 ** (4 * torch.rand((), generator=g) - 3))
    h = features(n, d, seed, uneven=bool(seed % 2))
    h[n // 2] = h[0]  # an image twice
    labels = labelled(h, 3, noise=float(torch.rand((), generator=g)) * 2, seed=seed)
    gram = h @ h.mT
    bounds = torch.full_like(labels, C)
    assert violation(gram, labels, bounds, SVM(C)(gram, labels)) < 1e-10


@every_problem
def test_it_agrees_with_scikit_learn(problem) -> None:
    h, labels, _, solver = pose(problem)
    solution = solver(h @ h.mT, labels)
    for a in range(3):
        other = SVC(C=solver.C, kernel="linear", class_weight=solver.class_weight, tol=1e-12)
        other.fit(h.numpy(), labels[:, a].numpy())
        w = torch.tensor(other.coef_[0])
        # LIBSVM keeps its kernel matrix in float32, whatever its tolerance
        assert float((solution.coefficients[a] @ h - w).norm() / w.norm()) < 1e-4
        assert float(solution.intercept[a]) == pytest.approx(other.intercept_[0], abs=2e-3)
        support = solution.coefficients[a].nonzero()[:, 0]
        assert len(set(support.tolist()) ^ set(other.support_.tolist())) <= 1


def test_the_bordered_system_is_the_optimum_where_its_signs_hold() -> None:
    h, labels, _, solver = pose(PROBLEMS["bordered"])
    gram = h @ h.mT
    right = torch.nn.functional.pad(labels, (0, 0, 0, 1))
    expected = torch.linalg.solve(bordered(gram), right)
    assert bool((expected[:-1] * labels >= 0).all())
    solution = solver(gram, labels)
    assert torch.allclose(solution.coefficients, expected[:-1].mT)
    assert torch.allclose(solution.intercept, expected[-1])


def test_c_has_no_influence_on_a_hard_margin() -> None:
    h, labels, _, _ = pose(PROBLEMS["hard margin"])
    one, many = (SVM(C)(h @ h.mT, labels).coefficients for C in (1.0, 1e4))
    assert torch.allclose(one, many, atol=1e-10) and float(one.abs().max()) < 1
    assert not torch.allclose(one, SVM(1e-4)(h @ h.mT, labels).coefficients, atol=1e-6)


def test_all_at_c_leaves_the_intercept_in_the_middle() -> None:
    h, labels, _, solver = pose(PROBLEMS["all at C"])
    solution = solver(h @ h.mT, labels)
    assert bool((solution.coefficients.abs() == 1e-7).all())
    other = SVC(C=1e-7, kernel="linear", tol=1e-12).fit(h.numpy(), labels[:, 0].numpy())
    assert float(solution.intercept[0]) == pytest.approx(other.intercept_[0], abs=1e-6)


def test_attributes_do_not_influence_each_other() -> None:
    h, labels, _, solver = pose(PROBLEMS["not separable"])
    together = solver(h @ h.mT, labels)
    for a in range(3):
        alone = solver(h @ h.mT, labels[:, a : a + 1])
        assert torch.allclose(together.coefficients[a] @ h, alone.coefficients[0] @ h, atol=1e-9)


@pytest.mark.parametrize("name", ["bordered", "all at C", "large C", "not separable, uneven"])
def test_leave_one_out(name: str) -> None:
    """Whether all images are free, all at C, or of all kinds."""
    h, labels, _, solver = pose(PROBLEMS[name])
    gram = h @ h.mT
    scores = solver.leave_one_out(gram, labels)
    for i in range(0, len(h), 7):
        kept = torch.arange(len(h)) != i
        part = solver(gram[kept][:, kept], labels[kept])
        assert torch.allclose(scores[i], part.decision(gram[[i]][:, kept])[0], atol=1e-8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(30))
def test_float32_features_of_few_dimensions(seed: int) -> None:
    h, labels = overlapping(100, 25, seed)
    gram = products([h])
    bounds = torch.ones_like(labels)
    assert violation(gram, labels.double(), bounds, SVM()(gram, labels)) < 1e-11


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("away", [1e2, 1e4])
@pytest.mark.parametrize(("n", "d"), [(100, 25), (60, 200)])
def test_float32_features_far_from_the_origin(n: int, d: int, away: float) -> None:
    h, labels = overlapping(n, d, 0)
    moved = h + away
    solution = SVM()(products([moved]), labels)
    near = moved.double() - away  # what is left of them after rounding
    expected = SVM()(near @ near.mT, labels)
    w, other = solution.coefficients @ near, expected.coefficients @ near
    assert float((w - other).norm() / other.norm()) < 1e-4
    right = solution.decision(products([moved])) > 0
    assert torch.equal(right, expected.decision(near @ near.mT) > 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("d", "scale"), [(20, 1.0), (150, 1.0), (150, 0.1), (900, 0.03), (900, 1)])
@pytest.mark.parametrize("noise", [0.0, 0.5, 3.0])
def test_the_optimum_of_more_images(d: int, scale: float, noise: float) -> None:
    """By every way there is: interior point, blocks, both."""
    h, labels = overlapping(600, d, 1, noise)
    h = (scale * h).double()
    gram = h @ h.mT
    labels = labels.double()
    assert violation(gram, labels, torch.ones_like(labels), SVM()(gram, labels)) < 1e-11


def test_one_attribute_never_takes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing ends, a point of small gap is there, and a warning that names the attribute."""
    h, labels = overlapping(100, 25, 0)
    labels = torch.cat([labels, overlapping(100, 25, 1)[1]], 1)
    gram = products([h])
    expected = SVM()(gram, labels)
    pivot = module.pivot

    def second_fails(gram, y, box, c, free, top):
        return pivot(gram, y, box, c, free, top) if torch.equal(y, labels[:, 0].double()) else None

    monkeypatch.setattr(module, "pivot", second_fails)
    monkeypatch.setattr(module, "active_set", lambda gram, y, box, c, most: c)
    with pytest.warns(UserWarning, match=r"^Bald: the SVM ended at a gap of") as warned:
        found = SVM()(gram, labels, names=["Smiling", "Bald"])
    assert len(warned) == 1 and "\n" not in str(warned[0].message)
    assert warned[0].filename == __file__  # where the solver was called
    assert torch.equal(found.coefficients[0], expected.coefficients[0])
    near = torch.nn.functional.cosine_similarity(
        found.coefficients @ h.double(), expected.coefficients @ h.double()
    )
    assert bool((near > 0.999).all())
