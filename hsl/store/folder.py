"""The upkeep of a folder of records: what is in it, what is damaged, what can go."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from hsl.errors import HslError
from hsl.files.headers import read_header
from hsl.files.leftovers import is_abandoned, is_temporary

#: What messages call a file of the cache, and what its header says: what the record is and, in
#: older ones, its checksum.
WANTED, HEADER = "a record of the cache", frozenset({"about", "crc32"})
_RECORD = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{30}\.safetensors")
#: What a damaged file, header or entry of the header raises.
_UNREADABLE = (SafetensorError, OSError, ValueError, TypeError)


class StoredFile(NamedTuple):
    """A file of the store: ``size`` in bytes, ``age`` in seconds since it was written, and what
    the record says of itself; of a file whose header cannot be read, None."""

    path: Path
    size: int
    age: float
    about: dict[str, Any] | None

    @property
    def kind(self) -> str:
        """What sort of record it is: "damaged" if it cannot be read, "unknown" if it is older than
        such words."""
        return "damaged" if self.about is None else str(self.about.get("kind", "unknown"))


def records(folder: Path) -> list[StoredFile]:
    """The records in a folder, oldest first.

    Raises:
        HslError: there is no such folder.
    """
    entries = [entry._replace(about=_about(entry.path)) for entry in _files(folder, _is_record)]
    return sorted(entries, key=lambda entry: -entry.age)


def leftovers(folder: Path) -> list[StoredFile]:
    """What killed writers left behind.

    Raises:
        HslError: there is no such folder.
    """
    return [entry for entry in _files(folder, _is_leftover) if is_abandoned(entry.path)]


def sweep(folder: Path) -> None:
    """Remove what killed writers left behind, if there is such a folder."""
    if folder.is_dir():
        for entry in leftovers(folder):
            entry.path.unlink(missing_ok=True)


def damage(path: Path) -> str | None:
    """What is wrong with a record, which is read as a whole; None if it is sound. Values are
    compared with their checksum, if the record has one."""
    from hsl.files.tensors import read_tensors  # with PyTorch, which a list does without

    try:
        read_tensors(path, WANTED, HEADER)
    except HslError as error:
        # another process may have pruned it meanwhile
        return str(error).removeprefix(f"{path}: ") if path.exists() else None
    return None


def surplus(entries: list[StoredFile], most: float) -> list[StoredFile]:
    """The oldest of ``entries``, by ``records``, without which the others have at most ``most``
    bytes."""
    total, oldest = sum(entry.size for entry in entries), []
    for entry in entries:
        if total <= most:
            break
        total -= entry.size
        oldest.append(entry)
    return oldest


def _files(folder: Path, has_name: Callable[[str], bool]) -> Iterator[StoredFile]:
    """The files of such names: nothing else in the folder is touched."""
    if not folder.is_dir():
        raise HslError(f"{folder}: no such folder; give the one that was a method's cache")
    now = time.time()
    for path in folder.glob("??/*"):
        if has_name(path.relative_to(folder).as_posix()):
            try:
                status = path.stat()
            except FileNotFoundError:  # pruned meanwhile by another process
                continue
            yield StoredFile(path, status.st_size, now - status.st_mtime, None)


def _is_record(name: str) -> bool:
    return _RECORD.fullmatch(name) is not None


def _is_leftover(name: str) -> bool:
    folder, _, file = name.partition("/")
    return re.fullmatch("[0-9a-f]{2}", folder) is not None and is_temporary(file)


def _about(path: Path) -> dict[str, Any] | None:
    try:
        return dict(read_header(path).get("about", {}))
    except _UNREADABLE:
        return None
