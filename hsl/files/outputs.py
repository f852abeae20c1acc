"""What a command may write to: never one of its inputs, and a file that it did not write itself
only where it is told to.

A file is taken for hsl's own by a mark in it: PNG images and figures name hsl as their
``Software``, safetensors have a header under ``hsl``. Text files (CSV, TSV, JSON) have no place for
one: such a file counts as hsl's where a marked picture that the same job writes lies beside it.
"""

import os
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from hsl.errors import HslError
from hsl.files import open_regular, require_writable
from hsl.files.headers import read_header
from hsl.names import SOFTWARE

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNKS, _LONGEST = 64, 1 << 16  # before the pixels of a PNG; bytes of one


def require_outputs(
    outputs: Iterable[str | Path],
    inputs: Iterable[str | Path] = (),
    overwrite: bool = False,
    key: str | None = None,
) -> None:
    """Check, before the work, the files that a job will write. Nothing is made or changed.

    Args:
        outputs: what it will write.
        inputs: files and folders that it reads; of a folder, all files in it. Links, other names
            of one file and upper and lower case where they do not count are seen through.
        overwrite: whether other files than hsl's own may be replaced. Inputs never are.
        key: the outputs are safetensors, whatever their suffix, and hsl's own only if their header
            (or what it says ``about`` itself) has this: a record is no direction.

    Raises:
        HslError: an output is an input, is there and not hsl's own, or cannot be written.
    """
    paths = [Path(path) for path in outputs]
    there = [path for path in paths if os.path.lexists(path)]
    known = {_identity(path): path for path in _files(inputs)} if there else {}
    known.pop(None, None)
    for path in paths:
        require_writable(path)
    for path in there:
        source = known.get(_identity(path))
        if source is not None:
            other = "" if path == source else f" ({source})"
            raise HslError(f"{path}: is read by this job{other}, which never replaces what it "
                           "reads; write elsewhere")  # fmt: skip
    if overwrite:
        return
    marked = any(_is_marked(path, None) for path in there if path.suffix.lower() == ".png")
    for path in there:
        text = key is None and path.suffix.lower() not in (".png", ".safetensors")
        if not (marked if text else _is_marked(path, key)):
            raise HslError(f"{path}: is there already, and hsl did not write it (or not this kind "
                           "of file); write elsewhere, or give --overwrite")  # fmt: skip


def require_distinct(outputs: Iterable[str | Path]) -> None:
    """Refuse to write one file twice.

    Raises:
        HslError: a path that is there twice.
    """
    seen: set[str] = set()
    for path in outputs:
        where = Path(path)
        # by links, too; of the file itself a link would be replaced, not followed
        name = os.path.normcase(os.path.join(os.path.realpath(where.parent), where.name))
        if name in seen:
            raise HslError(f"{path}: would be written twice; give one of the two another name")
        seen.add(name)


def require_other_folder(out: str | Path, inputs: Iterable[str | Path], option: str) -> None:
    """Refuse to write into a folder whose images are read: they would be read the next time.

    Raises:
        HslError: ``out``, given by ``option``, is one of the ``inputs``.
    """
    where = _identity(Path(out))
    if where is not None and where in {_identity(Path(path)) for path in inputs}:
        raise HslError(f"{option} {out}: is the folder of the images; give another folder")


def clear_pictures(
    folder: Path, written: Iterable[Path], inputs: Iterable[Path], before: float
) -> int:
    """Remove the PNG images that hsl wrote into a folder and its subfolders; how many.

    Args:
        folder: links in it are not followed, nor removed.
        written: stays, by whatever name; it is new.
        inputs: files and folders that were read: stay too.
        before: seconds since 1970: what was changed later stays.
    """
    stay = {_identity(path) for path in (*written, *_files(inputs))}
    gone = 0
    for place, _, names in os.walk(folder, topdown=False, followlinks=False):
        pictures = [Path(place, name) for name in names if name.lower().endswith(".png")]
        for path in pictures:
            old = not path.is_symlink() and path.stat().st_mtime < before
            if old and _identity(path) not in stay and _is_marked(path, None):
                path.unlink()
                gone += 1
        if pictures and Path(place) != folder and not os.listdir(place):
            os.rmdir(place)
    return gone


def _files(inputs: Iterable[str | Path]) -> Iterator[Path]:
    """Files among the inputs, and in the folders among them."""
    for path in map(Path, inputs):
        if path.is_dir():
            for folder, _, names in os.walk(path, followlinks=False):
                yield from (Path(folder, name) for name in names)
        else:
            yield path


def _identity(path: Path) -> tuple[int, int] | None:
    """The file behind a path, however it is called; None: there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _is_marked(path: Path, key: str | None) -> bool:
    """Whether a file says that hsl wrote it. One that cannot be read does not."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        if key is None and path.suffix.lower() == ".png":
            return _software(path) == SOFTWARE
        header = read_header(path)
        return key is None or key in header or key in (header.get("about") or {})
    except (OSError, ValueError, TypeError, SafetensorError, struct.error):
        return False


def _software(path: Path) -> str | None:
    """What a PNG names as its software, before its pixels."""
    with open_regular(path) as file:
        if file.read(8) != _PNG:
            return None
        for _ in range(_CHUNKS):
            length, kind = struct.unpack(">I4s", file.read(8))
            if kind == b"tEXt" and length < _LONGEST:
                name, _, value = file.read(length).partition(b"\0")
                if name == b"Software":
                    return str(value, "latin-1")
                file.seek(4, os.SEEK_CUR)
            elif kind in (b"IDAT", b"IEND"):
                return None
            else:
                file.seek(length + 4, os.SEEK_CUR)
    return None
