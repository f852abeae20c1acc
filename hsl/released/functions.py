"""Implicit functions in files as Asyrp's authors released them (``.pth``), in and out."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.files import checkpoints, replacing

_NAME = re.compile(r"(?P<name>.+)_LC_.+_t\d+_ninv\d+_ngen(?P<steps>\d+)_\d+\.pth")
D = TypeVar("D")
#: Makes what a file holds of its config, its tensors and its ``about``.
Make = Callable[[dict[str, Any], dict[str, Tensor], dict[str, Any]], D]


def read(path: Path, make: Make[D], function: str = "0") -> D:
    """The implicit function that a file of Asyrp's own code holds.

    Its keys tell the family. Neither its interval nor whether it was trained without the timestep
    stands in the file; its name says in how many steps it was trained (``ngen``), and what for.
    """
    content = checkpoints.read(path)
    state = content.get(function) if isinstance(content, dict) else None
    families = {"conv1.weight": "ddpm", "in_layers.0.weight": "adm"}
    family = None
    if isinstance(state, dict):
        family = next((f for mark, f in families.items() if mark in state), None)
    if state is None or family is None:
        raise HslError(
            f"{path}: neither a direction saved by hsl nor an implicit function of Asyrp"
        )
    about: dict[str, Any] = {"method": "asyrp", "released": path.name, "tap": "after"}
    if match := _NAME.fullmatch(path.name):
        about |= {"name": match["name"], "steps": int(match["steps"])}
    try:
        first = state["conv1.weight" if family == "ddpm" else "in_layers.2.weight"]
        temb = state["temb_proj.weight" if family == "ddpm" else "emb_layers.1.weight"]
        sizes = {"channels": first.shape[0], "temb_dim": temb.shape[1]}
        return make({"kind": "implicit_function", "family": family} | sizes, state, about)
    except (LookupError, RuntimeError, AttributeError, HslError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HslError(f"{path}: an implicit function with other tensors ({reason})") from error


def write(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write ``{"0": tensors}``, without the optimiser's and the schedule's states."""
    state = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with replacing(path) as temporary:
        torch.save({"0": state}, temporary)
    return path
