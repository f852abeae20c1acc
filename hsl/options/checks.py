"""Checks of values that a user gives, for constructors: what is wrong is said before any work."""

from collections.abc import Iterable
from typing import Any

from hsl import schema
from hsl.errors import HslError
from hsl.schema import Rule

#: Of random numbers.
seed = schema.whole(0, 2**32 - 1)
at_least_one = schema.whole(1, 2**53)
#: Fixed-point iterations of an inversion step.
refinements = schema.whole(0, 1000)
count_or_none = schema.whole(0, 2**53)
not_negative = Rule("a number, 0 or more", lambda v: schema.number(0).fits(v))
above_zero = Rule("a number above 0", lambda v: schema.number(0).fits(v) and v > 0)
share = Rule("a number above 0, at most 1", lambda v: schema.number(0, 1).fits(v) and v > 0)
factors = Rule(
    "one or several finite numbers", lambda v: schema.listed(schema.number()).fits(v) and v != []
)


def require(of: str, **values: tuple[Any, Rule]) -> None:
    """Check that values keep to their rules. Numbers of NumPy count as Python's, and whatever can
    be iterated over as a list.

    Args:
        of: what they are options of, for the message.
        values: by name, each with its rule.

    Raises:
        HslError: one does not.
    """
    try:
        schema.check(
            {name: _plain(value) for name, (value, _) in values.items()},
            {name: rule for name, (_, rule) in values.items()},
        )
    except ValueError as error:
        raise HslError(f"{of}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
