"""95% confidence intervals of figures of images.

A share of images: `wilson`. A mean, or any other figure of all images: `bca`. The largest of
several means: `largest`. A quantile: `of_quantile`. A mean over seeds as well: `over_seeds`. Each
takes the images (and the seeds) for a sample of those there could have been: it says how far the
figure would move on other images, not on other data. How often each holds what it says is
simulated in tests/test_confidence.py.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

LEVEL = 0.95
Z = 1.959963984540054  # of a two-sided level of 0.95
RESAMPLES = 1000
_AT_ONCE = 2**22  # rows of all resamples drawn together
Statistic = Callable[[Tensor], Tensor]


def wilson(rate: Tensor, n: Tensor) -> Tensor:
    """Score interval ``[..., 2]`` of a rate p in n trials (Wilson 1927):
    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n). Not empty at 0 and 1,
    where resamples are all alike: 64 of 64 give [0.943, 1]."""
    centre = (rate + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * (rate * (1 - rate) / n + (Z / (2 * n)) ** 2).sqrt() / (1 + Z**2 / n)
    return torch.stack([centre - half, centre + half], -1).clamp(0, 1)


def of_share(hits: Tensor | Sequence[bool]) -> tuple[float, float]:
    """`wilson` of the share of ``hits [N]`` in {0, 1}; NaN without any."""
    outcomes = torch.as_tensor(hits).double()
    low, high = wilson(outcomes.mean(), torch.tensor(len(outcomes)).double()).tolist()
    return low, high


def bootstrap(
    values: Tensor | Sequence[float], statistic: Statistic = torch.mean
) -> tuple[float, float]:
    """`bca` of one ``statistic`` of the rows of ``values [N]`` or ``[N, V]``. For a share of
    images take `of_share`."""
    rows = torch.as_tensor(values, dtype=torch.float64)
    low, high = bca(rows, lambda sample: statistic(sample)[None])
    return low.item(), high.item()


def bca(values: Tensor, statistics: Statistic) -> tuple[Tensor, Tensor]:
    """Bias-corrected and accelerated bootstrap (Efron 1987): ends ``[K]`` of the intervals of K
    ``statistics`` of the rows of ``values [N, ...]``, all from the same 1,000 resamples, which are
    drawn from a fixed seed.

    The ends are the quantiles Phi(b + (b + z) / (1 - a (b + z))) of the resamples, z = -Z and Z:
    b is Phi^-1 of the share of resamples below the figure, and a = sum d_i^3 / 6 (sum d_i^2)^1.5
    with d_i the mean over i of the figures without row i, minus the figure without row i.

    For means of skewed values, and for ratios such as ``closed``, of 64 images or more it covers
    0.90 to 0.94 rather than 0.95: a long tail seldom shows in few images. Where all rows are alike
    the interval is a point, which says nothing of other images. NaN for fewer than two rows. A
    resample for which a statistic has no value (NaN) does not count.
    """
    n = len(values)
    observed = statistics(values).double()
    if n < 2:
        return torch.full_like(observed, torch.nan), torch.full_like(observed, torch.nan)
    draws = torch.stack([statistics(values[rows]).double() for rows in _resamples(n)])
    indices = torch.arange(n)
    left_out = torch.stack([statistics(values[indices != i]).double() for i in range(n)])
    away = left_out.nanmean(0) - left_out
    skew = away.pow(3).nansum(0) / (6 * away.square().nansum(0).pow(1.5))
    skew = skew.nan_to_num(0, 0, 0)
    known = (~draws.isnan()).sum(0)
    # ties are close, not equal: the same images may be summed in another order
    tied = torch.isclose(draws, observed.expand_as(draws), rtol=1e-6, atol=1e-12)
    below = (((draws < observed) & ~tied).sum(0) + 0.5 * tied.sum(0)) / known
    least = 0.5 / known
    bias = torch.special.ndtri(below.clamp(least, 1 - least))
    ends = []
    for z in (-Z, Z):
        shifted = bias + z
        tail = torch.special.ndtr(bias + shifted / (1 - skew * shifted))
        columns = zip(draws.mT, tail, strict=True)
        ends.append(torch.stack([column.nanquantile(q.nan_to_num(0.5)) for column, q in columns]))
    return ends[0], ends[1]


def largest(values: Tensor, least: float = -math.inf) -> tuple[float, float]:
    """Interval of the largest of the V columns' true means, from ``values [N, V]``: the largest
    mean found, plus and minus what it exceeds that by in 97.5% of 1,000 resamples, the maximum
    being taken anew in each; not below ``least``.

    The largest of several means that are found lies above the largest true mean, and the largest
    of a resample lies higher still: where columns are close to each other, the middle 95% of the
    resamples lies above the truth. So the lower end is as far below the figure as the upper end is
    above it. Covers 0.93 or more of 64 images, whether one column stands out or all are alike
    (where it is wider than it need be). NaN for fewer than two rows.
    """
    if len(values) < 2:
        return math.nan, math.nan
    observed = values.mean(0).max()
    n, generator = len(values), torch.Generator().manual_seed(0)
    draws, at_once = [], max(1, _AT_ONCE // n)
    for start in range(0, RESAMPLES, at_once):
        rows = torch.randint(n, (min(at_once, RESAMPLES - start), n), generator=generator)
        times = torch.zeros(rows.shape, dtype=torch.float64)
        times.scatter_add_(1, rows, torch.ones_like(times))
        draws.append((times @ values.double() / n).amax(1))
    high = torch.cat(draws).quantile((1 + LEVEL) / 2)
    return max(least, float(2 * observed - high)), float(high)


def of_quantile(values: Tensor, q: float) -> tuple[float, float]:
    """Interval of the quantile ``q`` of the values that ``values [N]`` were drawn from, between
    two of them: as many are below it as a binomial count says, whatever their distribution.
    Where too few were drawn to bound it on one side (the 5th percentile of fewer than 72), that
    end is the least or the greatest of them, and is passed more often than in 2.5%."""
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    k = torch.arange(n + 1, dtype=torch.float64)
    logs = torch.lgamma(torch.tensor(n + 1.0).double()) - torch.lgamma(k + 1)
    logs = logs - torch.lgamma(n - k + 1) + k * math.log(q) + (n - k) * math.log1p(-q)
    at_most = logs.exp().cumsum(0)  # P(count <= k)
    tail = (1 - LEVEL) / 2
    # P(count < low + 1) and P(count >= high + 1) are at most the tail
    low = max(0, int((at_most <= tail).sum()) - 1)
    high = min(n - 1, int((at_most < 1 - tail).sum()))
    ordered = values.sort().values
    return float(ordered[low]), float(ordered[high])


def over_seeds(values: Tensor, statistic: Statistic, maximum: bool = False) -> tuple[float, float]:
    """Two-level bootstrap of the mean over seeds of ``statistic``, from ``values [S, N, ...]`` of
    S seeds on the same N images: each of 1,000 resamples draws seeds and, for all seeds alike,
    images.

    Few seeds, drawn again, differ less from their mean than other seeds would: what the draw of
    seeds adds is stretched by sqrt(S / (S - 1)) and by Student's quantile over the normal one (2.7
    for three seeds). Covers 0.9 or more where three seeds differ like
    normal numbers, and nearly always where only the images matter. One seed says
    nothing of others: the interval is then over images alone, as `bca` has it.

    Args:
        values: ``[S, N, ...]``.
        statistic: of the rows of one seed ``[N, ...]``, a scalar.
        maximum: the statistic is the largest of several means: the lower end is as far from the
            figure as the upper one, for the reason that `largest` gives.
    """
    seeds, n = values.shape[:2]
    if n < 2:
        return math.nan, math.nan
    if seeds == 1 and not maximum:
        return bootstrap(values[0], statistic)
    stretch = math.sqrt(seeds / (seeds - 1)) * _student(seeds - 1) / Z if seeds > 1 else 0.0
    generator = torch.Generator().manual_seed(1)
    draws = []
    for rows in _resamples(n):
        by_seed = torch.stack([statistic(one[rows]) for one in values])
        drawn = by_seed[torch.randint(seeds, (seeds,), generator=generator)]
        draws.append(by_seed.mean() + stretch * (drawn.mean() - by_seed.mean()))
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = torch.stack(draws).double().nanquantile(tails).tolist()
    observed = float(torch.stack([statistic(one) for one in values]).mean())
    return (2 * observed - high if maximum else low), high


def _resamples(n: int) -> Iterator[Tensor]:
    """The rows ``[n]`` of each of the resamples."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randint(n, (n,), generator=generator) for _ in range(RESAMPLES))


def _student(freedom: int) -> float:
    """The 97.5% quantile of Student's t, by bisection of its distribution (to 1e-9)."""
    # Simpson's rule over the angle: with t = sqrt(freedom) tan(a) the density is cos(a)^(freedom-1)
    low, high = 0.0, math.pi / 2
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    for _ in range(60):
        middle = (low + high) / 2
        a = torch.linspace(0, middle, 2001, dtype=torch.float64)
        heights = a.cos() ** (freedom - 1)
        inner = heights[1:-1]
        total = heights[0] + heights[-1] + 4 * inner[::2].sum() + 2 * inner[1::2].sum()
        share = scale * float(total) * middle / 2000 / 3
        low, high = (middle, high) if share < LEVEL / 2 else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)
