"""Frozen diffusers networks from tensors, without a second copy of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import ModelMixin, UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from hsl import checkpoints
from hsl.errors import HslError

Network = TypeVar("Network", bound=ModelMixin)
_WEIGHTS = "diffusion_pytorch_model"
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
        HslError: no such network; tensors that are missing, unexpected, misshapen or not of
            floats; ``name`` says where they are from.
    """
    try:
        with torch.device("meta"):  # no weights are drawn only to be replaced
            network = kind.from_config(config)
    except Exception as error:  # diffusers trusts its configs: odd ones raise whatever they meet
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise HslError(f"{name}: config.json describes no {kind.__name__} ({reason})") from error
    state: dict[str, Tensor] = {}
    others = []
    for key, tensor in tensors:
        if not tensor.is_floating_point():
            others.append(key)
        state[_renamed(key)] = tensor.float()
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    problems = {
        "missing": [k for k in wanted if k not in state],
        "unexpected": [k for k in state if k not in wanted],
        "misshapen": [k for k in wanted if k in state and tuple(state[k].shape) != wanted[k]],
        "not of floats": others,
    }
    found = [f"{len(v)} {problem} ({', '.join(v[:3])})" for problem, v in problems.items() if v]
    if found:
        raise HslError(f"{name}: weights do not fit config.json: {'; '.join(found)}")
    network.load_state_dict(state, assign=True)
    result: Network = network.requires_grad_(False).eval()
    return result


def weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a folder written by ``save_pretrained``: safetensors, in shards or not, else
    a PyTorch file. Each is let go when the next is taken.

    Raises:
        HslError: there is none, or it is damaged.
    """
    single = folder / f"{_WEIGHTS}.safetensors"
    shards = sorted(folder.glob(f"{_WEIGHTS}-*-of-*.safetensors"))
    found = [single] if single.exists() else shards or sorted(folder.glob(f"{_WEIGHTS}.bin"))
    if not found:
        raise HslError(f"{folder}: no weights; put {_WEIGHTS}.safetensors there")
    for path in found:
        held = checkpoints.read(path)
        if not isinstance(held, dict) or not all(isinstance(v, Tensor) for v in held.values()):
            raise HslError(f"{path}: holds more than tensors by name; fetch it anew")
        while held:
            yield held.popitem()


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
