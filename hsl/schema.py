"""Whether what a file says of itself is of the types and in the ranges that it should be.

Whoever wrote a file could write into it what they liked; what is read is checked here, before
anything is computed with it or made by it.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

#: No schedule has as many timesteps.
LAST_T = 99_999


class Rule(NamedTuple):
    """What a value should be, in words, and whether it is."""

    want: str
    fits: Callable[[Any], bool]


def check(
    values: Any, rules: Mapping[str, Rule], required: Collection[str] = (), others: bool = True
) -> dict[str, Any]:
    """The values, a JSON object, if they keep to the rules.

    Args:
        values: what a file says.
        rules: by name; a name need not be there.
        required: names that must be.
        others: whether there may be names without a rule.

    Raises:
        ValueError: they do not, in one line.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{_shown(values)} where names and values should be")
    if missing := [name for name in required if name not in values]:
        raise ValueError(f"{missing[0]} is missing")
    for name, value in values.items():
        if name not in rules:
            if others:
                continue
            raise ValueError(f"{_shown(name)} is unknown")
        if not rules[name].fits(value):
            raise ValueError(f"{name} is {_shown(value)}: want {rules[name].want}")
    return values


def whole(low: int = 0, high: int = 2**63 - 1) -> Rule:
    """A whole number from ``low`` to ``high``."""
    span = f"{low} to {high}" if high < 2**53 else f"{low} or more"
    return Rule(f"a whole number, {span}", lambda v: type(v) is int and low <= v <= high)


def number(low: float = -math.inf, high: float = math.inf) -> Rule:
    """A finite number from ``low`` to ``high``."""
    bounded = low > -math.inf or high < math.inf
    want = f"a number, {low:g} to {high:g}" if bounded else "a finite number"
    return Rule(want, lambda v: _finite(v) and low <= v <= high)


def text(longest: int = 10_000) -> Rule:
    """A string."""
    return Rule("a text", lambda v: isinstance(v, str) and len(v) <= longest)


def flag() -> Rule:
    """True or false."""
    return Rule("true or false", lambda v: isinstance(v, bool))


def one_of(*values: str) -> Rule:
    """One of some words."""
    return Rule(f"one of {', '.join(values)}", lambda v: isinstance(v, str) and v in values)


def optional(rule: Rule) -> Rule:
    """That, or null."""
    return Rule(f"{rule.want}, or null", lambda v: v is None or rule.fits(v))


def listed(rule: Rule, lengths: Collection[int] | None = None) -> Rule:
    """A list of such values; of one of some lengths."""

    def fits(value: Any) -> bool:
        fitting = isinstance(value, list) and (lengths is None or len(value) in lengths)
        return fitting and all(rule.fits(part) for part in value)

    long = "" if lengths is None else f" ({' or '.join(map(str, lengths))} of them)"
    return Rule(f"a list, each {rule.want}{long}", fits)


def table(rule: Rule) -> Rule:
    """Such values by name."""

    def fits(value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(name, str) and rule.fits(part) for name, part in value.items()
        )

    return Rule(f"names, and of each {rule.want}", fits)


def anything() -> Rule:
    """What is looked at elsewhere."""
    return Rule("anything", lambda v: True)


#: A timestep of the process.
timestep = whole(0, LAST_T)
#: Timesteps, ascending.
grid = Rule(
    "ascending timesteps",
    lambda v: listed(timestep).fits(v) and len(v) > 0 and v == sorted(set(v)),
)


def _finite(value: Any) -> bool:
    """Whether this is a number that a float can hold."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    try:
        said = repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        said = "a huge number"
    return said if len(said) <= 40 else f"{said[:40]}..."
