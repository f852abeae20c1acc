"""Statistics of latents: what holds of Gaussian noise, and what shows that it is something else."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from hsl.errors import HslError
from hsl.study.gaussian import (
    class_distances,
    expected_cosine,
    kolmogorov_smirnov,
    neighbours,
    statistics,
    summary,
)

N, SHAPE = 400, (3, 16, 16)
D = math.prod(SHAPE)


def noise(n: int = N, shape=SHAPE, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def test_gaussian_noise() -> None:
    """Every mean is within four standard errors of what theory says."""
    found = statistics(noise())
    expected = {
        "norm": (math.exp(math.lgamma((D + 1) / 2) - math.lgamma(D / 2)) * math.sqrt(2 / D),
                 1 / math.sqrt(2 * D)),
        "mean": (0, 1 / math.sqrt(D)),
        "variance": (1 - 1 / D, math.sqrt(2 / D)),
        "skewness": (0, math.sqrt(6 / D)),
        "kurtosis": (-6 / (D + 1), math.sqrt(24 / D)),
        "ks": (0.8687 / math.sqrt(D), 0.2603 / math.sqrt(D)),  # Kolmogorov's distribution
        "p": (0.5, math.sqrt(1 / 12)),
        "cosine": (expected_cosine(D), 1 / math.sqrt(D)),
        "neighbours": (-1 / 255, 1 / math.sqrt(2 * 3 * 16 * 15)),
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for name, (mean, deviation) in expected.items():
        assert found[name].shape == (N,) and found[name].dtype == torch.float64
        # 2 / sqrt(d) more for limits of large d
        assert abs(found[name].mean() - mean) < deviation * (4 / N**0.5 + 2 / D**0.5), name
    share = summary(noise())["not_normal"]
    assert abs(share - 0.05) < 4 * math.sqrt(0.05 * 0.95 / N)


def test_moments_equal_scipy() -> None:
    x = noise(5) ** 2 + 0.3 * noise(5, seed=1)
    found, rows = statistics(x), x.flatten(1).double().numpy()
    for name, direct in (("skewness", stats.skew), ("kurtosis", stats.kurtosis)):
        assert found[name].numpy() == pytest.approx(direct(rows, axis=1), rel=1e-9)
    assert found["variance"].numpy() == pytest.approx(rows.var(axis=1), rel=1e-9)
    assert found["norm"].numpy() == pytest.approx((rows**2).mean(axis=1) ** 0.5, rel=1e-9)


@pytest.mark.parametrize("d", [64, 1000])
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1.05, 0), (1, 0.1), (0.7, 0.3)])
def test_the_normality_test_equals_scipy(d: int, scale: float, offset: float) -> None:
    x = scale * noise(20, (d,)).double() + offset
    distance, p = kolmogorov_smirnov(x)
    for row, found, value in zip(x, distance, p, strict=True):
        direct = stats.kstest(row.numpy(), "norm")
        assert float(found) == pytest.approx(direct.statistic, abs=1e-12)
        assert float(value) == pytest.approx(direct.pvalue, abs=1e-3, rel=0.1)


def test_a_perfect_fit_has_a_p_value_of_one() -> None:
    quantiles = torch.special.ndtri((torch.arange(500).double() + 0.5) / 500)
    distance, p = kolmogorov_smirnov(quantiles[None])
    assert float(distance) == pytest.approx(1 / 1000) and float(p) == 1
    assert 0 <= float(kolmogorov_smirnov(quantiles[None] + 5)[1]) < 1e-12


@pytest.mark.parametrize(
    ("planted", "shows"),
    [
        (lambda x: 0.7 * x, {"norm": 0.7, "variance": 0.49}),
        (lambda x: x + 0.3, {"mean": 0.3, "cosine": 0.09 / 1.09}),
        (lambda x: torch.empty_like(x).exponential_(generator=torch.Generator().manual_seed(0)) - 1,
         {"skewness": 2, "kurtosis": 6}),
        (lambda x: x.sign(), {"kurtosis": -2, "norm": 1}),
        (lambda x: (x + 2 * noise(1, seed=9)) / 5**0.5, {"cosine": 0.8}),
        (lambda x: x.roll(1, -1) / 2**0.5 + x / 2**0.5, {"neighbours": 0.25}),
    ],
    ids=["scaled", "shifted", "exponential", "signs", "alike", "smooth"],
)  # fmt: skip
def test_what_is_planted_shows(planted, shows: dict[str, float]) -> None:
    found, plain = summary(planted(noise(60))), summary(noise(60))
    for name, value in shows.items():
        assert found[name] == pytest.approx(value, rel=0.12, abs=0.01), name
    for name in ("skewness", "kurtosis", "neighbours", "mean"):
        if name not in shows:  # smooth and alike samples are Gaussian in each coordinate
            assert abs(found[name] - plain[name]) < 0.2, name
    if "neighbours" not in shows and shows != {"cosine": 0.8}:
        assert found["not_normal"] > 0.9 > 0.2 > plain["not_normal"]


def test_intervals_cover_the_mean() -> None:
    for name, value in (("variance", 1 - 1 / D), ("mean", 0.0), ("kurtosis", -6 / (D + 1))):
        covers = []
        for seed in range(60):
            low, high = summary(noise(40, seed=seed))[f"{name}_ci"]
            covers.append(low < value < high)
        assert sum(covers) / 60 > 0.85


def test_neighbours_of_known_pictures() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(8)[None].repeat(16, 1)[None, None]
    # across they alternate, along they agree
    assert float(neighbours(stripes)) == pytest.approx(0, abs=1e-12)
    chequers = stripes * stripes.mT
    assert float(neighbours(chequers)) == pytest.approx(-1)
    halves = torch.ones(1, 1, 16, 16)
    halves[..., 8:] = -1
    assert float(neighbours(halves)) == pytest.approx((15 + 13) / 30)
    # an offset of a channel is no correlation
    offset = noise(4) + torch.tensor([5.0, -5.0, 0.0])[:, None, None]
    assert torch.allclose(neighbours(offset), neighbours(noise(4)), atol=1e-5)


@pytest.mark.parametrize("d", [2, 3, 192, 196608])
def test_the_expected_cosine(d: int) -> None:
    exact = {2: 2 / math.pi, 3: 0.5}  # of the circle and the sphere
    assert expected_cosine(d) == pytest.approx(
        exact.get(d, math.sqrt(2 / (math.pi * d))), rel=1 / d if d > 3 else 1e-12
    )


def test_class_distances_have_no_bias() -> None:
    """Of a few images in many dimensions, where the plain distance is far too large."""
    d, true = 500, 2.0
    labels = (torch.arange(30) % 3 == 0).double()[:, None]
    mean = torch.zeros(d).double()
    mean[0] = true
    squares, plain = [], []
    for seed in range(40):
        x = noise(30, (d,), seed).double() + labels * mean
        found = float(class_distances(x, labels))
        squares.append(0.0 if math.isnan(found) else found**2)
        plain.append(float((x[labels[:, 0] == 1].mean(0) - x[labels[:, 0] == 0].mean(0)).norm()))
    assert sum(squares) / 40 == pytest.approx(true**2, rel=0.2)
    assert min(plain) > 3 * true
    both = torch.cat([labels, 1 - labels, 0 * labels, labels.where(labels == 1, torch.nan)], dim=1)
    x = 5 * labels * mean + 0.01 * noise(30, (d,)).double()
    assert torch.allclose(
        class_distances(x, both),
        torch.tensor([10, 10, torch.nan, torch.nan]).double(), rtol=1e-2, equal_nan=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(1, 3, 8, 8), "two or more"),
        (torch.zeros(4, 3, 8), "two or more"),
        (torch.zeros(4, 3, 8, 1), "s above 1"),
        (torch.full((4, 3, 8, 8), torch.nan), "NaN"),
    ],
)
def test_what_is_no_latents_is_refused(latents: Tensor, message: str) -> None:
    with pytest.raises(HslError, match=message):
        statistics(latents)
