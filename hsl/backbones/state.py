"""What the names and tensors of a network's state dict must be."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from hsl.errors import HslError

#: What torch's wrappers put into the names of what they wrap, wherever in a network they stand:
#: DDP and averaged models, torch.compile, FSDP, activation checkpointing.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


def bare(name: str) -> str:
    """A tensor's name without the wrappers': ``module._orig_mod.conv_in.bias`` is
    ``conv_in.bias``."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def fault(value: object) -> str | None:
    """Why this is no tensor of a network, in the words that follow "are"; None: it is one."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return "not tensors of floats"
    if value.is_nested or value.layout != torch.strided:
        return "sparse or nested"
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        return "larger than what the file holds"
    return None


def finite(tensors: Iterable[tuple[str, Tensor]], where: str) -> Iterator[tuple[str, Tensor]]:
    """The same tensors in float32, each looked at as it passes.

    Raises:
        HslError: one has NaN or infinite values, or none at all (it was on torch's meta device);
            ``where`` says what they are from.
    """
    for name, raw in tensors:
        if raw.is_meta:
            raise HslError(f"{where}: {name} has a shape, but no values; fetch the weights anew")
        tensor = raw.detach().float()
        # NaN and infinities stay such in a sum, which is all that sound weights cost
        if not bool(tensor.sum().isfinite()) and not bool(tensor.isfinite().all()):
            raise HslError(f"{where}: {name} has values that are NaN or infinite: damaged, or of a "
                           "training that diverged; fetch it anew, or take another")  # fmt: skip
        yield name, tensor
