"""Read tensors from checkpoint files (safetensors, or PyTorch files that hold plain data only), and
write them one by one."""

import json
import math
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hsl.errors import HslError
from hsl.files import open_regular, replacing
from hsl.files.headers import parse_header
from hsl.files.tensors import SUM, checksum, part, sound

_DOWNLOAD = "fetch it anew"


def read(path: str | Path, mapped: bool = False) -> Any:
    """What a checkpoint file holds: tensors on the CPU in dicts and lists.

    Nothing in the file is ever run: PyTorch files are read with ``weights_only=True``.

    Args:
        path: a ``.safetensors`` file, or one written by ``torch.save`` (zip or legacy format).
        mapped: leave a zip's tensors on disk until they are used, so that a file can be converted
            in little memory; it must then stay as it is as long as they are.

    Raises:
        HslError: no such file, a truncated one, one with code in it, or no checkpoint at all.
    """
    path = Path(path)
    with open_regular(path, "a checkpoint") as file:
        head = file.read(64)
    if head[:1] == b"<":
        raise HslError(f"{path}: is a web page, not a checkpoint; {_DOWNLOAD} by its direct link")
    if head.startswith(b"version https://git-lfs"):
        raise HslError(f"{path}: is a Git LFS pointer, not the checkpoint; run git lfs pull")
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return _safetensors(path)
    is_zip = head.startswith(b"PK")
    if not is_zip and head[:1] != b"\x80":
        raise HslError(f"{path}: neither safetensors nor a PyTorch file; give a checkpoint")
    try:
        if is_zip:
            _compare(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and is_zip)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+)", str(error))
        if match:
            raise HslError(
                f"{path}: holds more than tensors ({match[1]}), and reading that could run code; "
                "save its state_dict alone and give that file"
            ) from error
        raise HslError(f"{path}: damaged or truncated ({_line(error)}); {_DOWNLOAD}") from error
    except RuntimeError as error:
        if "file not found" in str(error):
            raise HslError(
                f"{path}: a zip archive, but no checkpoint; give a checkpoint"
            ) from error
        if "TorchScript" in str(error):
            raise HslError(f"{path}: a TorchScript program; give a file of tensors") from error
        raise HslError(f"{path}: damaged or truncated ({_line(error)}); {_DOWNLOAD}") from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        raise HslError(f"{path}: damaged or truncated ({_line(error)}); {_DOWNLOAD}") from error


def state_dicts(content: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Every flat dict of tensors in what `read` returned, with its place, e.g. ``4`` or
    ``state_dict`` (empty: the file itself)."""
    if isinstance(content, Mapping):
        if any(isinstance(value, Tensor) for value in content.values()):
            yield where, {str(key): value for key, value in content.items()}
        items = list(content.items())
    elif isinstance(content, list | tuple):
        items = list(enumerate(content))
    else:
        return
    for key, value in items:
        if not isinstance(value, Tensor):
            yield from state_dicts(value, f"{where}.{key}" if where else str(key))


def write(
    path: str | Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[tuple[str, Tensor]]
) -> None:
    """Write float32 tensors as safetensors one by one, so that they need not all be in memory; with
    a checksum.

    Args:
        path: file to write; it appears whole or not at all.
        shapes: of every tensor, in the order in which they come.
        tensors: names and tensors.

    Raises:
        ValueError: tensors that are not as announced.
    """
    longest = len(_header(shapes, 2**32 - 1))
    longest += -longest % 8  # the format wants the data aligned
    left, parts = list(shapes), []
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.seek(8 + longest)
        for name, tensor in tensors:
            if not left or name != left.pop(0) or tuple(tensor.shape) != tuple(shapes[name]):
                raise ValueError(f"{name}: not the tensor that was announced")
            values = tensor.float().contiguous()
            file.write(values.numpy().astype("<f4", copy=False).tobytes())
            parts.append(part(name, values))
        if left:
            raise ValueError(f"{left[0]}: announced, but not given")
        file.seek(0)
        text = _header(shapes, checksum({}, parts)).ljust(longest)
        file.write(longest.to_bytes(8, "little") + text)


def _header(shapes: Mapping[str, tuple[int, ...]], total: int) -> bytes:
    """What begins a safetensors file of float32 tensors with a checksum."""
    about = json.dumps({SUM: total})
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "hsl": about}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    return json.dumps(header).encode()


def _compare(path: Path) -> None:
    """Refuse a zip file that is no checkpoint, or whose parts are not those that were written:
    torch itself does not compare their checksums.

    Raises:
        HslError: it is a program, or another archive.
        zipfile.BadZipFile, ...: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise HslError(f"{path}: a TorchScript program; give a file of tensors")
        if not any(entry.filename.endswith("/data.pkl") for entry in entries):
            raise HslError(f"{path}: a zip archive, but no checkpoint; give a checkpoint")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise HslError(f"{path}: compressed, which torch.save never does; save it anew")
        if all(entry.CRC == 0 for entry in entries):  # torch was told to leave checksums out
            return
        for entry in entries:
            with archive.open(entry) as file:
                while file.read(1 << 20):  # compares the checksum at the end
                    pass


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get("hsl")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about is not None and not sound(parse_header(about), tensors):
            raise ValueError("its values are not those that were written")
        return tensors
    except (SafetensorError, OSError, ValueError) as error:
        raise HslError(
            f"{path}: not a whole safetensors file ({_line(error)}); {_DOWNLOAD}"
        ) from error


def _line(error: Exception) -> str:
    """An error's first line, short."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:120]
