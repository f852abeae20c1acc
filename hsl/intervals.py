"""From curves to timesteps: LPIPS to the editing interval, t_edit and t_boost (Kwon et al. 2023,
section 3.3); distance, radius or accuracy to the mixing step.

Pure: curves in, timesteps out. The released code of Zhu et al. (2023), whose term the mixing step
is, has no search for it: its three forms here are own derivations.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.encoders.perceptual import PAPER
from hsl.errors import HslError
from hsl.files import read_text, replacing
from hsl.schema import check, number, timestep

EDIT_THRESHOLD, BOOST_THRESHOLD = PAPER
#: What a line of a table holds; no perceptual network has such distances as would overflow.
_ROW = {"timestep": timestep, "value": number(0, 1e6)}


class Curves(NamedTuple):
    """Mean perceptual distance to x_0 by timestep: of P_t, and of x_t."""

    p: dict[int, float]
    x: dict[int, float]


class CurveMeans:
    """Accumulates distances ``[B]`` by timestep into means and standard deviations."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[int, float, float]] = {}

    def add(self, t: int, distances: Tensor) -> None:
        """Add a batch of distances at ``t``."""
        n, total, squares = self._sums.get(t, (0, 0.0, 0.0))
        d = distances.detach().double()
        self._sums[t] = (n + len(d), total + float(d.sum()), squares + float((d * d).sum()))

    def mean(self) -> dict[int, float]:
        """Mean distance by ascending timestep."""
        return {t: total / n for t, (n, total, _) in sorted(self._sums.items())}

    def std(self) -> dict[int, float]:
        """Population standard deviation by ascending timestep."""
        return {
            t: max(squares / n - (total / n) ** 2, 0.0) ** 0.5
            for t, (n, total, squares) in sorted(self._sums.items())
        }


def first_crossing(curve: Mapping[int, float], threshold: float, what: str) -> int:
    """The smallest t whose value reaches ``threshold``; the curve need not be monotone.

    Raises:
        HslError: the curve never gets there; the message shows it.
    """
    for t, value in sorted(curve.items()):
        if value >= threshold:
            return t
    shown = ", ".join(f"{t}: {value:.3g}" for t, value in _thinned(sorted(curve.items())))
    highest = max(curve, key=curve.__getitem__)
    raise HslError(
        f"{what}: the curve never reaches {threshold:.4g} ({shown}; highest {highest}: "
        f"{curve[highest]:.3g}); lower the threshold, or give {what} by hand"
    )


def t_edit(curves: Curves, cosine: float, threshold: float = EDIT_THRESHOLD) -> int:
    """The first t with LPIPS(P_t, x_0) >= threshold x cosine.

    Args:
        curves: mean distances.
        cosine: of the source and target texts' embeddings; the larger the change, the smaller
            the cosine and the longer the editing interval.
        threshold: for the perceptual network the curves were measured with.

    Raises:
        HslError: a cosine that is not positive, or no crossing.
    """
    if cosine <= 0:
        raise HslError(f"t_edit: the texts' cosine is {cosine:.3f}; it must be positive")
    return first_crossing(curves.p, threshold * cosine, "t_edit")


def t_boost(curves: Curves, threshold: float = BOOST_THRESHOLD) -> int:
    """The first t with LPIPS(x_t, x_0) >= threshold.

    Raises:
        HslError: no crossing.
    """
    return first_crossing(curves.x, threshold, "t_boost")


def total_variation(alpha_bar: Tensor, distance: float) -> Tensor:
    """Total-variation distance of the two classes at each t, ``[T]`` in [0, 1] (own derivation).

    Exact for two isotropic Gaussians N(sqrt(a) mu, (1 - a) I) whose means mu lie ``distance``
    apart: erf(sqrt(a) distance / (2 sqrt(2) sqrt(1 - a))).

    Args:
        alpha_bar: a, ``[T]`` in (0, 1), as `Schedule.alphas_cumprod`.
        distance: of the class means of x_0, in L2; positive.

    Raises:
        HslError: a distance that is not positive.
    """
    a = alpha_bar.double()
    return torch.erf((a / (1 - a)).sqrt() * _positive(distance, "distance") / 8**0.5)


