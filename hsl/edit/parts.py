"""Directions by name, and the backbone that they are for."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hsl.assets import asset
from hsl.backbones import Backbone, Speed, devices, load
from hsl.bundled import BUNDLED
from hsl.directions import Direction
from hsl.errors import HslError
from hsl.names import closest, meant, visible

#: Of directions' files: hsl's own, and those that Asyrp's authors released.
_SUFFIXES = (".safetensors", ".pth")


class Part(NamedTuple):
    """One of the directions on the command line: its short name, and whether its strength was
    given or is that of its file."""

    name: str
    direction: Direction
    strength: float
    given: bool


def shipped(kind: str = "directions") -> list[str]:
    """Names of what is shipped for the bundled backbone: ``directions`` (implicit functions) or
    ``boundaries``."""
    return sorted(path.stem for path in asset(f"{BUNDLED.folder}/{kind}").glob("*.safetensors"))


def find_direction(name: str, kind: str = "directions") -> Direction:
    """A direction by its file, or by the name of a shipped one of its kind.

    Raises:
        HslError: neither exists.
    """
    if Path(name).suffix in _SUFFIXES or Path(name).is_file():
        if not os.path.exists(name) and (hint := _beside(name)):
            raise HslError(f"{name}: no such file{hint}")
        return Direction.load(name)
    known = shipped(kind)
    if name not in known:
        raise HslError(f"no direction {name!r}: give a .safetensors or .pth file or "
                       f"{', '.join(known)}{meant(name, known) or _beside(name)}")  # fmt: skip
    return Direction.load(asset(f"{BUNDLED.folder}/{kind}/{name}.safetensors"))


def _beside(name: str) -> str:
    """Which of the directions' files in the folder of ``name`` was meant, if one is like it."""
    folder = Path(name).parent
    readable = os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)
    files = [Path(file) for file in (os.listdir(folder) if readable else ())]
    there = {file.stem: folder / file for file in files if file.suffix in _SUFFIXES}
    near = closest(short(name), there)
    return "" if near is None else f", did you mean {visible(str(there[near]))}?"


def part(text: str, kind: str, kept: Sequence[Direction] = ()) -> Part:
    """What ``NAME`` or ``NAME=STRENGTH`` names, without its share along ``kept``.

    Raises:
        HslError: no such direction, or a strength that is no finite number.
    """
    name, equals, number = text.rpartition("=")
    given = bool(equals) and not Path(text).is_file()
    direction = find_direction(name if given else text, kind)
    strength = float(direction.about.get("strength", 1.0))
    if given:
        strength = finite(number)
        if math.isnan(strength):
            raise HslError(f"{text}: {number!r} is not a strength; want a number")
    if kept:
        pure = direction.without(*kept)
        pure.about = direction.about | pure.about
        direction = pure
    return Part(short(name if given else text), direction, strength, given)


def short(name: str) -> str:
    """What messages and pictures call a direction: a file's name without its suffix."""
    return Path(name).stem if Path(name).suffix in _SUFFIXES else Path(name).name


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
