"""What holds for every solver."""

import pytest
import torch

from hsl.errors import HslError
from hsl.solvers import SVM, Encoding, Logistic, MeanDifference, Ridge, Solver, subsample
from linear import cosine, features, labelled, planted

SOLVERS: dict[str, Solver] = {
    "mean": MeanDifference(),
    "ridge": Ridge(0.7),
    "encoding": Encoding(0.02),
    "logistic": Logistic(0.02),
    "svm": SVM(),
    "svm_soft": SVM(0.03),
    "ridge_balanced": Ridge(0.7, "balanced"),
    "logistic_balanced": Logistic(0.02, "balanced"),
    "svm_balanced": SVM(0.03, "balanced"),
}
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def fit(solver: Solver, h: torch.Tensor, labels: torch.Tensor, **arguments):
    """Directions ``[A, d]`` and intercepts ``[A]``."""
    solution = solver(h @ h.mT, labels, **arguments)
    return solution.coefficients @ h, solution.intercept


@every_solver
def test_a_planted_direction_is_recovered(solver: Solver) -> None:
    h, labels, directions = planted(100, 2000, correlation=0.0, noise=0.03)
    found, _ = fit(solver, h, labels)
    for a in range(2):
        assert cosine(found[a], directions[a]) > 0.99


def test_correlated_attributes_confound_the_mean_difference_alone() -> None:
    h, labels, directions = planted(600, 200, correlation=0.8)
    means, _ = fit(MeanDifference(), h, labels)
    alone, _ = fit(Encoding(0.0), h, labels)
    for a in range(2):
        assert cosine(means[a], directions[a]) < 0.85
        assert cosine(alone[a], directions[a]) > 0.99
        assert float(alone[a].norm() / directions[a].norm()) == pytest.approx(1, abs=0.05)


def test_encoding_of_one_attribute_is_the_mean_difference() -> None:
    h = features(30, 12)
    labels = labelled(h, 1, rarer=0.3)
    mean, b = fit(MeanDifference(), h, labels)
    alone, b_alone = fit(Encoding(0.0), h, labels)
    assert torch.allclose(mean, alone) and torch.allclose(b, b_alone)
    expected = h[labels[:, 0] > 0].mean(0) - h[labels[:, 0] < 0].mean(0)
    assert torch.allclose(mean[0], expected)
    centre = (h[labels[:, 0] > 0].mean(0) + h[labels[:, 0] < 0].mean(0)) / 2
    assert float(centre @ expected + b) == pytest.approx(0, abs=1e-9)


def test_encoding_is_least_squares() -> None:
    h, labels = features(50, 7), labelled(features(50, 7), 4)
    weights = torch.rand(50, generator=torch.Generator().manual_seed(0)).double() + 0.1
    design = torch.cat([torch.ones(50, 1).double(), labels / 2], 1)
    root = weights.sqrt()[:, None]
    expected = torch.linalg.lstsq(root * design, root * h).solution[1:]
    assert torch.allclose(fit(Encoding(0.0), h, labels, weights=weights)[0], expected)


@every_solver
def test_missing_labels_leave_their_images_out(solver: Solver) -> None:
    h = features(60, 20)
    labels = labelled(h)
    some = labels.clone()
    some[:7, 0] = 0
    some[50:, 2] = 0
    solution = solver(h @ h.mT, some)
    joint = (some != 0).all(1)
    for a in range(3):
        kept = joint if solver.joint else some[:, a] != 0
        columns = slice(0, 3) if solver.joint else slice(a, a + 1)
        own, b = fit(solver, h[kept], labels[kept, columns])
        own, b = (own[a], b[a]) if solver.joint else (own[0], b[0])
        assert torch.allclose(solution.coefficients[a] @ h, own, atol=1e-8)
        assert float(solution.intercept[a]) == pytest.approx(float(b), abs=1e-7)
        assert not solution.coefficients[a, ~kept].any()


def test_attributes_that_are_fitted_together_need_both_classes_together() -> None:
    """On the images that have all labels, not only on their own."""
    h = features(30, 20)
    labels = labelled(h)
    labels[:, 1] = torch.where(labels[:, 0] > 0, 0, labels[:, 1])  # unknown of all that have 0
    with pytest.raises(HslError, match=r"\(with all others\).* 0 positive"):
        Encoding()(h @ h.mT, labels)


