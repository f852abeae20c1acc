"""Files of directions, and what they say of where they come from."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from hsl.backbones import Backbone
from hsl.directions import released
from hsl.directions.released import D, Make
from hsl.errors import HslError
from hsl.files import replacing

_FORMAT = 1


def write(
    path: Path, tensors: Mapping[str, Tensor], config: dict[str, Any], about: dict[str, Any]
) -> Path:
    """Write one safetensors file; nothing is left behind if it fails."""
    header = {"format": _FORMAT, "direction": config, "about": about}
    held = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with replacing(path) as temporary:
        save_file(held, temporary, metadata={"hsl": json.dumps(header)})
    return path


def read(path: Path, make: Make[D]) -> D:
    """The direction that a file holds: one that `write` wrote, or one of Asyrp's own code.

    Raises:
        HslError: a missing or damaged file.
    """
    if not path.exists():
        raise HslError(f"{path}: no such file; want a direction saved by hsl")
    try:
        with path.open("rb") as file:
            foreign = file.read(9)[8:] != b"{" and path.suffix != ".safetensors"
    except OSError as error:
        raise HslError(f"{path}: cannot be read ({error.strerror}); give a file") from error
    return released.read(path, make) if foreign else _saved(path, make)


def _saved(path: Path, make: Make[D]) -> D:
    """A direction that `write` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["hsl"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return make(header["direction"], tensors, dict(header["about"]))
    except Exception as error:  # a damaged header raises whatever it happens to ask for
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise HslError(f"{path}: not a direction saved by hsl, or damaged ({reason})") from error


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
