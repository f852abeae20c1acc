"""Intervals hold the truth as often as they say: simulated, from fixed seeds."""

import math

import pytest
import torch
from torch import Tensor

from hsl.confidence import (
    bca,
    bootstrap,
    largest,
    of_quantile,
    of_share,
    over_seeds,
    wilson,
)

G = torch.Generator


def within(truth: float, intervals: list[tuple[float, float]]) -> float:
    return sum(low <= truth <= high for low, high in intervals) / len(intervals)


def test_known_wilson_intervals() -> None:
    # 81 of 263 is the example of Newcombe (1998, Statistics in Medicine 17, table I)
    assert wilson(torch.tensor(81 / 263), torch.tensor(263)).tolist() == pytest.approx(
        [0.2553, 0.3662], abs=1e-4
    )
    assert wilson(torch.tensor(0.0), torch.tensor(20)).tolist() == pytest.approx(
        [0, 0.1611], abs=1e-4
    )


@pytest.mark.parametrize("n", [64, 128])
@pytest.mark.parametrize("p", [0.9, 0.95, 0.99, 1.0])
def test_a_share_of_images(n: int, p: float) -> None:
    hits = torch.rand(2000, n, generator=G().manual_seed(n)).lt(p).double()
    low, high = wilson(hits.mean(1), torch.tensor(n).double()).unbind(-1)
    assert float(((low <= p) & (p <= high)).double().mean()) >= 0.93
    assert of_share(hits[0]) == (float(low[0]), float(high[0]))


def test_sixty_four_of_sixty_four_is_not_certain() -> None:
    low, high = of_share([True] * 64)
    assert low == pytest.approx(0.9434, abs=1e-4) and high == 1
    assert all(map(math.isnan, of_share([])))


@pytest.mark.parametrize("n", [64, 128])
def test_a_mean_of_skewed_values(n: int) -> None:
    """As its docstring says: 0.90 or more of an exponential distribution's mean."""
    g = G().manual_seed(0)
    found = [bootstrap(torch.empty(n).exponential_(generator=g)) for _ in range(60)]
    assert within(1.0, found) >= 0.88  # 0.90, less what 60 trials may miss


def test_bca_is_not_the_percentiles_of_skewed_values() -> None:
    """The long tail lies above the mean: both ends go up (Efron 1987)."""
    values = torch.randn(100, generator=G().manual_seed(0)).exp()
    rows = [torch.randint(100, (100,), generator=G().manual_seed(i)) for i in range(1000)]
    means = torch.stack([values[r].mean() for r in rows]).double()
    low, high = bootstrap(values)
    assert low > float(means.quantile(0.025)) and high > float(means.quantile(0.975))


def test_bca_of_several_statistics_and_of_none() -> None:
    values = torch.rand(30, 2, generator=G().manual_seed(0)).double()
    low, high = bca(values, lambda rows: torch.stack([rows[:, 0].mean(), rows.sum() * torch.nan]))
    assert float(low[0]) < float(values[:, 0].mean()) < float(high[0])
    assert bool(low[1].isnan()) and bool(high[1].isnan())
    assert bootstrap(values[:, 0]) == (float(low[0]), float(high[0]))
    assert bootstrap([1.0, 1.0, 1.0]) == (1.0, 1.0)
    assert all(map(math.isnan, bootstrap([1.0])))


@pytest.mark.parametrize(
    "shares", [[0.2] + [0.02] * 11, [0.1, 0.1] + [0.02] * 10, [0.05] * 12], ids=str
)
def test_the_largest_of_several_means(shares: list[float]) -> None:
    """Whether one stands out, two are alike, or all: percentiles would hold 0.01 of the last."""
    g, p = G().manual_seed(0), torch.tensor(shares)

    def draw() -> Tensor:
        size = 0.5 + 0.5 * torch.rand(64, 12, generator=g)
        return (torch.rand(64, 12, generator=g) < p) * size

    truth = 0.75 * float(p.max())
    assert within(truth, [largest(draw(), least=0) for _ in range(250)]) >= 0.92
    assert largest(torch.zeros(9, 2)) == (0, 0) and math.isnan(largest(torch.ones(1, 2))[0])


@pytest.mark.parametrize(("q", "n"), [(0.5, 64), (0.05, 128), (0.5, 7)])
def test_a_quantile(q: float, n: int) -> None:
    values = torch.rand(1000, n, generator=G().manual_seed(0))
    assert 0.95 <= within(q, [of_quantile(row, q) for row in values]) <= 0.99


def test_a_quantile_that_few_values_cannot_bound() -> None:
    values = torch.arange(10.0)
    assert of_quantile(values, 0.05) == (0, 2) and math.isnan(of_quantile(values[:0], 0.5)[0])


@pytest.mark.parametrize("by_seed", [1.0, 0.1])
def test_over_seeds_and_images(by_seed: float) -> None:
    """Images count for all seeds; three seeds that differ make it far wider than one seed's."""
    g, found, alone = G().manual_seed(0), [], []
    for _ in range(40):
        of_seed, of_image = torch.randn(3, 1, generator=g), torch.randn(1, 64, generator=g)
        values = by_seed * of_seed + of_image + 0.3 * torch.randn(3, 64, generator=g)
        found.append(over_seeds(values, torch.mean))
        alone.append((float(values[0].mean()) - 0.25, float(values[0].mean()) + 0.25))
    assert within(0.0, found) >= 0.88
    if by_seed == 1.0:
        assert within(0.0, alone) < 0.5  # what an interval over images alone holds


def test_one_seed_says_nothing_of_others() -> None:
    values = torch.rand(1, 40, 2, generator=G().manual_seed(0)).double()

    def first(rows: Tensor) -> Tensor:
        return rows[:, 0].mean()

    assert over_seeds(values, first) == bootstrap(values[0], first)


def test_a_maximum_over_seeds_is_mirrored() -> None:
    values = torch.rand(3, 64, 8, generator=G().manual_seed(0)).double()

    def worst(rows: Tensor) -> Tensor:
        return rows.mean(0).max()

    low, high = over_seeds(values, worst, maximum=True)
    figure = float(torch.stack([worst(one) for one in values]).mean())
    assert high - figure == pytest.approx(figure - low)
    assert low < over_seeds(values, worst)[0]


def test_ends_are_those_of_95_percent_by_a_thousand_resamples(monkeypatch) -> None:
    """Of a mean of many normal numbers 1.96 standard errors away; 90% would be 1.64."""
    values = torch.randn(400, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    error, draw, drawn = float(values.std()) / 20, torch.randint, [0]

    def counting(high: int, size: tuple[int, ...], **more) -> torch.Tensor:
        drawn[0] += size[0] if len(size) == 2 else 1
        return draw(high, size, **more)

    monkeypatch.setattr(torch, "randint", counting)
    alike = values.expand(2, 400)
    for interval in (bootstrap(values), largest(values[:, None]), over_seeds(alike, torch.mean)):
        half = (interval[1] - interval[0]) / 2
        assert half == pytest.approx(1.96 * error, rel=0.08)
    assert drawn[0] == 4000  # thousands of images, and over seeds one of seeds
