"""Frozen diffusers networks from tensors, without a second copy of them."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from diffusers import ModelMixin, UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from hsl.backbones.state import bare, fault, finite
from hsl.errors import HslError

Network = TypeVar("Network", bound=ModelMixin)
#: Names that attention layers had in files written before 2023, and have now.
_RENAMED = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


def assemble(
    kind: type[Network],
    config: dict[str, Any],
    tensors: Iterable[tuple[str, Tensor]],
    name: str,
) -> Network:
    """The network of class ``kind`` and ``config`` that holds ``tensors``, in float32.

    Raises:
        HslError: no such network; tensors that are missing, unexpected, misshapen, not of floats
            or not finite; ``name`` says where they are from.
    """
    try:
        with torch.device("meta"):  # no weights are drawn only to be replaced
            network = kind.from_config(config)
    except Exception as error:  # diffusers trusts its configs: odd ones raise whatever they meet
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise HslError(f"{name}: config.json describes no {kind.__name__} ({reason})") from error
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    problems: dict[str, list[str]] = {"missing": []}
    seen: set[str] = set()
    state = dict(finite(_fitting(tensors, shapes, problems, seen), name))
    problems["missing"] = [key for key in shapes if key not in seen]
    lines = [f"{len(v)} {problem} ({', '.join(v[:3])})" for problem, v in problems.items() if v]
    if lines:
        raise HslError(f"{name}: weights do not fit config.json: {'; '.join(lines)}")
    network.load_state_dict(state, assign=True)
    result: Network = network.requires_grad_(False).eval()
    return result


def _fitting(
    tensors: Iterable[tuple[str, Tensor]],
    shapes: dict[str, tuple[int, ...]],
    problems: dict[str, list[str]],
    seen: set[str],
) -> Iterator[tuple[str, Tensor]]:
    """Those of ``tensors`` that have one of the ``shapes``, by the names they have now. What is
    wrong with the others is added to ``problems``, and every name to ``seen``."""
    for name, tensor in tensors:
        key = _renamed(bare(name))
        problem = "given twice" if key in seen else fault(tensor)
        if problem is None and key not in shapes:
            problem = "unexpected"
        if problem is None and tuple(tensor.shape) != shapes[key]:
            problem = "misshapen"
        seen.add(key)
        if problem is None:
            yield key, tensor
        else:
            problems.setdefault(problem, []).append(name)


def set_heads(unet: UNet2DModel, heads: int) -> None:
    """Give every attention layer of ``unet`` the same number of heads, whatever its width
    (ADM at 128 pixels, improved-diffusion's ImageNet at 64).

    Raises:
        HslError: the heads do not divide a layer's width.
    """
    for module in unet.modules():
        if isinstance(module, Attention):
            if module.inner_dim % heads:
                raise HslError(f"mixed_heads={heads} do not divide {module.inner_dim} channels")
            module.heads = heads
    unet.mixed_heads = heads


def _renamed(key: str) -> str:
    for old, new in _RENAMED.items():
        key = key.replace(old, new)
    return key
