"""From perceptual curves to t_edit and t_boost (Kwon et al. 2023, section 3.3).

Pure: curves in, timesteps out.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

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