@every_solver
def test_order_rotation_and_origin_of_the_features_do_not_matter(solver: Solver) -> None:
    h = features(50, 16)
    labels = labelled(h)
    directions, b = fit(solver, h, labels)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(3))
    permuted, b_permuted = fit(solver, h[:, order], labels)
    assert torch.allclose(permuted, directions[:, order], atol=1e-8)
    rotation = torch.linalg.qr(features(16, 16, seed=4))[0]
    rotated, _ = fit(solver, h @ rotation, labels)
    assert torch.allclose(rotated, directions @ rotation, atol=1e-8)
    origin = features(1, 16, seed=5)
    moved, b_moved = fit(solver, h + origin, labels)
    assert torch.allclose(moved, directions, atol=1e-8)
    assert torch.allclose(b_moved, b - directions @ origin[0], atol=1e-7)
    assert torch.allclose(b_permuted, b, atol=1e-8)
    rows = torch.randperm(50, generator=torch.Generator().manual_seed(6))
    shuffled, _ = fit(solver, h[rows], labels[rows])
    assert torch.allclose(shuffled, directions, atol=1e-8)


@pytest.mark.parametrize("name", ["mean", "ridge", "encoding", "logistic", "ridge_balanced"])
def test_the_scale_of_the_features_does_not_matter(name: str) -> None:
    h = features(50, 16)
    labels = labelled(h)
    solver = SOLVERS[name]
    assert torch.allclose(
        solver(h @ h.mT, labels).decision(h @ h.mT).sign(),
        solver(1e4 * h @ h.mT, labels).decision(1e4 * h @ h.mT).sign(),
    )
    small, large = fit(solver, h, labels)[0], fit(solver, 100 * h, labels)[0]
    for a in range(3):
        assert cosine(small[a], large[a]) > 1 - 1e-9


@pytest.mark.parametrize("solver", [s for s in SOLVERS.values() if not s.class_weight])
def test_a_weight_of_two_is_an_image_twice(solver: Solver) -> None:
    h = features(40, 12)
    labels = labelled(h)
    weights = torch.ones(40)
    weights[:5] = 2
    twice = torch.cat([h, h[:5]])
    directions, b = fit(solver, h, labels, weights=weights)
    repeated, b_repeated = fit(solver, twice, torch.cat([labels, labels[:5]]))
    assert torch.allclose(directions, repeated, atol=1e-6)
    assert torch.allclose(b, b_repeated, atol=1e-6)


@every_solver
def test_leave_one_out_is_that(solver: Solver) -> None:
    h = features(36, 25, uneven=True)
    labels = labelled(h, rarer=0.3)
    if not solver.joint:
        labels[3:6, 1] = 0
    gram = h @ h.mT
    scores = solver.leave_one_out(gram, labels)
    assert torch.equal(scores.isnan(), labels == 0)
    weights = torch.ones_like(labels)
    for a in range(3):
        if solver.class_weight:  # those of all images
            for sign in (1, -1):
                own = labels[:, a] == sign
                weights[own, a] = (labels[:, a] != 0).sum() / (2.0 * own.sum())
    for i in range(36):
        kept = torch.arange(36) != i
        for a in range(3):
            if labels[i, a] == 0:
                continue
            plain = without_class_weight(solver, gram, labels[:, a], weights[:, a], kept)
            columns = slice(0, 3) if solver.joint else slice(a, a + 1)
            part = plain(gram[kept][:, kept], labels[kept, columns], weights[kept, a])
            expected = part.decision(gram[[i]][:, kept])[0, a if solver.joint else 0]
            assert float(scores[i, a]) == pytest.approx(float(expected), abs=1e-6)


def without_class_weight(solver, gram, y, weights, kept) -> Solver:
    """The same solver without class weights, its penalty as it is for all images."""
    weights = weights * (y != 0)

    def spread(rows):
        share = weights[rows] / weights[rows].sum()
        inner = gram[rows][:, rows]
        return float(inner.diagonal() @ share - share @ inner @ share)

    if isinstance(solver, Ridge | Logistic):
        everything = torch.ones_like(kept)
        return type(solver)(solver.alpha * spread(everything) / spread(kept))
    return SVM(solver.C) if isinstance(solver, SVM) else solver


def test_balanced_means_equal_classes() -> None:
    h = features(80, 30)
    labels = labelled(h, rarer=0.1)
    weights = torch.where(labels > 0, 80 / 16, 80 / 144).double()
    for plain, balanced in ((Ridge(0.7), "ridge_balanced"), (SVM(0.03), "svm_balanced")):
        given, _ = fit(plain, h, labels, weights=weights)
        assert torch.allclose(given, fit(SOLVERS[balanced], h, labels)[0], atol=1e-9)
        assert not torch.allclose(given, fit(plain, h, labels)[0], atol=1e-3)