def mixing_step_tv(alpha_bar: Tensor, distance: float, eps: float) -> int:
    """The first t at which the classes' total-variation distance is at most ``eps`` (own
    derivation): a / (1 - a) <= (2 sqrt(2) erfinv(eps) / distance)^2.

    Args:
        alpha_bar: a, ``[T]``, falling with t.
        distance: of the class means of x_0, in L2; positive.
        eps: in (0, 1).

    Raises:
        HslError: an eps outside (0, 1), or one that is not reached.
    """
    if not 0 < eps < 1:
        raise HslError(f"mixing step: eps is {eps}; want a number between 0 and 1")
    a, reach = alpha_bar.double(), torch.erfinv(torch.tensor(eps, dtype=torch.float64))
    most = float(8 * (reach / _positive(distance, "distance")) ** 2)
    return _first(a / (1 - a) <= most, f"no t has a total variation of {eps} or less")


def radius(latents: Tensor) -> Tensor:
    """L2 norms ``[B]`` in float64 of latents ``[B, ...]``. Of standard Gaussian ones it is close to
    sqrt(d); the released code prints the mean of these at t = 500."""
    return latents.flatten(1).double().norm(dim=1)


def radius_theory(alpha_bar: Tensor, second_moment: float, d: int) -> Tensor:
    """Root mean squared L2 norm of x_t at each t, ``[T]``: sqrt(a m + (1 - a) d) (own derivation).

    Args:
        alpha_bar: a, ``[T]`` in (0, 1).
        second_moment: m, the mean of |x_0|^2; positive.
        d: dimensions of x.

    Raises:
        HslError: a moment or d that is not positive.
    """
    a, m = alpha_bar.double(), _positive(second_moment, "second moment")
    return (a * m + (1 - a) * _positive(d, "d")).sqrt()


def mixing_step_radius(alpha_bar: Tensor, second_moment: float, d: int, eps: float) -> int:
    """The first t at which `radius_theory` is within ``eps`` sqrt(d) of sqrt(d) (own derivation).

    Raises:
        HslError: as `radius_theory`; an eps that is not reached.
    """
    off = (radius_theory(alpha_bar, second_moment, d) / math.sqrt(d) - 1).abs()
    return _first(off <= eps, f"no t has a radius within {eps} of sqrt(d)")


def mixing_step(accuracy: Mapping[int, float], tolerance: float) -> int:
    """The largest t at which the classes are still told apart as well as anywhere: whose accuracy
    is at least the highest minus ``tolerance`` (own derivation).

    Args:
        accuracy: on held-out images, by timestep. That of the images of the fit is of no use: it
            is 1 at any t where there are more dimensions than images.
        tolerance: not negative.

    Raises:
        HslError: no accuracy, one that is NaN, or a negative tolerance.
    """
    if not accuracy or any(math.isnan(value) for value in accuracy.values()):
        raise HslError("mixing step: want an accuracy at each of one or more timesteps")
    if not tolerance >= 0:
        raise HslError(f"mixing step: the tolerance is {tolerance}; want 0 or more")
    # rounding must not decide between 0.95 - 0.05 and 0.9
    least = max(accuracy.values()) - tolerance - 1e-9
    return max(t for t, value in accuracy.items() if value >= least)


def read_tsv(path: str | Path) -> dict[int, float]:
    """A curve in the format of Asyrp's released tables: lines of timestep, tab, value.

    Raises:
        HslError: no such file, a line of another form, what is no timestep or no distance, or a
            timestep that occurs twice.
    """
    path = Path(path)
    lines = read_text(path, "a table of lines of timestep, tab, value").splitlines()
    curve: dict[int, float] = {}
    try:
        for line in filter(str.strip, lines):
            first, second = line.split("\t")
            t, value = int(first), float(second)
            check({"timestep": t, "value": value}, _ROW)
            if t in curve:
                raise ValueError(f"t = {t} occurs twice")
            curve[t] = value
    except ValueError as error:
        raise HslError(f"{path}: want lines of timestep, tab, value ({error})") from error
    if not curve:
        raise HslError(f"{path}: an empty table")
    return curve


def write_tsv(path: str | Path, curve: Mapping[int, float]) -> None:
    """Write a curve in the format that `read_tsv` reads."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{t}\t{v}\n" for t, v in sorted(curve.items())), "utf-8")


def _thinned(items: list[tuple[int, float]], n: int = 8) -> Iterable[tuple[int, float]]:
    step = max(len(items) // n, 1)
    return items[::step]


def _positive(value: float, what: str) -> float:
    if not 0 < value < math.inf:
        raise HslError(f"mixing step: {what} is {value}; want a positive number")
    return value


def _first(reached: Tensor, otherwise: str) -> int:
    if not bool(reached.any()):
        raise HslError(f"mixing step: {otherwise}; take a larger eps")
    return int(reached.nonzero()[0])
