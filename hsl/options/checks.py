"""Checks of values that a user gives, for constructors: what is wrong is said before any work."""

import math
from collections.abc import Iterable
from typing import Any

from hsl.errors import HslError


def require_counts(of: str, least: int = 1, **values: Any) -> None:
    """Whole numbers of ``least`` or more.

    Raises:
        HslError: one is not; it names ``of``, what they are options of.
    """
    for name, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value < 2**53:
            raise HslError(
                f"{of}: {name} is {shown(value)}; want a whole number of {least} or more"
            )


def require_numbers(of: str, low: float = -math.inf, high: float = math.inf, **values: Any) -> None:
    """Finite numbers from ``low`` to ``high``.

    Raises:
        HslError: one is not.
    """
    for name, value in values.items():
        if not is_finite(value) or not low <= value <= high:
            bounds = [f"{bound:g} or {word}" for bound, word in ((low, "more"), (high, "less"))
                      if math.isfinite(bound)]  # fmt: skip
            want = f"a number of {', '.join(bounds)}" if bounds else "a finite number"
            raise HslError(f"{of}: {name} is {shown(value)}; want {want}")


def require_positive(of: str, **values: Any) -> None:
    """Finite numbers above 0.

    Raises:
        HslError: one is not.
    """
    for name, value in values.items():
        if not is_finite(value) or not value > 0:
            raise HslError(f"{of}: {name} is {shown(value)}; want a number above 0")


def finite_numbers(of: str, name: str, values: Any) -> list[float]:
    """Several finite numbers, at least one.

    Raises:
        HslError: they are not.
    """
    listed = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    found = list(values) if listed else []
    if not found or not all(map(is_finite, found)):
        raise HslError(f"{of}: {name} is {shown(values)}; want one or several finite numbers")
    return found


def is_finite(value: Any) -> bool:
    """Whether a value is a number, and neither NaN nor infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**1000  # NaN is not


def shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    text = " ".join(repr(value).split()) if not _is_huge(value) else "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_huge(value: Any) -> bool:
    """Whether Python refuses to write a number down."""
    return isinstance(value, int) and value.bit_length() > 1000
