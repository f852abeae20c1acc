"""The image files of a folder."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hsl.errors import HslError

#: Files of a folder that are taken for images. What is in them is found out by looking.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif"}
)


class Found(NamedTuple):
    """A file: its path, its path within the folder (with ``/``), and a stamp that changes with its
    content: size and time of change."""

    path: Path
    name: str
    stamp: str


def image_files(folder: Path) -> list[Found]:
    """The image files of a folder and its subfolders in natural order (``2.png`` before
    ``10.png``), whatever the order on disk.

    Links are followed, each folder once. Hidden files and folders are left out. A link that leads
    nowhere is listed with an empty stamp, so that reading it says so.

    Raises:
        HslError: no such folder, no images in it, or a part of it that may not be read.
    """
    try:
        found = list(_walk(folder, "", set()))
    except OSError as error:
        raise HslError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error
    if not found:
        raise HslError(f"{folder}: no images in this folder ({', '.join(sorted(SUFFIXES))})")
    return sorted(found, key=lambda file: (natural(file.name), file.name))


def _walk(folder: Path, prefix: str, seen: set[tuple[int, int]]) -> Iterator[Found]:
    here = folder.stat()
    if (here.st_dev, here.st_ino) in seen:
        return
    seen.add((here.st_dev, here.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name, path = prefix + entry.name, Path(entry.path)
            try:
                status = entry.stat()
            except OSError:  # a link that leads nowhere, or round in a ring
                status = None
            if status is not None and stat.S_ISDIR(status.st_mode):
                yield from _walk(path, f"{name}/", seen)
            elif path.suffix.lower() in SUFFIXES:
                if status is None:
                    yield Found(path, name, "")
                elif stat.S_ISREG(status.st_mode):  # reading a pipe may never end
                    yield Found(path, name, f"{status.st_size} {status.st_mtime_ns}")


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key: runs of digits compare as numbers."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
