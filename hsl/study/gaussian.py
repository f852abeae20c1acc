"""How far latents are from standard Gaussian noise, as statistics of each sample.

Zhu et al. (2023) say that sampled latents lie on the sphere of radius sqrt(d), and inverted ones
within it. The statistics are that norm, and others that tell standard Gaussian noise of d
dimensions.
"""

import math
from typing import Any

import torch
from torch import Tensor

from hsl.confidence import Z, wilson
from hsl.errors import HslError

#: Level of the normality test.
LEVEL = 0.05
_TERMS = 100  # of Kolmogorov's series


def statistics(latents: Tensor) -> dict[str, Tensor]:
    """Statistics ``[N]`` float64 of each of ``latents [N, C, s, s]``, N above 1.

    ``norm``: its L2 norm / sqrt(d); ``mean``, ``variance``, ``skewness`` and (excess)
    ``kurtosis`` of its d numbers; ``ks`` and ``p``: distance to the standard normal distribution,
    and p-value, by Kolmogorov and Smirnov; ``cosine``: mean |cos| of its angles to the others;
    ``neighbours``: correlation of neighbouring positions.

    Of standard Gaussian noise these are 1, 0, 1, 0, 0, about 0.87 / sqrt(d), uniform in [0, 1],
    `expected_cosine`, and -1 / (s^2 - 1), or next to 0.

    Raises:
        HslError: other shapes, fewer than two samples or two positions a side, or numbers that are
            not finite.
    """
    if latents.ndim != 4 or len(latents) < 2 or min(latents.shape[2:]) < 2:
        raise HslError(f"latents: want two or more [C, s, s], s above 1, not {[*latents.shape]}")
    if not bool(latents.isfinite().all()):
        raise HslError("latents: some are NaN or infinite; is the backbone trained?")
    x = latents.double()
    flat = x.flatten(1)
    d = flat.shape[1]
    centred = flat - flat.mean(1, keepdim=True)
    variance = centred.square().mean(1)
    standard = centred / variance.sqrt()[:, None]
    unit = flat / flat.norm(dim=1, keepdim=True)
    cosines = (unit @ unit.mT).abs().fill_diagonal_(0)
    distance, p = kolmogorov_smirnov(flat)
    return {
        "norm": flat.norm(dim=1) / math.sqrt(d),
        "mean": flat.mean(1),
        "variance": variance,
        "skewness": standard.pow(3).mean(1),
        "kurtosis": standard.pow(4).mean(1) - 3,
        "ks": distance,
        "p": p,
        "cosine": cosines.sum(1) / (len(x) - 1),
        "neighbours": neighbours(x),
    }


def summary(latents: Tensor) -> dict[str, Any]:
    """Means of `statistics` over the samples, and 95% intervals under ``x_ci``; in place of the
    p-values, ``not_normal``: the share below `LEVEL`.

    The intervals assume independent samples; angles to the same others are not quite independent.
    """
    measured = statistics(latents)
    n = len(latents)
    share = (measured.pop("p") < LEVEL).double().mean()
    figures: dict[str, Any] = {}
    for name, values in measured.items():
        mean, half = float(values.mean()), Z * float(values.std()) / math.sqrt(n)
        figures |= {name: mean, f"{name}_ci": (mean - half, mean + half)}
    low, high = wilson(share, torch.tensor(n).double()).tolist()
    return figures | {"not_normal": float(share), "not_normal_ci": (low, high)}


def kolmogorov_smirnov(values: Tensor) -> tuple[Tensor, Tensor]:
    """Largest distance ``[N]`` of the empirical distribution of each row of ``values [N, d]`` to
    the standard normal one, and its p-value ``[N]``: that of independent standard normal numbers
    (Kolmogorov's limit with the factor of Stephens 1970; right to 0.001 for d above 50)."""
    d = values.shape[1]
    expected = torch.special.ndtr(values.double().sort(dim=1).values)
    rank = torch.arange(1, d + 1, dtype=torch.float64, device=values.device) / d
    distance = torch.maximum(rank - expected, expected - rank + 1 / d).amax(1)
    reach = (math.sqrt(d) + 0.12 + 0.11 / math.sqrt(d)) * distance
    k = torch.arange(1, _TERMS + 1, dtype=torch.float64, device=values.device)
    terms = (-1) ** (k - 1) * torch.exp(-2 * (k * reach[:, None]) ** 2)
    # the series converges slowly near 0, where the p-value is 1 to twelve digits
    return distance, torch.where(reach < 0.2, 1, 2 * terms.sum(1)).clamp(0, 1)


def neighbours(latents: Tensor) -> Tensor:
    """Correlation ``[N]`` of horizontally and vertically neighbouring positions of
    ``[N, C, s, s]``, about the mean of each channel."""
    x = latents.double()
    x = x - x.mean((2, 3), keepdim=True)
    pairs = (x[..., 1:, :], x[..., :-1, :]), (x[..., 1:], x[..., :-1])
    products = torch.cat([(a * b).flatten(1) for a, b in pairs], dim=1)
    return products.mean(1) / x.square().flatten(1).mean(1)


def expected_cosine(d: int) -> float:
    """Mean |cos| of the angle between two standard Gaussian samples of ``d`` dimensions:
    Gamma(d / 2) / (sqrt(pi) Gamma((d + 1) / 2)), about sqrt(2 / (pi d))."""
    return math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)


def class_distances(x_0: Tensor, labels: Tensor) -> Tensor:
    """L2 distance ``[A]`` of the class means of ``x_0 [N, ...]`` for each of ``labels [N, A]`` in
    {0, 1, NaN missing}, for `hsl.intervals.mixing_step_tv`.

    The squared distance of means of few images is too large by the variance of these means, which
    is taken off. NaN where a class has fewer than two images, or nothing is left.
    """
    flat, distances = x_0.flatten(1).double(), []
    for label in labels.mT:
        classes = [flat[label == value] for value in (0, 1)]
        if min(map(len, classes)) < 2:
            distances.append(math.nan)
            continue
        square = float((classes[0].mean(0) - classes[1].mean(0)).square().sum())
        square -= sum(float(c.var(0).sum()) / len(c) for c in classes)
        distances.append(math.sqrt(square) if square > 0 else math.nan)
    return torch.tensor(distances, dtype=torch.float64)
