"""A cache of tensors, in memory or on disk, keyed by what they were computed from."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from hsl.errors import HslError
from hsl.files.tensors import raw, read_tensors, write_tensors
from hsl.store.folder import HEADER, WANTED
from hsl.store.precision import stated

Record = dict[str, Tensor]
Compute = Callable[[list[int]], list[Record]]
About = Mapping[str, Any]
#: What a record of floats holds: shapes by name, -1 for what may be any.
Shapes = Mapping[str, tuple[int, ...]]


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
        whole: compute all records of a batch again where one is missing, and keep those that are
            there. The last digits of a record depend on the batch that it was computed in, so a
            run that was killed while it wrote a batch needs this to come to the same bits.
    """

    whole = False

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._memory: dict[str, Record] = {}
        #: Of files that were found sound: which file it was, and what has these shapes in it.
        self._sound: dict[str, tuple[object, Record]] = {}

    def has(self, key: str, shapes: Shapes | None = None) -> bool:
        """Whether there is a sound record of ``key``, of these shapes. A file is read once for
        this, to compare its values with their checksum."""
        record = self._memory.get(key) if self.folder is None else self._look(key)
        return record is not None and _alike(record, shapes)

    def get(self, key: str, shapes: Shapes | None = None) -> Record | None:
        """The record of ``key``, or None. A damaged file, or one of other shapes, counts as none:
        it is made anew."""
        if self.folder is None:
            record = self._memory.get(key)
        else:
            try:
                _, record = read_tensors(self._path(key), WANTED, HEADER)
            except HslError:
                record = None
        return record if record is not None and _alike(record, shapes) else None

    def tensor(self, key: str, name: str) -> Tensor:
        """One tensor of a record. Of a file whose checksum has been compared the others are not
        read.

        Raises:
            KeyError: there is no such record, or no such tensor in it, or it is damaged.
        """
        if self.folder is None:
            return self._memory[key][name]
        if self._look(key) is None:
            raise KeyError(f"{key}: missing or damaged")
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
        write_tensors(self._path(key), record, {"about": dict(about or {})})
        return record

    def many(
        self,
        keys: list[str],
        compute: Compute,
        about: About | None = None,
        shapes: Shapes | None = None,
    ) -> list[Record]:
        """Records of ``keys``. Those that are missing, or of other shapes, come from one call of
        ``compute`` with their positions among the keys, each key once, in a precision that does
        not depend on the caller's (`hsl.store.precision`)."""
        records = {key: self.get(key, shapes) for key in keys}
        missing = [key for key, record in records.items() if record is None]
        records |= self._compute_missing(keys, missing, compute, about)
        return [record for key in keys if (record := records[key]) is not None]

    def ensure(
        self,
        keys: list[str],
        compute: Compute,
        about: About | None = None,
        shapes: Shapes | None = None,
    ) -> None:
        """The same, but records that are there are not kept in memory."""
        missing = [key for key in dict.fromkeys(keys) if not self.has(key, shapes)]
        self._compute_missing(keys, missing, compute, about)

    def _compute_missing(
        self, keys: list[str], missing: list[str], compute: Compute, about: About | None
    ) -> dict[str, Record]:
        if not missing:
            return {}
        batch = list(dict.fromkeys(keys)) if self.whole else missing
        with stated():
            records = compute([keys.index(key) for key in batch])
        pairs = zip(batch, records, strict=True)
        return {key: self.put(key, record, about) for key, record in pairs if key in missing}

    def _look(self, key: str) -> Record | None:
        """The shapes and types of a record's tensors (on the meta device), if its file is sound.
        It is read when it is seen for the first time, or has changed."""
        path = self._path(key)
        try:
            status = path.stat()
            which = (status.st_ino, status.st_size, status.st_mtime_ns)
            if key not in self._sound or self._sound[key][0] != which:
                _, record = read_tensors(path, WANTED, HEADER)
                self._sound[key] = which, {k: v.to("meta") for k, v in record.items()}
        except (HslError, OSError):
            return None
        return self._sound[key][1]

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.safetensors"


def _alike(record: Record, shapes: Shapes | None) -> bool:
    """Whether a record has just these tensors, of floats."""
    if shapes is None:
        return True
    return record.keys() == shapes.keys() and all(
        tensor.is_floating_point()
        and tensor.ndim == len(shapes[name])
        and all(n in (-1, m) for n, m in zip(shapes[name], tensor.shape, strict=True))
        for name, tensor in record.items()
    )
