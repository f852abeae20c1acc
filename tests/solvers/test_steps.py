"""What each method of the support vector machine does, and in how many steps.

All of them end at the same optimum, so that a fault in one shows only in its steps.
"""

import pytest
import torch
from torch import Tensor

from hsl.solvers import SVM, interior, pivoting
from hsl.solvers import svm as module
from hsl.solvers.blocks import descend
from hsl.solvers.dual import Box, point, times, tolerance
from hsl.solvers.interior import factor
from hsl.solvers.pivoting import active_set, pivot
from linear import features, labelled, overlapping

#: n, d, noise, scale; blocks to a gap of 0.1, steps of the interior point to 1e-4 and to 1e-8
PROBLEMS = {
    "all free": (200, 400, 0.5, 1.0, 8, 6, 9),
    "some at C": (200, 150, 0.5, 0.1, 5, 5, 8),
    "hard margin": (200, 150, 0.0, 1.0, 50, 7, 10),
    "most at C": (400, 300, 0.5, 0.05, 7, 5, 8),
    "overlapping": (600, 900, 3.0, 0.03, 9, 5, 8),
    "few dimensions": (200, 10, 0.5, 1.0, 111, 10, 13),
    "few dimensions, overlapping": (300, 20, 3.0, 1.0, None, 10, 13),
    "few dimensions, separable": (300, 20, 0.0, 1.0, None, 11, 14),
}
every_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


def pose(n: int, d: int, noise: float, scale: float, *_: object) -> tuple[Tensor, Tensor, Box]:
    """Gram matrix ``[n, n]``, labels ``[n]`` and bounds of one attribute."""
    h, labels = overlapping(n, d, 0, noise)
    h, y = scale * h.double(), labels[:, 0].double()
    return h @ h.mT, y, Box.of(y, torch.ones_like(y))


