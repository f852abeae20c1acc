"""A cache of tensors, in memory or on disk, keyed by what they were computed from."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from hsl.files import replacing
from hsl.tensors import checksum, raw

Record = dict[str, Tensor]
Compute = Callable[[list[int]], list[Record]]
About = Mapping[str, Any]


def key_of(*parts: Any) -> str:
    """A key from JSON values and tensors (by content, shape and type), 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(raw(part))
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"|")
    return digest.hexdigest()[:32]


class Store:
    """Records of named tensors by key.

    Several processes may use a folder at once: a record appears whole or not at all, and of two
    that are written under one key, which are the same, the later one stays.

    Args:
        folder: where records are kept as safetensors files, shared by runs and ranks; None
            keeps them in memory for the life of this object.

    Attributes:
        whole: make all records of a batch again where one is missing, though the others stay. A
            run that was killed while it kept a batch needs this to come to the same bits, as the
            last digits of a record depend on what it was computed with.
    """

    whole = False

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._memory: dict[str, Record] = {}

    def has(self, key: str) -> bool:
        """Whether there is a record of ``key``. Of a file only the header is read, which says how
        long the file must be."""
        if self.folder is None:
            return key in self._memory
        try:
            with safe_open(self._path(key), framework="pt"):
                return True
        except (SafetensorError, OSError):
            return False

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

    def put(self, key: str, record: Record, about: About | None = None) -> Record:
        """Keep a record, on the CPU, and return it.

        Args:
            key: from `key_of`.
            record: tensors by name.
            about: what it is, as JSON values: kind, backbone, grid, ...; for ``python -m
                hsl.store``, which counts by kind and backbone. It is no part of the key.
        """
        record = {name: tensor.detach().cpu().contiguous() for name, tensor in record.items()}
        if self.folder is None:
            self._memory[key] = record
            return record
        said = {"about": dict(about or {}), "crc32": checksum(record)}
        with replacing(self._path(key)) as temporary:
            save_file(record, temporary, metadata={"hsl": json.dumps(said)})
        return record

    def many(self, keys: list[str], compute: Compute, about: About | None = None) -> list[Record]:
        """Records of ``keys``; ``compute`` makes those at the given positions that are missing,
        as one batch, each key once."""
        found = {key: self.get(key) for key in keys}
        missing = [key for key, record in found.items() if record is None]
        found |= self._made(keys, missing, compute, about)
        return [record for key in keys if (record := found[key]) is not None]

    def ensure(self, keys: list[str], compute: Compute, about: About | None = None) -> None:
        """The same, but records that are there are not read."""
        missing = [key for key in dict.fromkeys(keys) if not self.has(key)]
        self._made(keys, missing, compute, about)

    def _made(
        self, keys: list[str], missing: list[str], compute: Compute, about: About | None
    ) -> dict[str, Record]:
        if not missing:
            return {}
        made = list(dict.fromkeys(keys)) if self.whole else missing
        records = compute([keys.index(key) for key in made])
        pairs = zip(made, records, strict=True)
        return {key: self.put(key, record, about) for key, record in pairs if key in missing}

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.safetensors"
