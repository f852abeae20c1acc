"""The weights in a folder that diffusers wrote: which of its files they are, and what is in them.

As in diffusers, the index of shards goes before a single file, and safetensors before PyTorch's.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from hsl import ranks
from hsl.backbones.configs import read_json
from hsl.errors import HslError
from hsl.files import checkpoints

_STEM = "diffusion_pytorch_model"
_SHARD = re.compile(r"-\d+-of-\d+\.")
#: Files that other programs keep weights in.
_OTHERS = (".bin", ".ckpt", ".flashpack", ".gguf", ".h5", ".msgpack", ".pt", ".pth", ".safetensors")


class _File(NamedTuple):
    """A file of weights, or the index of shards; ``variant``: e.g. ``fp16``, or nothing."""

    path: Path
    kind: Literal["safetensors", "bin"]
    is_index: bool
    variant: str

    @property
    def rank(self) -> int:
        """Lowest first, as diffusers looks for them."""
        return 2 * (self.kind == "bin") + (self.is_index == (self.kind == "bin"))


def weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a folder written by ``save_pretrained``, each let go when the next is taken.

    Of several variants the one without a name is taken, which is the full-precision one; else the
    only one there is.

    Raises:
        HslError: there is none, or more than one that could be meant; a damaged file; shards
            without an index, or other shards than the index says.
    """
    chosen = _choose(folder)
    if chosen.is_index:
        yield from _shards(chosen.path)
        return
    tensors = _read(chosen.path)
    while tensors:
        yield tensors.popitem()


def has_safetensors(folder: Path) -> bool:
    """Whether what `weights` would read is there in safetensors."""
    return any(file.kind == "safetensors" for file in _files(folder))


def _files(folder: Path) -> list[_File]:
    """Every file of weights and every index in ``folder``; shards count by their index alone."""
    files = []
    for path in sorted(folder.iterdir()):
        parts = path.name.split(".")
        if parts[0] != _STEM or _SHARD.search(path.name):
            continue
        is_index = parts[-1] == "json" and "index" in parts
        words = [p for p in parts[1:] if not is_index or p not in ("index", "json")]
        for kind in ("safetensors", "bin"):
            if words.count(kind) == 1 and (is_index or words[-1] == kind):
                words.remove(kind)
                files.append(_File(path, kind, is_index, ".".join(words)))
    return files


def _choose(folder: Path) -> _File:
    files = _files(folder)
    if not files:
        raise HslError(f"{folder}: {_absent(folder)}")
    variants = sorted({file.variant for file in files})
    others = [v for v in variants if v]
    if "" not in variants and len(variants) > 1:
        raise HslError(f"{folder}: holds the variants {', '.join(variants)} and no file without "
                       "one; leave there the one that is meant")  # fmt: skip
    chosen = min((f for f in files if f.variant == variants[0]), key=lambda file: file.rank)
    if chosen.variant:
        ranks.warn(f"{folder}: holds only the variant {chosen.variant}; took "
                       f"{chosen.path.name}")  # fmt: skip
    elif others:
        ranks.warn(f"{folder}: took {chosen.path.name}, and left the variant"
                       f"{'s' * (len(others) > 1)} {', '.join(others)} beside it")  # fmt: skip
    return chosen


def _absent(folder: Path) -> str:
    """Why a folder has no weights, as far as its files tell."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    shards = [name for name in names if name.startswith(_STEM) and _SHARD.search(name)]
    if shards:
        return (f"shards ({shards[0]} ...) without an index, which would say what belongs "
                f"together; put {_STEM}.safetensors.index.json there")  # fmt: skip
    others = [name for name in names if name.endswith(_OTHERS)]
    hint = f" (it holds {', '.join(others[:3])})" if others else ""
    return f"no weights{hint}; put {_STEM}.safetensors there"


def _shards(index: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors that an index names, from the shards it puts them in."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise HslError(f"{index}: no weight_map; fetch it anew")
    shards: dict[str, set[str]] = {}
    for name, shard in places.items():
        if not isinstance(shard, str) or "\\" in shard or Path(shard).name != shard:
            raise HslError(f"{index}: puts {name} into {shard!r}, which is no file beside it; "
                           "fetch it anew")  # fmt: skip
        shards.setdefault(shard, set()).add(name)
    # of a name that no file can have, Path.is_file raises
    missing = [shard for shard in sorted(shards) if not os.path.isfile(index.parent / shard)]
    if missing:
        raise HslError(f"{index}: names {missing[0][:200]}, which is not there; fetch it")
    for shard in sorted(shards):
        tensors = _read(index.parent / shard)
        if odd := sorted(shards[shard] ^ tensors.keys()):
            verb = "lacks" if odd[0] in shards[shard] else "holds"
            raise HslError(f"{index.parent / shard}: {verb} {odd[0]}, against {index.name}: of "
                           "another save; fetch both anew")  # fmt: skip
        while tensors:
            yield tensors.popitem()


def _read(path: Path) -> dict[str, Any]:
    tensors = checkpoints.read(path)
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()
    ):
        raise HslError(f"{path}: holds more than tensors by name; fetch it anew")
    return dict(tensors)
