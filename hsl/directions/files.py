"""Files of directions, and what they say of where they come from."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hsl.backbones import Backbone
from hsl.backbones.unet import TAPS
from hsl.errors import HslError
from hsl.files import open_regular
from hsl.files.tensors import read_tensors, write_tensors
from hsl.released import functions as released
from hsl.released.functions import D, Make
from hsl.schema import (
    LAST_T,
    Rule,
    check,
    listed,
    number,
    one_of,
    optional,
    table,
    text,
    timestep,
    whole,
)
from hsl.types import INJECTIONS

FORMAT = 1
WANTED = "a direction saved by hsl"
#: What the file of a direction says of it, as far as anything is done by it.
ABOUT: dict[str, Rule] = {
    "backbone": text(),
    "backbone_hash": text(),
    "h_shape": listed(whole(1), (3,)),
    "tap": one_of(*TAPS),
    "commit": text(),
    "name": text(),
    "method": text(),
    "strength": number(-1e6, 1e6),
    "injection": one_of(*INJECTIONS),
    "steps": whole(1, LAST_T),
    "t_edit": optional(timestep),
    "t_start": optional(timestep),
    "t_boost": optional(timestep),
    "t_0": optional(timestep),
    "cosine": number(-1.001, 1.001),
    "texts": listed(text(), (2,)),
    "clip": optional(text()),
    "data_hash": optional(text()),
    "unit": optional(text()),
    "accuracy": table(number(0, 1)),
    "lengths": table(number(0)),
}


def write(
    path: Path, tensors: Mapping[str, Tensor], config: dict[str, Any], about: dict[str, Any]
) -> Path:
    """Write one safetensors file; nothing is left behind if it fails."""
    return write_tensors(path, tensors, {"format": FORMAT, "direction": config, "about": about})


def read(path: Path, make: Make[D]) -> D:
    """The direction that a file holds: one that `write` wrote, or one of Asyrp's own code.

    Raises:
        HslError: a missing or damaged file.
    """
    with open_regular(path, WANTED) as file:
        foreign = file.read(9)[8:] != b"{" and path.suffix != ".safetensors"
    return released.read(path, make) if foreign else _saved(path, make)


def _saved(path: Path, make: Make[D]) -> D:
    """A direction that `write` wrote."""
    header, tensors = read_tensors(path, WANTED, {"format", "direction", "about"})
    try:
        check(header, {"format": whole(FORMAT, FORMAT)}, ["direction", "about"])
        return make(header["direction"], tensors, check(header["about"], ABOUT))
    except Exception as error:  # sizes that no tensor has raise whatever torch has for them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise HslError(f"{path}: not {WANTED}, or damaged ({reason})") from error


def provenance(backbone: Backbone) -> dict[str, Any]:
    """What every saved direction says of its backbone and of the code that made it."""
    return {
        "backbone": backbone.name,
        "backbone_hash": backbone.hash,
        "h_shape": list(backbone.h_shape),
        "tap": backbone.tap,
        "commit": commit(),
    }


def commit() -> str:
    """The commit of the code, or "unknown" outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
