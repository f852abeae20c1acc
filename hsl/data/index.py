"""What is known of image files without opening them again: a cache on disk."""

import errno
import os
import re
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import PIL

from hsl.data.decoding import NO_MEMORY, OutOfMemory, Undecodable, decode
from hsl.data.formats import formats
from hsl.data.notes import read_notes, write_notes
from hsl.errors import HslError
from hsl.store import key_of

_VERSION = 2  # of what an entry says: another one makes all entries anew
#: Why a file cannot be read now, though nothing is wrong with it.
_PASSING = (
    "EAGAIN", "EBUSY", "ECONNABORTED", "ECONNRESET", "EDEADLK", "EHOSTDOWN", "EHOSTUNREACH",
    "EINTR", "EMFILE", "ENETDOWN", "ENETRESET", "ENETUNREACH", "ENFILE", "ENOBUFS", "ENOLCK",
    "ENOMEM", "ENOTCONN", "EREMOTEIO", "ESTALE", "ETIMEDOUT", "ETXTBSY",
)  # fmt: skip
_DIGEST = re.compile(r"[0-9a-f]{64}")


def cache_folder() -> Path:
    """Where hsl keeps what can be made again: ``HSL_CACHE``, or ``hsl`` in the user's cache.

    Raises:
        HslError: the user has no home, and the variable is not set.
    """
    try:
        if folder := os.environ.get("HSL_CACHE"):
            return Path(folder)
        user = os.environ.get("XDG_CACHE_HOME")
        return (Path(user) if user else Path.home() / ".cache") / "hsl"
    except RuntimeError as error:
        raise HslError(
            "there is no home folder to keep things in: set HSL_CACHE to a folder"
        ) from error


class Row(NamedTuple):
    """An image before it is read. ``number``: its index; ``path``: where it comes from, unique
    within its source; ``labels [A]``, each 0 or 1; ``key``: what its source reads it by; ``stamp``:
    changes with its content, None where nobody knows."""

    number: int
    path: str
    labels: tuple[float, ...]
    key: Any
    stamp: str | None


class Inspection(NamedTuple):
    """What a look at an image found: the SHA-256 of its file, its width and height in pixels
    (0 where it does not decode), and what is wrong with it, one line, or None."""

    digest: str
    width: int
    height: int
    error: str | None


def inspect(content: bytes, path: str) -> Inspection:
    """Hash an image's file, and decode it to its end.

    Raises:
        HslError: it has too many pixels to be decoded.
    """
    digest = sha256(content).hexdigest()
    try:
        width, height = decode(content, path).size
    except Undecodable as error:
        return Inspection(digest, 0, 0, str(error))
    return Inspection(digest, width, height, None)


def readable(error: OSError, path: str) -> str:
    """One line for a file that cannot be read, and never could since it was last changed.

    Raises:
        HslError: the reason is one that passes, and says nothing about the file.
    """
    reason = error.strerror or str(error)
    passing = errno.errorcode.get(error.errno or 0) in _PASSING
    if passing or isinstance(error, TimeoutError | ConnectionError):
        raise HslError(f"{path}: cannot be read at the moment ({reason}); try again") from error
    return f"{path}: cannot be read ({reason})"


class Index:
    """Entries of the images of one source. Each stands as long as the image's stamp does.

    It lies in ``index`` in the cache folder, which may be deleted, and be used by several
    processes at once. What is found in a damaged file, or by a Pillow of another version, counts
    as not known; without a cache folder all is looked at each time.

    Args:
        name: values that tell this source from all others, as for `key_of`.
        look: makes an entry from a file's content and the image's path.
    """

    def __init__(self, *name: Hashable, look: Callable[[bytes, str], Inspection] = inspect) -> None:
        self.look = look
        key = key_of(_VERSION, PIL.__version__, list(formats()), *name)
        self.path: Path | None = None
        with suppress(HslError):
            self.path = cache_folder() / "index" / f"{key}.json"
        self._stored = self._load()
        self._new: dict[str, list[Any]] = {}

    def entries(self, rows: Sequence[Row], read: Callable[[Any], bytes]) -> list[Inspection]:
        """The entry of each row; those that are not known are made by several threads at once.

        Raises:
            HslError: an image cannot be read, or not be decoded, for a reason that passes: what it
                is cannot be said.
        """

        def make(row: Row) -> Inspection | None:
            try:
                return self.look(read(row.key), row.path)
            except OSError as error:
                return Inspection("", 0, 0, readable(error, row.path))
            except (OutOfMemory, MemoryError):
                return None

        entries = [self._known(row) for row in rows]
        missing = [i for i, entry in enumerate(entries) if entry is None]
        if missing:
            several = [rows[i] for i in missing]
            with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as threads:
                inspected = list(threads.map(make, several))
            for i, entry in zip(missing, inspected, strict=True):
                # an image that was too large beside others may fit into memory alone
                if (entry := entry or make(rows[i])) is None:
                    raise OutOfMemory(f"{rows[i].path}: {NO_MEMORY}")
                entries[i] = entry
                if rows[i].stamp and entry.digest:  # a file that cannot be read may be mended
                    self._new[rows[i].path] = [rows[i].stamp, *entry]
        return [entry for entry in entries if entry is not None]

    def _known(self, row: Row) -> Inspection | None:
        values = self._stored.get(row.path)
        return Inspection(*values[1:]) if values and row.stamp and values[0] == row.stamp else None

    def save(self) -> None:
        """Write what is new. A cache that cannot be written costs time alone."""
        if not self._new or self.path is None:
            return
        self._stored = self._load() | self._stored | self._new
        self._new = {}
        with suppress(HslError):
            write_notes(self.path, self._stored)

    def _load(self) -> dict[str, list[Any]]:
        """What is whole of the file."""
        notes = None if self.path is None else read_notes(self.path)
        entries = notes.items() if isinstance(notes, dict) else ()
        return {path: values for path, values in entries if _is_whole(values)}


def _is_whole(values: Any) -> bool:
    """Whether values from a file are a stamp and an entry."""
    if not isinstance(values, list) or len(values) != 1 + len(Inspection._fields):
        return False
    stamp, digest, *sides, error = values
    if not isinstance(stamp, str) or not isinstance(error, str | None):
        return False
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        return False
    least = 0 if error is not None else 1
    return all(type(side) is int and side >= least for side in sides)
