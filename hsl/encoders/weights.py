"""Weights of the small frozen networks: safetensors that carry their configuration."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hsl.assets import asset
from hsl.bundled import BUNDLED
from hsl.errors import HslError
from hsl.files import require_file
from hsl.files.tensors import read_tensors, require_weights, write_tensors
from hsl.schema import Rule, check, listed, number, one_of, optional, table, text, whole

Network = TypeVar("Network", bound=nn.Module)
_PLAIN = re.compile(r"\w+", re.ASCII)
#: What a configuration says, as far as any of the networks is made by it.
_RULES: dict[str, Rule] = {
    "role": one_of("guide", "judge"),
    "names": listed(text()),
    "regions": listed(text()),
    "words": listed(text()),
    "width": whole(1),
    "text": table(whole(1)),
    "thresholds": optional(
        Rule(
            "an edit and a boost threshold above 0",
            lambda v: (
                table(number()).fits(v) and v.keys() == {"edit", "boost"} and min(v.values()) > 0
            ),
        )
    ),
    "domain": optional(text()),
    "size": optional(whole(1)),
}


def locate(name: str, kind: str) -> Path:
    """The file of ``name``: a path that ends in ``.safetensors``, or a shipped network, e.g.
    ``FOLDER/guide`` of kind ``attributes`` is ``FOLDER/attributes_guide.safetensors`` and
    ``FOLDER`` of kind ``segmenter`` is ``FOLDER/segmenter.safetensors``, in ``hsl/assets``.

    Raises:
        HslError: there is no such file.
    """
    if name.endswith(".safetensors"):
        return require_file(name, "the .safetensors file of a network")
    world, _, role = name.partition("/")
    if not (_PLAIN.fullmatch(world) and (not role or _PLAIN.fullmatch(role))):
        raise HslError(f"{name}: no name of a shipped network; give one, such as {BUNDLED.guide}, "
                       "or a .safetensors file")  # fmt: skip
    return asset(f"{world}/{kind}{'_' if role else ''}{role}.safetensors")


def read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the float32 tensors that `write` put into ``path``.

    Raises:
        HslError: the file is damaged, or holds a network of another kind.
    """
    config, tensors = read_tensors(path, "a network of hsl's")
    if config.get("kind") != kind:
        other = config.get("kind", "something that hsl did not write")
        raise HslError(f"{path}: holds {other}, not {kind}; give a file of the right kind")
    try:
        check(config, _RULES, ["role"])
        require_weights({k: v for k, v in tensors.items() if v.is_floating_point()})
    except ValueError as error:
        raise HslError(f"{path}: not a network of hsl's, or damaged ({error})") from error
    floats = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    return config, floats


def build(path: Path, make: Callable[[], Network], tensors: Mapping[str, Tensor]) -> Network:
    """The network that a configuration describes, if these are its tensors: that is looked at
    before memory is asked for.

    Args:
        path: of the file, for messages.
        make: makes it.
        tensors: its state.

    Raises:
        HslError: the configuration describes none, or names or shapes differ, or integers are
            where floats belong.
    """
    try:
        with torch.device("meta"):
            expected = _kinds(make().state_dict())
        if expected != _kinds(tensors):
            raise ValueError("its tensors are others")
        return make()
    except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise HslError(f"{path}: weights do not fit the configuration beside them") from error


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, bool]]:
    """The shapes of tensors, and whether they are of floats."""
    return {name: (v.shape, v.is_floating_point()) for name, v in tensors.items()}


def suits(config: dict[str, Any]) -> tuple[str | None, int | None]:
    """What images a network is for: their domain, and their size in pixels. Older files do not say
    so: they all have the bundled networks' domain and size."""
    return config.get("domain", BUNDLED.domain), config.get("size", BUNDLED.size)


def write(path: Path, network: nn.Module, config: dict[str, Any]) -> None:
    """Write a network's state in float16 with ``config`` (JSON; has ``kind``), all or nothing."""
    state = network.state_dict()
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    write_tensors(path, halves, config)


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
