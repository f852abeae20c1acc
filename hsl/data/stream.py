"""Images that come over the network once: those that are asked for are kept, the rest never
downloaded."""

import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from hsl.data.index import Inspection, Row, cache_folder
from hsl.data.items import SPLITS, Split
from hsl.data.notes import read_notes, write_notes
from hsl.data.selection import Selection, Source, SourcePart
from hsl.errors import HslError
from hsl.files import require_writable_folder
from hsl.files.leftovers import sweep, temporary_name
from hsl.store import key_of

_NOTES = "rows.json"
_VERSION = 2  # of what is kept


class Stream(Source):
    """A source whose rows bring their files along, as `Row.key`, and come once."""

    def read(self, key: Any) -> bytes:
        assert isinstance(key, bytes)
        return key


class FetchedImages(Source):
    """Images of a stream as files; `Row.key` is the path of one, and the SHA-256 of its content."""

    def parts(self) -> list[SourcePart]:
        return []  # they are selected

    def read(self, key: Any) -> bytes:
        path, digest = key
        content = Path(path).read_bytes()
        if sha256(content).hexdigest() != digest:
            raise HslError(f"{path}: is damaged; delete its folder, and it is fetched again")
        return content


def select_once(
    stream: Stream, options: Any, select: Callable[[Source], Selection]
) -> tuple[Selection, Source]:
    """Select from a stream, or take what an earlier run with the same ``options`` (JSON values)
    selected; then nothing is fetched.

    The files lie in ``streams`` in the cache folder, which may be deleted. A selection appears
    there whole or not at all, and processes may race for it. A damaged one is fetched again.

    Raises:
        HslError: as ``select``, or the cache folder cannot be written.
    """
    folder = cache_folder() / "streams" / key_of(_VERSION, list(stream.identity), options)
    if (selected := _read(folder, stream)) is not None:
        return selected
    require_writable_folder(folder)
    sweep(folder.parent)
    temporary = folder.with_name(temporary_name())
    damaged = folder.with_name(temporary_name())
    try:
        _write(temporary, stream, select(stream))
        if (selected := _read(folder, stream)) is None:  # else another process has kept it
            if folder.exists():
                os.replace(folder, damaged)
            os.replace(temporary, folder)
            selected = _read(folder, stream)
    except OSError as error:
        if (selected := _read(folder, stream)) is None:  # else another process has kept it just now
            raise HslError(
                f"{folder}: what was fetched cannot be kept ({error.strerror or error}); set "
                "HSL_CACHE to another folder"
            ) from error
    finally:
        for left in (temporary, damaged):
            shutil.rmtree(left, ignore_errors=True)
    if selected is None:
        raise HslError(f"{folder}: what was fetched is not there any more; try again")
    return selected


def _write(folder: Path, stream: Stream, selection: Selection) -> None:
    folder.mkdir(parents=True)
    rows: dict[Split, list[Any]] = {}
    for split, several in selection.rows.items():
        rows[split] = []
        for row, entry in zip(several, selection.entries[split], strict=True):
            name = f"{row.number}.image"
            (folder / name).write_bytes(row.key)
            rows[split].append([row.number, row.path, row.labels, name, entry])
    about = {name: getattr(selection, name) for name in ("skipped", "duplicates", "seen")}
    write_notes(folder / _NOTES, {"rows": rows, **about})


def _read(folder: Path, stream: Stream) -> tuple[Selection, Source] | None:
    """What an earlier run selected; None: nothing, or it is damaged, or an image is not there."""
    about = read_notes(folder / _NOTES)
    if about is None:
        return None
    duplicates = [(one, other, across) for one, other, across in about["duplicates"]]
    selection = Selection({}, {}, about["skipped"], duplicates, about["seen"])
    for split in SPLITS:
        selection.entries[split] = [Inspection(*entry) for *_, entry in about["rows"][split]]
        selection.rows[split] = [
            Row(number, path, tuple(labels), (folder / name, entry[0]), None)
            for number, path, labels, name, entry in about["rows"][split]
        ]
    if not all(row.key[0].is_file() for rows in selection.rows.values() for row in rows):
        return None
    return selection, FetchedImages(stream.identity, stream.names)
