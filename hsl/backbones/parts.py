"""Which of the state dicts in an original file is the U-Net to load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hsl.backbones import adm, ddpm
from hsl.backbones.state import bare
from hsl.errors import HslError
from hsl.files import checkpoints

_OTHERS = {
    "conv1.weight": "Asyrp's implicit function: read it with hsl.directions.Direction.load",
    "in_layers.0.weight": "Asyrp's implicit function: read it with hsl.directions.Direction.load",
    "time_embedding.linear_1.weight": "a U-Net in diffusers' layout: give its folder, with its "
    "config.json, instead",
    "model.diffusion_model.time_embed.0.weight": "latent diffusion in CompVis' layout: take its "
    "diffusers folder, e.g. CompVis/ldm-celebahq-256",
}


def part_of(path: Path, content: Any, part: str | None) -> tuple[str, Mapping[str, Tensor]]:
    """The state dict to take from what a file holds, and its place in it.

    Args:
        path: the file, for messages.
        content: what `hsl.files.checkpoints.read` returned.
        part: which of several, e.g. ``4`` or ``model``; None: the moving average (``ema``, or the
            last of a list), or the only one.

    Raises:
        HslError: no U-Net of a known family, or several and none was said.
    """
    try:
        states = dict(checkpoints.state_dicts(content))
    except RecursionError as error:
        raise HslError(f"{path}: holds itself, or too much within itself; fetch it anew") from error
    names = {where: {bare(key) for key in state} for where, state in states.items()}
    usable = [w for w, keys in names.items() if ddpm.MARK in keys or adm.MARK in keys]
    if part is not None:
        if part not in usable:
            raise HslError(f"{path}: no U-Net at {part!r}; there is one at: {listed(usable)}")
        return part, states[part]
    if not usable:
        keys = {key for state in names.values() for key in state}
        for mark, explanation in _OTHERS.items():
            if mark in keys:
                raise HslError(f"{path}: holds {explanation}")
        shown = listed(sorted(keys)[:3]) if keys else "no tensors"
        raise HslError(f"{path}: not a U-Net of a known family (holds {shown}); want DDPM, "
                       "ADM, P2, ILVR or improved-diffusion")  # fmt: skip
    averaged = [w for w in usable if "ema" in w]
    if len(averaged) == 1:
        usable = averaged
    elif isinstance(content, list | tuple) and all(w.isdecimal() for w in usable):
        usable = usable[-1:]  # DDIM's [model, optimiser, epoch, step, moving average]
    if len(usable) > 1:
        raise HslError(f"{path}: holds several U-Nets: say which by part: {listed(usable)}")
    return usable[0], states[usable[0]]


def listed(names: list[str]) -> str:
    """Names of parts or tensors, for messages."""
    return ", ".join(name or "the file itself" for name in names)
