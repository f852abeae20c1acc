"""What is known of image files without opening them again: a cache on disk."""

import json
import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from hsl.data.images import Undecodable, decode
from hsl.files import replacing
from hsl.store import key_of

_VERSION = 1  # of what an entry says: another one makes all entries anew


def cache_folder() -> Path:
    """Where hsl keeps what can be made again: ``HSL_CACHE``, or ``hsl`` in the user's cache."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HSL_CACHE") or Path(user) / "hsl")


class Row(NamedTuple):
    """An image before it is read. ``number``: its index; ``path``: where it comes from, unique
    within its source; ``labels [A]``, each 0 or 1; ``key``: what its source reads it by; ``stamp``:
    changes with its content, None where nobody knows."""

    number: int
    path: str
    labels: tuple[float, ...]
    key: Any
    stamp: str | None


class Entry(NamedTuple):
    """What a look at an image found: the SHA-256 of its file, its width and height in pixels
    (0 where it does not decode), and what is wrong with it, one line, or None."""

    digest: str
    width: int
    height: int
    error: str | None


def inspect(content: bytes, path: str) -> Entry:
    """Hash an image's file, and decode it to its end.

    Raises:
        HslError: it has too many pixels to be decoded.
    """
    digest = sha256(content).hexdigest()
    try:
        width, height = decode(content, path).size
    except Undecodable as error:
        return Entry(digest, 0, 0, str(error))
    return Entry(digest, width, height, None)


class Index:
    """Entries of the images of one data set, kept between runs.

    An entry holds as long as the image's stamp does. Processes may share the cache: files are
    replaced whole, and what a process loses to another is only looked up again.

    Args:
        name: of the data set, JSON values that tell it from others.
        look: makes an entry from an image's content and path.
    """

    def __init__(self, *name: Hashable, look: Callable[[bytes, str], Entry] = inspect) -> None:
        self.look = look
        self.path = cache_folder() / "index" / f"{key_of(_VERSION, *name)}.json"
        self._kept = self._load()
        self._new: dict[str, list[Any]] = {}

    def entries(self, rows: Sequence[Row], read: Callable[[Any], bytes]) -> list[Entry]:
        """The entry of each row; those that are not known are made by several threads at once."""

        def make(row: Row) -> Entry:
            try:
                return self.look(read(row.key), row.path)
            except OSError as error:
                return Entry("", 0, 0, f"{row.path}: cannot be read ({error.strerror or error})")

        found = [self._known(row) for row in rows]
        missing = [i for i, entry in enumerate(found) if entry is None]
        if missing:
            several = [rows[i] for i in missing]
            with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as threads:
                for i, made in zip(missing, threads.map(make, several), strict=True):
                    found[i] = made
                    if rows[i].stamp and made.digest:  # a file that cannot be read may be mended
                        self._new[rows[i].path] = [rows[i].stamp, *made]
        return [entry for entry in found if entry is not None]

    def _known(self, row: Row) -> Entry | None:
        kept = self._kept.get(row.path)
        return Entry(*kept[1:]) if kept and row.stamp and kept[0] == row.stamp else None

    def save(self) -> None:
        """Write what is new. A cache that cannot be written costs time alone."""
        if not self._new:
            return
        self._kept = self._load() | self._kept | self._new
        self._new = {}
        with suppress(OSError), replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self._kept), "utf-8")

    def _load(self) -> dict[str, list[Any]]:
        """A damaged file counts as none."""
        try:
            kept = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        entries = kept.items() if isinstance(kept, dict) else ()
        whole = 1 + len(Entry._fields)
        return {name: v for name, v in entries if isinstance(v, list) and len(v) == whole}
