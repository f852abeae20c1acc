"""Files of tensors that say what they are: safetensors with a JSON header and a checksum."""

import json
import math
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hsl.errors import HslError
from hsl.files import replacing, require_file
from hsl.files.headers import parse_header

#: What a header calls its checksum.
SUM = "checksum"
_ANEW = "fetch or make it anew"


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> Path:
    """Write tensors and what is said of them as one safetensors file, whole or not at all.

    Args:
        path: file to write.
        tensors: by name, on any device.
        header: JSON values under string keys; numbers that are not finite become null. A checksum
            of it and of the tensors is kept beside it.

    Raises:
        HslError: it cannot be written.
    """
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    stated = json.loads(json.dumps(_finite(header)))
    stated.pop(SUM, None)  # of the file that the header was read from
    stated[SUM] = checksum(stated, map(part, contents, contents.values()))
    with replacing(path) as temporary:
        # not save_file, which writes to a name of its own first: a kill would leave that behind
        temporary.write_bytes(save(contents, metadata={"hsl": json.dumps(stated)}))
    return Path(path)


def read_tensors(
    path: str | Path, what: str, names: Collection[str] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors, on the CPU, that `write_tensors` wrote.

    Args:
        path: the file.
        what: is wanted, for messages: "a direction saved by hsl".
        names: that the header may have; None: any. (A checksum of another name, by a flipped bit,
            is none.)

    Raises:
        HslError: no such file, a damaged one, one whose values are not those that were written,
            or one that hsl did not write. Files without a checksum, of older versions, are read.
    """
    path = require_file(path, what)
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_header((file.metadata() or {}).get("hsl"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not sound(header, tensors):
            raise ValueError("its values are not those that were written")
        header.pop(SUM, None)
        if strange := [] if names is None else sorted(header.keys() - set(names)):
            raise ValueError(f"{strange[0]} in its header")
    except (SafetensorError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise HslError(f"{path}: not {what}, or damaged ({reason}); {_ANEW}") from error
    return header, tensors


def sound(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bool:
    """Whether a header and tensors are those that were written, as far as the header has a
    checksum."""
    if SUM in header:
        stated = {name: value for name, value in header.items() if name != SUM}
        return bool(header[SUM] == checksum(stated, map(part, tensors, tensors.values())))
    return "crc32" not in header or bool(header["crc32"] == _older(tensors))


def checksum(header: Mapping[str, Any], parts: Iterable[str]) -> int:
    """CRC-32 of a header and of tensors.

    Args:
        header: without its checksum.
        parts: of each tensor, in any order, what `part` says of it.
    """
    lines = [json.dumps(header), *sorted(parts)]
    return zlib.crc32("\n".join(lines).encode())


def part(name: str, tensor: Tensor) -> str:
    """A tensor's name, shape, type and CRC-32."""
    return f"{name} {[*tensor.shape]} {tensor.dtype} {zlib.crc32(raw(tensor))}"


def _older(tensors: Mapping[str, Tensor]) -> int:
    """The checksum in caches of older versions."""
    total = 0
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode(), total)
        total = zlib.crc32(raw(tensor), total)
    return total


def raw(tensor: Tensor) -> memoryview:
    """A tensor's bytes; by way of uint8, since numpy has no bfloat16."""
    values: Any = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return memoryview(values)


def require_weights(tensors: Mapping[str, Tensor]) -> None:
    """Refuse what weights cannot be.

    Raises:
        ValueError: a tensor of integers or booleans, or with NaN or infinity in it.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, not floats")
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} has NaN or infinite values")


def _finite(value: Any) -> Any:
    """Numbers that JSON lacks become null."""
    if isinstance(value, Mapping):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
