"""Options that have a form of their own: strengths, seeds, a mask."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.directions.shipped import short
from hsl.edit.parts import finite
from hsl.errors import HslError

#: Of one direction: a column each in a picture, whose width has a limit.
MOST = 100
#: Of seeds: the largest, plus one, and how many at once.
LIMIT, MANY = 2**63, 100_000


def endings(axes: Sequence["Axis"]) -> list[str]:
    """What the names of the edits of one image end in, in the order of their strengths: a number,
    by which a listing of files has them in that order, and their labels, ``3_+0.50``. Without axes
    one edit, and nothing."""
    labels = ["_".join(labels) for labels in itertools.product(*(axis.labels for axis in axes))]
    if not axes:
        return labels
    digits = len(str(len(labels)))
    return [f"{i:0{digits}d}_{label}" for i, label in enumerate(labels, 1)]


class Axis(NamedTuple):
    """The strengths between which ``--interpolate`` goes: of one direction, or (None) of all."""

    name: str | None
    values: list[float]

    @property
    def labels(self) -> list[str]:
        """The strengths as text of one length, with as many digits as tell them apart."""
        for digits in range(2, 7):
            texts = [f"{value:+.{digits}f}" for value in self.values]
            zeros = sum(float(text) == 0 for text in texts)
            if len(set(texts)) == len(texts) and zeros == self.values.count(0.0):
                break
        return texts


def axis(text: str) -> Axis:
    """From ``LOW:HIGH:N`` or ``NAME=LOW:HIGH:N``.

    Raises:
        HslError: another form, bounds that are equal or not finite, or not 2 to `MOST` strengths.
    """
    name, equals, span = text.rpartition("=")
    ends = span.split(":")
    low, high = (finite(end) for end in ends[:2]) if len(ends) == 3 else (math.nan, math.nan)
    n = int(ends[2]) if len(ends) == 3 and ends[2].strip().isdecimal() else 0
    if math.isnan(low + high) or low == high or not 2 <= n <= MOST:
        raise HslError(f"--interpolate {text}: want LOW:HIGH:N or NAME=LOW:HIGH:N with N of 2 to "
                       f"{MOST}, e.g. -1:1:5")  # fmt: skip
    steps = torch.linspace(0, 1, n, dtype=torch.float64).tolist()
    # rounding brings to 0 what should be 0; + 0.0: and never to -0
    values = [round(low * (1 - u) + high * u, 12) + 0.0 for u in steps]
    return Axis(short(name) if equals else None, values)


def seeds(text: str) -> list[int]:
    """From ``5``, ``0-7`` or ``1,4,9``.

    Raises:
        HslError: another form, no seed, or too many or too large ones.
    """
    spans: list[range] = []
    try:
        for item in text.split(","):
            low, dash, high = item.partition("-")
            spans.append(range(int(low), int(high if dash else low) + 1))
    except ValueError as error:
        raise HslError(f"--seeds {text}: want numbers such as 5, 0-7 or 1,4,9") from error
    if any(span.stop > LIMIT for span in spans) or sum(map(len, spans)) > MANY:
        raise HslError(f"--seeds {text}: want numbers below 2^63, at most {MANY} at once")
    numbers = [seed for span in spans for seed in span]
    if not numbers:
        raise HslError(f"--seeds {text}: names no seed")
    return numbers


def mask(text: str, size: int) -> Tensor:
    """Where h is edited, boolean ``[size, size]``, from ``ROWS,COLUMNS`` such as ``4:7,3:5``: from
    the first to before the last, counted from 0.

    Raises:
        HslError: another form, or nothing of h's map inside.
    """
    try:
        rows, columns = (slice(*(int(end) for end in part.split(":"))) for part in text.split(","))
    except (TypeError, ValueError) as error:
        raise HslError(f"--mask {text}: want rows and columns such as 4:7,3:5") from error
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[rows, columns] = True
    ends = (rows.start, rows.stop, columns.start, columns.stop)
    if not bool(inside.any()) or any(end is None or not 0 <= end <= size for end in ends):
        raise HslError(f"--mask {text}: h has {size} rows and columns, 0:{size}")
    return inside
