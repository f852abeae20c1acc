"""The mixing step, from the distance of classes, the radius of latents, or accuracies.

Pure: figures in, timesteps out. The released code of Zhu et al. (2023), whose term the mixing step
is, has no search for it: its three forms here are own derivations.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hsl.errors import HslError


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


def _positive(value: float, what: str) -> float:
    if not 0 < value < math.inf:
        raise HslError(f"mixing step: {what} is {value}; want a positive number")
    return value


def _first(reached: Tensor, otherwise: str) -> int:
    if not bool(reached.any()):
        raise HslError(f"mixing step: {otherwise}; take a larger eps")
    return int(reached.nonzero()[0])
