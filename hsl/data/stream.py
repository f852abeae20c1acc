"""Images that come over the network once: those that are asked for are kept, the rest never
downloaded."""

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hsl.data.index import Entry, Row, cache_folder
from hsl.data.items import SPLITS, Split
from hsl.data.selection import Part, Selection, Source
from hsl.store import key_of


class Stream(Source):
    """A source whose rows bring their files along, as `Row.key`, and come once."""

    def read(self, key: Any) -> bytes:
        assert isinstance(key, bytes)
        return key


class Kept(Source):
    """Images of a stream as files."""

    def parts(self) -> list[Part]:
        return []  # they are selected

    def read(self, key: Any) -> bytes:
        return Path(key).read_bytes()


def kept(
    stream: Stream, options: Any, select: Callable[[Source], Selection]
) -> tuple[Selection, Source]:
    """Select from a stream, or take what an earlier run with the same ``options`` (JSON values)
    selected; then nothing is fetched.

    The files lie in ``streams`` in the cache folder, which may be deleted. A selection appears
    there whole or not at all, and processes may race for it.
    """
    folder = cache_folder() / "streams" / key_of(list(stream.identity), options)
    if not (folder / "rows.json").is_file():
        temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
        try:
            _write(temporary, stream, select(stream))
            os.replace(temporary, folder)
        except OSError:
            if not (folder / "rows.json").is_file():  # another process was faster otherwise
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return _read(folder, stream)


def _write(folder: Path, stream: Stream, found: Selection) -> None:
    folder.mkdir(parents=True)
    rows: dict[Split, list[Any]] = {}
    for split, several in found.rows.items():
        rows[split] = []
        for row, entry in zip(several, found.entries[split], strict=True):
            name = f"{row.number}.image"
            (folder / name).write_bytes(row.key)
            rows[split].append([row.number, row.path, row.labels, name, entry])
    about = {"skipped": found.skipped, "duplicates": found.duplicates, "seen": found.seen}
    (folder / "rows.json").write_text(json.dumps({"rows": rows, **about}), "utf-8")


def _read(folder: Path, stream: Stream) -> tuple[Selection, Source]:
    about = json.loads((folder / "rows.json").read_text("utf-8"))
    duplicates = [(one, other, across) for one, other, across in about["duplicates"]]
    found = Selection({}, {}, about["skipped"], duplicates, about["seen"])
    for split in SPLITS:
        found.rows[split] = [
            Row(number, path, tuple(labels), folder / name, None)
            for number, path, labels, name, _ in about["rows"][split]
        ]
        found.entries[split] = [Entry(*entry) for *_, entry in about["rows"][split]]
    return found, Kept(stream.identity, stream.names)
