"""Directions by name, and the backbone that they are for."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hsl.backbones import Backbone, Speed, devices, load
from hsl.directions import Boundary, Direction
from hsl.directions.shipped import Kind, short
from hsl.errors import HslError


class Part(NamedTuple):
    """One of the directions on the command line: its short name, and whether its strength was
    given or is that of its file."""

    name: str
    direction: Direction
    strength: float
    given: bool


def find_direction(name: str, kind: Kind = "directions") -> Direction:
    """A direction by its file, or by the name of a shipped one of its kind.

    Raises:
        HslError: neither exists.
    """
    return (Boundary if kind == "boundaries" else Direction).load(name)


def part(text: str, kind: Kind, kept: Sequence[Direction] = ()) -> Part:
    """What ``NAME`` or ``NAME=STRENGTH`` names, without its share along ``kept``.

    Raises:
        HslError: no such direction, or a strength that is no finite number.
    """
    name, equals, number = text.rpartition("=")
    if not equals or Path(text).is_file():
        return part_of(find_direction(text, kind), short(text), None, kept)
    if math.isnan(strength := finite(number)):
        raise HslError(f"{text}: {number!r} is not a strength; want a number")
    return part_of(find_direction(name, kind), short(name), strength, kept)


def part_of(
    direction: Direction, name: str, strength: float | None, kept: Sequence[Direction] = ()
) -> Part:
    """A direction at a strength (None: that of its file), without its share along ``kept``."""
    default = float(direction.about.get("strength", 1.0))
    if kept:
        pure = direction.without(*kept)
        pure.about = direction.about | pure.about
        direction = pure
    return Part(name, direction, default if strength is None else strength, strength is not None)


def finite(text: str) -> float:
    """The number that ``text`` is; NaN where it is none, or not finite."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def load_for(name: str, parts: Sequence[tuple[Direction, float]]) -> Backbone:
    """The backbone ``name``, with the tap that the directions are for.

    Raises:
        HslError: they are for several taps, or for another backbone.
    """
    taps = {str(direction.about.get("tap", "after")) for direction, _ in parts}
    if len(taps) > 1:
        raise HslError(f"these directions are for several taps ({', '.join(sorted(taps))})")
    backbone = load(name, taps.pop() if taps else "after")  # type: ignore[arg-type]  # checked there
    for direction, _ in parts:
        direction.check(backbone)
    return backbone


def move(backbone: Backbone, device: str, speed: Sequence[str] = ()) -> None:
    """Bring a backbone to a device, and let it compute as told: names of `Speed`'s options.

    Raises:
        HslError: there is no such device, or nothing to compile with.
    """
    devices.move(backbone, device)
    backbone.run_with(Speed(**dict.fromkeys(speed, True)))
