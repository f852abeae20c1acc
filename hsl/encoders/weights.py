"""Weights of the small frozen networks: safetensors that carry their configuration."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hsl.assets import asset
from hsl.errors import HslError


def locate(name: str, kind: str) -> Path:
    """The file of ``name``: a path that ends in ``.safetensors``, or a shipped network, e.g.
    ``toyfaces/guide`` of kind ``attributes`` is ``toyfaces/attributes_guide.safetensors`` and
    ``toyfaces`` of kind ``segmenter`` is ``toyfaces/segmenter.safetensors``.

    Raises:
        HslError: there is no such file.
    """
    if name.endswith(".safetensors"):
        if not Path(name).is_file():
            raise HslError(f"{name}: no such file; give the path of an existing .safetensors file")
        return Path(name)
    world, _, role = name.partition("/")
    return asset(f"{world}/{kind}{'_' if role else ''}{role}.safetensors")


def read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the float32 tensors that `write` put into ``path``.

    Raises:
        HslError: the file is damaged, or holds a network of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("hsl", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise HslError(f"{path}: not a readable safetensors file ({reason}); restore it") from error
    if config.get("kind") != kind:
        held = config.get("kind", "something that hsl did not write")
        raise HslError(f"{path}: holds {held}, not {kind}; give a file of the right kind")
    floats = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    return config, floats


def suits(config: dict[str, Any]) -> tuple[str | None, int | None]:
    """What images a network is for: their domain, and their size in pixels. Files of the time
    before they said so are all of ToyFaces' 32-pixel networks."""
    return config.get("domain", "toyfaces"), config.get("size", 32)


def write(path: Path, network: nn.Module, config: dict[str, Any]) -> None:
    """Write a network's state in float16 with ``config`` (JSON; has ``kind``), all or nothing."""
    halves = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    halves = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in halves.items()}
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(save(halves, metadata={"hsl": json.dumps(config)}))
    os.replace(temporary, path)


def freeze(
    network: nn.Module, tensors: dict[str, Tensor], path: Path, resize: bool = False
) -> None:
    """Load ``tensors`` strictly into ``network``, in eval mode and without gradients; ``resize``:
    let its parts take images of other sizes than their own.

    Raises:
        HslError: names or shapes differ.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise HslError(f"{path}: weights do not fit the configuration beside them") from error
    for part in network.modules():
        if hasattr(part, "resize"):
            part.resize = resize  # type: ignore[assignment]  # torch: an attribute is a module
    network.eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)
