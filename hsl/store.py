"""A cache of tensors, in memory or on disk, keyed by what they were computed from."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from hsl.report import replacing

Record = dict[str, Tensor]


def key_of(*parts: Any) -> str:
    """A key from JSON values and tensors (by content, shape and type), 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            # as bytes, since numpy has no bfloat16
            raw = part.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(raw.numpy().tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"|")
    return digest.hexdigest()[:32]


class Store:
    """Records of named tensors by key.

    Args:
        folder: where records are kept as safetensors files, shared by runs and ranks; None
            keeps them in memory for the life of this object.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._memory: dict[str, Record] = {}

    def get(self, key: str) -> Record | None:
        """The record of ``key``, or None. A damaged file counts as none: it is made anew."""
        if self.folder is None:
            return self._memory.get(key)
        path = self._path(key)
        try:
            return load_file(path) if path.exists() else None
        except (SafetensorError, OSError):
            return None

    def tensor(self, key: str, name: str) -> Tensor:
        """One tensor of a record, without reading the others.

        Raises:
            KeyError: there is no such record, or no such tensor in it.
        """
        if self.folder is None:
            return self._memory[key][name]
        try:
            with safe_open(self._path(key), framework="pt") as file:
                tensor: Tensor = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise KeyError(f"{key}: {name}") from error
        return tensor

    def put(self, key: str, record: Record) -> Record:
        """Keep a record, on the CPU, and return it."""
        record = {name: tensor.detach().cpu().contiguous() for name, tensor in record.items()}
        if self.folder is None:
            self._memory[key] = record
            return record
        with replacing(self._path(key)) as temporary:
            save_file(record, temporary)
        return record

    def many(self, keys: list[str], compute: Callable[[list[int]], list[Record]]) -> list[Record]:
        """Records of ``keys``; ``compute`` makes those at the given positions that are missing,
        as one batch, each key once."""
        found = {key: self.get(key) for key in keys}
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        missing = sorted(i for key, i in first.items() if found[key] is None)
        if missing:
            for i, made in zip(missing, compute(missing), strict=True):
                found[keys[i]] = self.put(keys[i], made)
        return [record for key in keys if (record := found[key]) is not None]

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.safetensors"