def test_subsampling_keeps_as_many_of_both() -> None:
    labels = labelled(features(50, 10), rarer=0.2)
    labels[::7, 1] = 0
    kept = subsample(labels, seed=3)
    for a in range(3):
        few = int(min((labels[:, a] > 0).sum(), (labels[:, a] < 0).sum()))
        assert int(kept[labels[:, a] > 0, a].sum()) == int(kept[labels[:, a] < 0, a].sum()) == few
    assert not kept[labels == 0].any() and set(kept.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(kept, subsample(labels, seed=3))
    assert not torch.equal(kept, subsample(labels, seed=4))


@every_solver
def test_degenerate_problems_name_the_attribute(solver: Solver) -> None:
    h = features(8, 5)
    labels = labelled(h, 2)
    names = ["Smiling", "Bald"]

    def message(gram, labels, **arguments) -> str:
        with pytest.raises(HslError) as error:
            solver(gram, labels, names=names, **arguments)
        assert "\n" not in str(error.value)
        return str(error.value)

    gram = h @ h.mT
    one_class = labels.clone()
    one_class[:, 1] = -1
    assert "Bald: 0 positive and 8 negative" in message(gram, one_class)
    one_class[:, 1] = 0
    assert "Bald: 0 positive and 0 negative" in message(gram, one_class)
    assert "Smiling: " in message(gram[:1, :1], labels[:1])
    assert "Bald" in message(torch.ones(8, 8), labels) and "same" in message(gram * 0, labels)
    bad = h.clone()
    bad[5, 2] = torch.nan
    assert "image 5" in message(bad @ bad.mT, labels) and "Bald" in message(bad @ bad.mT, labels)
    odd = labels.clone()
    odd[0, 1] = 0.5
    assert "Bald: labels must be" in message(gram, odd)
    assert "weights" in message(gram, labels, weights=-torch.ones(8))
    assert "[8, 8] and [7, 2]" in message(gram, labels[:7])
    with pytest.raises(HslError, match="1 names for 2"):
        solver(gram, labels, names=["Smiling"])
    with pytest.raises(HslError, match="attribute 1: 0 positive"):
        solver(gram, torch.where(torch.arange(2) == 1, -1, labels))
    with pytest.raises(HslError, match="want 2 or more"):
        solver.leave_one_out(gram[:3, :3], torch.tensor([[1.0, 1], [-1, -1], [-1, -1]]))


@every_solver
def test_classes_of_equal_features_are_refused(solver: Solver) -> None:
    h = features(4, 3).repeat(2, 1)
    labels = torch.tensor([1.0] * 4 + [-1] * 4).double()[:, None]
    with pytest.raises(HslError, match=r"Smiling: the features do not differ"):
        solver(h @ h.mT, labels, names=["Smiling"])


@every_solver
def test_repeated_images_are_taken(solver: Solver) -> None:
    h = features(20, 30)
    labels = labelled(h, noise=0)
    twice, b = fit(solver, torch.cat([h, h]), torch.cat([labels, labels]), weights=torch.ones(40))
    if isinstance(solver, SVM | Encoding | MeanDifference):
        once, b_once = fit(solver, h, labels, weights=torch.full((20,), 2.0))
        assert torch.allclose(twice, once, atol=1e-6) and torch.allclose(b, b_once, atol=1e-6)
    assert bool(twice.isfinite().all())


def test_bad_arguments_are_refused() -> None:
    for make in (
        lambda: Ridge(0.0),
        lambda: Logistic(-1.0),
        lambda: SVM(float("inf")),
        lambda: Encoding(-0.1),
        lambda: SVM(1.0, "even"),  # type: ignore[arg-type]
    ):
        with pytest.raises(HslError):
            make()
    h = features(10, 4)
    labels = labelled(h, 1).repeat(1, 2)
    with pytest.raises(HslError, match="always go together"):
        Encoding(0.0)(h @ h.mT, labels)
    assert torch.isfinite(Encoding(0.01)(h @ h.mT, labels).coefficients).all()
    with pytest.raises(HslError, match="one weight an image"):
        Encoding()(h @ h.mT, labels, weights=torch.rand(10, 2) + 0.1)