def solved(gram: Tensor, y: Tensor, box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """The optimum ``[n]``, which multipliers are free there and which at their upper bound."""
    c = SVM()(gram, y[:, None]).coefficients[0]
    return c, box.inside(c), (c >= box.high) & (box.high > box.low)


def loss(gram: Tensor, y: Tensor, c: Tensor) -> float:
    return float(0.5 * c @ gram @ c - y @ c)


def inside(c: Tensor, box: Box) -> bool:
    return bool(((box.low <= c) & (c <= box.high)).all()) and abs(float(c.sum())) < 1e-10


def counted(monkeypatch: pytest.MonkeyPatch, where: object, name: str) -> list[None]:
    """A list that grows with every call of a function."""
    calls: list[None] = []
    function = getattr(where, name)

    def call(*arguments, **named):
        calls.append(None)
        return function(*arguments, **named)

    monkeypatch.setattr(where, name, call)
    return calls


@every_problem
def test_blocks_go_down_to_their_gap(problem) -> None:
    gram, y, box = pose(*problem)
    needed, before = problem[4], 0.0
    start = torch.zeros_like(y)
    for blocks in range(1, 1 + min(needed or 20, 20)):
        c, reached = descend(gram, y, box, start, 0.1, blocks)
        assert inside(c, box)
        now = loss(gram, y, c)
        assert now <= before + 1e-12 * abs(before)
        before = now
        assert not reached or point(gram, y, box, c).gap <= 0.1
    c, reached = descend(gram, y, box, start, 0.1, round(1.2 * (needed or 20)) + 1)
    assert reached == (needed is not None)
    assert not bool(start.any())


def test_blocks_go_on_from_where_they_were() -> None:
    gram, y, box = pose(*PROBLEMS["hard margin"])
    zero = torch.zeros_like(y)
    part, _ = descend(gram, y, box, zero, 0.1, 20)
    there, reached = descend(gram, y, box, part, 0.1, 40)
    assert reached and loss(gram, y, there) < loss(gram, y, part)
    again, reached = descend(gram, y, box, there, 0.1, 1)
    assert reached and torch.equal(again, there)


def test_blocks_of_images_that_repeat() -> None:
    """Where features say nothing of a pair, its multipliers go as far as the box is wide."""
    gram, y, box = pose(*PROBLEMS["some at C"])
    twice = gram.repeat(2, 2)
    double = Box(box.low.repeat(2), box.high.repeat(2))
    c, reached = descend(twice, y.repeat(2), double, torch.zeros(400).double(), 0.1, 20)
    assert reached and inside(c, double)


@every_problem
def test_an_interior_point_tells_which_are_free(problem, monkeypatch) -> None:
    gram, y, box = pose(*problem)
    c, free, top = solved(gram, y, box)
    steps = counted(monkeypatch, interior, "_solver")
    z = factor(gram)
    assert (z is None) == (problem[1] > 100)
    seen = []
    for near, may_move, at_top in interior.interior(gram, z, y, box):
        assert bool(((box.low - 1e-9 < near) & (near < box.high + 1e-9)).all())
        assert abs(float(near.sum())) < 1e-9
        assert not bool((may_move & at_top).any())
        wrong = int((may_move != free).sum() + (at_top != top).sum())
        seen.append((len(steps), wrong, float((near - c).abs().max())))
    at = [count for count, *_ in seen]
    assert at[0] <= problem[5] + 1 and at[2] <= problem[6] + 1 and len(seen) == 4
    wrong = [number for _, number, _ in seen]
    assert wrong[0] <= 0.03 * len(y) and wrong[2] == 0
    assert seen[0][2] > 10 * seen[2][2]  # nearer and nearer


def test_an_interior_point_ends_after_its_steps(monkeypatch) -> None:
    gram, y, box = pose(*PROBLEMS["some at C"])
    steps = counted(monkeypatch, interior, "_solver")
    (last,) = interior.interior(gram, None, y, box, most=3)
    assert len(steps) == 3 and bool((last[0] > box.low).all())


@pytest.mark.parametrize("dimensions", [None, 10])
def test_a_step_solves_its_equations(dimensions: int | None) -> None:
    gram, y, _ = pose(*PROBLEMS["few dimensions" if dimensions else "all free"])
    diagonal = torch.rand(len(y), generator=torch.Generator().manual_seed(0)).double() + 0.1
    solve = interior._solver(gram, factor(gram), diagonal)
    assert solve is not None
    x = solve(y)
    assert float((gram @ x + diagonal * x - y).abs().max()) < 1e-9
    negative = -gram.diagonal().max() * torch.ones_like(y)
    if dimensions is None:
        assert interior._solver(gram, None, negative) is None


def test_newtons_direction_is_that_of_the_conditions() -> None:
    gram, y, box = pose(*PROBLEMS["some at C"])
    c = box.low + 0.3 * (box.high - box.low)
    one = torch.ones_like(c)
    at = interior._Iterate(c, y.new_tensor(0.5), c - box.low, box.high - c, 2 * one, 3 * one)
    solve = interior._solver(gram, None, at.lower / at.room + at.upper / at.left)
    assert solve is not None
    off, low, high = 0.1 * y, 0.2 * one, -0.3 * one
    move = at.direction(solve, solve(one), off, low, high)
    assert torch.allclose(gram @ move.c + move.b - move.lower + move.upper, off, atol=1e-10)
    assert torch.allclose(at.lower * move.room + at.room * move.lower, low, atol=1e-10)
    assert torch.allclose(at.upper * move.left + at.left * move.upper, high, atol=1e-10)
    assert float((at.c + move.c).sum()) == pytest.approx(0, abs=1e-10)
    assert torch.equal(move.room, move.c) and torch.equal(move.left, -move.c)
    assert float(at.mean) == pytest.approx(float((2 * at.room + 3 * at.left).mean() / 2))


def test_reach_is_the_first_bound() -> None:
    values = [torch.tensor([1.0, 2.0]).double() for _ in range(6)]
    at = interior._Iterate(*values)
    still = [torch.zeros(2).double() for _ in range(6)]
    assert at.reach(interior._Iterate(*still)) == pytest.approx(1.01)
    for i in range(2, 6):
        moves = [*still]
        moves[i] = torch.tensor([5.0, -4.0]).double()
        assert at.reach(interior._Iterate(*moves)) == pytest.approx(0.5)
        assert torch.equal(at.moved(interior._Iterate(*moves), 0.5)[i], torch.tensor([3.5, 0]))
    moves = [torch.tensor([-9.0, -9]).double()] * 2 + still[2:]  # c and b have no bound
    assert at.reach(interior._Iterate(*moves)) == pytest.approx(1.01)


@pytest.mark.parametrize(("n", "d"), [(160, 3), (160, 48), (300, 60), (700, 150), (2100, 640)])
def test_few_dimensions_are_found(n: int, d: int) -> None:
    h = overlapping(n, d, 0)[0].double()
    gram = h @ h.mT
    z = factor(gram)
    assert z is not None and d <= z.shape[1] <= min(640, n // 3)
    assert float((z @ z.mT - gram).abs().max()) < 1e-7 * float(gram.abs().max())


@pytest.mark.parametrize(("n", "d"), [(143, 5), (160, 60), (600, 220), (2100, 700)])
def test_many_dimensions_are_no_few(n: int, d: int) -> None:
    h = overlapping(n, d, 0)[0].double()
    assert factor(h @ h.mT) is None


@every_problem
def test_pivoting_ends_in_one_step_at_the_optimum(problem, monkeypatch) -> None:
    gram, y, box = pose(*problem)
    c, free, top = solved(gram, y, box)
    solves = counted(monkeypatch, pivoting, "_free")
    found = pivot(gram, y, box, c, free, top)
    assert found is not None and torch.allclose(found, c, atol=1e-9) and len(solves) == 1


@every_problem
def test_pivoting_mends_what_is_wrong(problem, monkeypatch) -> None:
    """Of a hundred multipliers three change places, free ones with such as are at a bound."""
    gram, y, box = pose(*problem)
    c, free, top = solved(gram, y, box)
    g = torch.Generator().manual_seed(0)
    wrong = torch.rand(len(y), generator=g) < 0.03
    solves = counted(monkeypatch, pivoting, "_free")
    found = pivot(gram, y, box, c, free ^ wrong, top & ~wrong)
    assert found is not None and len(solves) <= 10
    assert torch.allclose(gram @ found, gram @ c, atol=1e-7 * float(gram.diagonal().mean()))


def test_pivoting_sees_a_bound_behind_rounding() -> None:
    """What is at a bound but for rounding is not free."""
    gram, y, box = pose(*PROBLEMS["most at C"])
    c, free, top = solved(gram, y, box)
    near = torch.where(top, c - 1e-15, c)
    found = pivot(gram, y, box, near, free | top, torch.zeros_like(top))
    assert found is not None and torch.equal(found[top], box.high[top])


@pytest.mark.parametrize("name", ["some at C", "most at C", "few dimensions"])
def test_what_may_not_move_is_never_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gram, y, box = pose(*PROBLEMS[name])
    others = torch.arange(len(y)) % 5 > 0
    rest = Box(box.low.where(others, 0), box.high.where(others, 0))
    kept = others.nonzero()[:, 0]
    part = SVM()(gram[kept][:, kept], y[kept, None]).coefficients[0]
    c = torch.zeros_like(y)
    c[kept] = part
    free, top = rest.inside(c), (c >= rest.high) & others
    solves = counted(monkeypatch, pivoting, "_free")
    found = pivot(gram, y, rest, c, free, top)
    assert found is not None and torch.allclose(found, c, atol=1e-9) and len(solves) == 1
    stays = active_set(gram, y, rest, found, 5)
    assert torch.equal(stays, found)
    start, _ = descend(gram, y, rest, torch.zeros_like(y), 0.5, 40)
    end = active_set(gram, y, rest, start, 600)
    assert bool((end[~others] == 0).all()) and point(gram, y, rest, end).gap < 1e-9


def test_pivoting_without_a_free_multiplier() -> None:
    """All at C: the sum must be 0 by itself."""
    gram, y, _ = pose(*PROBLEMS["few dimensions"])
    small = 1e-9
    pairs = torch.cat([(y > 0).nonzero()[:50, 0], (y < 0).nonzero()[:50, 0]])
    gram, y = gram[pairs][:, pairs], y[pairs]
    box = Box.of(y, torch.full_like(y, small))
    c = torch.where(y > 0, box.high, box.low)
    free = torch.zeros_like(y, dtype=torch.bool)
    found = pivot(gram, y, box, c, free, y > 0)
    assert found is not None and torch.equal(found, c)
    tilted = pivot(gram, y, box, c, free, torch.ones_like(free))  # the sum is not 0
    assert tilted is None


@pytest.mark.parametrize("name", ["some at C", "hard margin", "few dimensions", "most at C"])
def test_single_steps_reach_the_optimum_and_never_rise(name: str) -> None:
    gram, y, box = pose(*PROBLEMS[name])
    if name == "few dimensions":
        gram, y, box = gram[:60, :60], y[:60], Box(box.low[:60], box.high[:60])
    c, *_ = solved(gram, y, box)
    start, _ = descend(gram, y, box, torch.zeros_like(y), 0.5, 40)
    now, before = start, loss(gram, y, start)
    for _ in range(6):
        now = active_set(gram, y, box, now, 3)
        assert inside(now, box) and loss(gram, y, now) <= before + 1e-12
        before = loss(gram, y, now)
    assert before < loss(gram, y, start)
    end = active_set(gram, y, box, start, 600)
    assert inside(end, box) and point(gram, y, box, end).gap < 1e-9
    assert loss(gram, y, end) == pytest.approx(loss(gram, y, c), rel=1e-9)
    assert torch.equal(active_set(gram, y, box, end, 5), end)


def test_products_of_few_multipliers() -> None:
    gram, *_ = pose(*PROBLEMS["all free"])
    c = torch.zeros(200).double()
    for count in (0, 1, 50, 51, 200):
        c[:count] = torch.randn(count, generator=torch.Generator().manual_seed(0)).double()
        assert torch.allclose(times(gram, c), gram @ c, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 1e-3, 0.3, 0.7, 0.999, 1.0])
def test_the_nearest_point_of_a_sum(share: float) -> None:
    """v + m cut to the box, for the m that gives the sum: the conditions of the projection."""
    g = torch.Generator().manual_seed(1)
    v = 3 * torch.randn(20, generator=g).double()
    box = Box(-torch.rand(20, generator=g).double(), torch.rand(20, generator=g).double())
    low, high = float(box.low.sum()), float(box.high.sum())
    total = v.new_tensor(low + share * (high - low))
    near = box.nearest(v, total)
    assert float(near.sum()) == pytest.approx(float(total), abs=1e-12)
    assert bool(((box.low <= near) & (near <= box.high)).all())
    m = (near - v)[box.inside(near)]
    assert 0 < share < 1 or not len(m)
    if len(m):
        assert float(m.max() - m.min()) < 1e-12
        assert bool((near - v <= m[0] + 1e-12)[near == box.high].all())
        assert bool((near - v >= m[0] - 1e-12)[near == box.low].all())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_tolerance_is_the_error_of_a_product(scale: float) -> None:
    gram, y, _ = pose(200, 10, 0.5, scale)
    lengths, c = gram.diagonal().sqrt(), y * 1e6
    error = float((lengths[:, None] * lengths * c.abs()).sum(1).max())
    assert tolerance(gram, c) == pytest.approx(max(1e-11, 1e-13 * error))


# Which method is taken


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Methods that must not be asked."""

    def asked(*_, **__):
        raise AssertionError("asked")

    for name in names:
        monkeypatch.setattr(module, name, asked)


def test_the_closed_form_is_asked_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    h = features(290, 9000)
    labels = labelled(h, 4)
    expected = [SVM()(h @ h.mT, labels[:, [a]]).coefficients[0] for a in range(4)]
    asked = counted(monkeypatch, module, "_closed")
    refuse(monkeypatch, "optimum")
    found = SVM()(h @ h.mT, labels).coefficients
    assert len(asked) == 1 and torch.allclose(found, torch.stack(expected), atol=1e-10)


def test_many_images_of_few_attributes_are_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the closed form may hold shows at the first; it is asked for the others alone."""
    h = features(310, 9000)
    labels = labelled(h, 2)
    asked, tried = (counted(monkeypatch, module, name) for name in ("_closed", "optimum"))
    SVM()(h @ h.mT, labels)
    assert (len(asked), len(tried)) == (1, 1)
    SVM()(1e-6 * h @ h.mT, labels)  # the first is at C: for none
    assert (len(asked), len(tried)) == (1, 3)


@pytest.mark.parametrize("name", ["all free", "some at C", "hard margin", "most at C"])
def test_many_dimensions_need_no_interior_point(name: str, monkeypatch) -> None:
    gram, y, box = pose(*PROBLEMS[name])
    refuse(monkeypatch, "interior", "active_set")
    module.optimum(gram, y, box, torch.zeros_like(y), None)


@pytest.mark.parametrize("name", [name for name in PROBLEMS if name.startswith("few")])
def test_few_dimensions_need_no_blocks(name: str, monkeypatch) -> None:
    gram, y, box = pose(*PROBLEMS[name])
    refuse(monkeypatch, "descend", "active_set")
    found = module.optimum(gram, y, box, torch.zeros_like(y), factor(gram))
    again = module.optimum(gram, y, box, found.c, factor(gram))
    assert torch.allclose(again.c, found.c, atol=1e-9) and found.gap < 1e-9


def test_leaving_out_one_of_free_ones_needs_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most answers come from one inverse matrix."""
    h = features(60, 2000)
    labels = labelled(h, 1)
    labels[0] = -labels[0]
    gram = h @ h.mT
    fits = counted(monkeypatch, module, "optimum")
    SVM().leave_one_out(gram, labels)
    assert len(fits) <= 3


def test_leaving_out_one_of_images_that_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their equations are the same, but for what keeps the inverse matrix finite."""
    h = features(60, 2000)
    h -= h.mean(0)
    labels = labelled(h, 1)
    h[:3], labels[:3] = h[-3:], labels[-3:].clone()
    fits = counted(monkeypatch, module, "optimum")
    SVM().leave_one_out(h @ h.mT, labels)
    assert len(fits) <= 3


def test_leaving_out_one_where_few_are_at_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is at C is no part of the inverse matrix; most keep their places."""
    h = features(60, 2000)
    h -= h.mean(0)
    labels = labelled(h, 1)
    h[:3] *= 0.5  # short, so that their multipliers are large
    gram = h @ h.mT
    c = SVM()(gram, labels).coefficients[0].abs()
    bound = float(c[:3].min() + c[3:].max()) / 2
    fits = counted(monkeypatch, module, "optimum")
    SVM(bound).leave_one_out(gram, labels)
    assert 0 < len(fits) <= 3


@pytest.mark.parametrize("name", ["some at C", "few dimensions", "few dimensions, overlapping"])
def test_leaving_one_out_is_a_fit_of_the_others(name: str) -> None:
    gram, y, _ = pose(*PROBLEMS[name])
    scores = SVM().leave_one_out(gram, y[:, None])[:, 0]
    for i in range(0, len(y), 13):
        kept = torch.arange(len(y)) != i
        part = SVM()(gram[kept][:, kept], y[kept, None])
        expected = float(part.decision(gram[[i]][:, kept]))
        assert float(scores[i]) == pytest.approx(expected, abs=1e-7)
