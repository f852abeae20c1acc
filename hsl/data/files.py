"""The image files of a folder."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hsl import ranks
from hsl.data.formats import called, recognised, suffixes, unread
from hsl.errors import HslError
from hsl.files import open_regular
from hsl.names import visible

#: Suffixes of what lies beside images and is none: such files are not opened to see.
_NO_PICTURES = re.compile(
    r"\.(txt|csv|tsv|jsonl?|xml|ya?ml|toml|ini|md|rst|html?|log|py|sh|np[yz]|pth?|ckpt|bin|mat|pkl|"
    r"safetensors|parquet|arrow|lock|db|zip|tar|gz|mp4|mov|avi|webm)"
)
_LISTED = 20  # lines of a warning
_KINDS = 5  # kinds of files in a message


class ImageFile(NamedTuple):
    """A file: its path, its path within the folder (with ``/``), and a stamp that changes with its
    content: size and time of change."""

    path: Path
    name: str
    stamp: str


class Files(NamedTuple):
    """The files of a folder that are taken for images, in order, and ``unread``: a line for every
    picture that is not, in a format that is not read or without a suffix that says so."""

    images: list[ImageFile]
    unread: list[str]


def image_files(folder: Path) -> Files:
    """The image files of a folder and its subfolders in natural order (``2.png`` before
    ``10.png``), whatever the order on disk.

    Links are followed, each folder once. Hidden files and folders are left out. A link that leads
    nowhere is listed with an empty stamp, so that reading it says so.

    Raises:
        HslError: no such folder, no images in it, or a part of it that may not be read.
    """
    others: list[Path] = []
    try:
        files = list(_walk(folder, "", set(), others))
    except OSError as error:
        raise HslError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error
    pictures = [(path, why) for path in others if (why := _unread(path)) is not None]
    pictures.sort(key=lambda picture: natural(str(picture[0])))
    if not files:
        raise HslError(f"{folder}: no images in this folder{_instead(others, pictures)}")
    files.sort(key=lambda file: (natural(file.name), file.name))
    return Files(files, [f"{path}: {why}" for path, why in pictures])


def warn(title: str, lines: Sequence[str]) -> None:
    """Warn, on the first rank, of several things, and list them."""
    more = len(lines) - _LISTED
    rest = [f"and {more} more (python -m hsl.data describe lists all)"] if more > 0 else []
    ranks.warn("\n  ".join([f"{title}:", *map(visible, lines[:_LISTED]), *rest]))


def warn_of_unread(lines: Sequence[str]) -> None:
    """Name the pictures that are not read, as `Files` has them."""
    if lines:
        warn(f"{len(lines)} pictures are not read, and left out", lines)


def _walk(
    folder: Path, prefix: str, seen: set[tuple[int, int]], others: list[Path]
) -> Iterator[ImageFile]:
    """Images; other files are added to ``others``."""
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
                yield from _walk(path, f"{name}/", seen, others)
            elif path.suffix.lower() in suffixes():
                if status is None:
                    yield ImageFile(path, name, "")
                elif stat.S_ISREG(status.st_mode):  # reading a pipe may never end
                    yield ImageFile(path, name, f"{status.st_size} {status.st_mtime_ns}")
            elif status is not None and stat.S_ISREG(status.st_mode):
                others.append(path)


def _unread(path: Path) -> str | None:
    """Why a picture is not read; None: it is no picture."""
    suffix = path.suffix.lower()
    if _NO_PICTURES.fullmatch(suffix):
        return None
    if (why := unread(suffix)) is not None:
        return why
    name = None
    with suppress(HslError, OSError), open_regular(path) as file:
        name = recognised(file.read(32))
    if name is None:
        return None
    return f"its content is {called(name)}, its suffix no image's; rename it"


def _instead(others: Sequence[Path], pictures: Sequence[tuple[Path, str]]) -> str:
    """What there is in a folder instead of images."""
    if pictures:
        path, why = pictures[0]
        return f", but {len(pictures)} pictures that are not read, such as {path.name}: {why}"
    kinds = Counter(path.suffix.lower() or "without a suffix" for path in others)
    if not kinds:
        return f" ({', '.join(sorted(suffixes()))})"
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(_KINDS))
    return f", but {listed}; images are {', '.join(sorted(suffixes()))}"


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key: runs of digits compare as numbers."""
    runs = re.split(r"(\d+)", name.casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in runs]
