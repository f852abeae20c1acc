"""Files as hsl writes them: each appears whole or not at all, and a line says which path could not
be written, and what to do."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hsl.errors import HslError
from hsl.files.leftovers import temporary_name
from hsl.files.reading import KINDS

_SUFFIX = re.compile(r"\.\w{1,15}", re.ASCII)
_ELSEWHERE = "give another path"
#: What is wrong, and what to do, by the number that the system gives.
_ADVICE = {
    errno.ENOSPC: "the disk is full; make room, or write elsewhere",
    errno.EDQUOT: "your share of the disk is used up; make room, or write elsewhere",
    errno.EFBIG: "larger than a file may be here; write elsewhere",
    errno.EACCES: f"no permission to write here; {_ELSEWHERE}",
    errno.EPERM: f"no permission to write here; {_ELSEWHERE}",
    errno.EROFS: f"this file system is read-only; {_ELSEWHERE}",
    errno.ENAMETOOLONG: "the name is too long for this file system; give a shorter one",
    errno.ENOTDIR: f"a part of this path is a file, not a folder; {_ELSEWHERE}",
    errno.EISDIR: "is a folder; give the name of a file",
    errno.EIO: "the disk reports an error; write elsewhere",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write to the path this yields; it becomes ``path`` when the block ends, and disappears when
    the block fails. Missing folders are made. The temporary name, in the same folder, is short
    whatever the length of ``path``'s, and keeps the suffix, as some writers choose their format
    by it. The file has the mode that the umask gives, whatever its writer asks for.

    Raises:
        HslError: it cannot be written: a full disk, no permission, a folder of that name, ...
    """
    target = require_writable(path)
    suffix = target.suffix if _SUFFIX.fullmatch(target.suffix) else ""
    temporary = target.with_name(temporary_name(suffix))
    try:
        with saying(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            # made here, since a new file's mode is the one way to learn what the umask gives
            with open(temporary, "xb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            temporary.unlink()  # some writers want a name that is free
            yield temporary
            if stat.S_IMODE(temporary.stat().st_mode) != mode:
                temporary.chmod(mode)
            os.replace(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def saying(target: Path) -> Iterator[None]:
    """Within it, an error of the system or of a writer of files becomes one line with the path
    ``target`` and what to do. Errors about files that lie elsewhere stay as they are.

    Raises:
        HslError: that line.
    """
    try:
        yield
    except Exception as error:
        if (reason := _unwritable(error, target)) is None:
            raise
        raise HslError(f"{target}: not written: {reason}") from error


def expanded(path: str | Path) -> Path:
    """A path with the home folder in the place of ``~``.

    Raises:
        HslError: there is no such user, or no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise HslError(f"{path}: nobody's home folder is known by this name; give the whole "
                       "path") from error  # fmt: skip


def require_writable(path: str | Path) -> Path:
    """Check, before the work, that a file can be written: its folder is there or can be made, the
    name fits, and nothing but a file is in its place. Nothing is made or changed.

    Raises:
        HslError: it cannot.
    """
    target = _require_room(Path(path))
    if (kind := _kind(target)) is not None:
        raise HslError(f"{target}: is {kind}; give the name of a file to write")
    return target


def require_writable_folder(path: str | Path) -> Path:
    """Check, before the work, that files can be written into a folder: it is there or can be made.
    Nothing is made or changed.

    Raises:
        HslError: they cannot.
    """
    folder = _require_room(Path(path))
    if folder.is_symlink() and not folder.exists():
        raise HslError(f"{folder}: is a link to what is not there; {_ELSEWHERE}")
    if folder.exists():
        if not folder.is_dir():
            raise HslError(f"{folder}: is a file, not a folder; {_ELSEWHERE}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise HslError(f"{folder}: {_denied(folder)}")
    return folder


def advice(error: OSError) -> str:
    """What the system says is wrong with a file that is to be written, and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    return _ADVICE.get(error.errno or 0, f"{reason}; {_ELSEWHERE}")


def _require_room(path: Path) -> Path:
    """Refuse a path whose folder cannot be made or written to, or whose names do not fit."""
    if not path.name or "\0" in str(path):
        if path.is_dir():  # ``.``, ``..`` and the root have no name
            return path
        raise HslError(f"{str(path)!r}: no name of a file or folder; {_ELSEWHERE}")
    try:
        missing, there = [path.name], path.absolute().parent
        while not _exists(there):
            if there.is_symlink():
                raise HslError(f"{path}: {there} is a link to what is not there; {_ELSEWHERE}")
            missing.append(there.name)
            there = there.parent
        if not there.is_dir():
            raise HslError(f"{path}: {there} is a file, not a folder; {_ELSEWHERE}")
        longest = _longest(there)
        if any(len(os.fsencode(name)) > longest for name in missing):
            raise HslError(f"{path}: {_ADVICE[errno.ENAMETOOLONG]}")
        if not os.access(there, os.W_OK | os.X_OK):
            raise HslError(f"{path}: {_denied(there)}")
    except OSError as error:
        raise HslError(f"{path}: {advice(error)}") from error
    except UnicodeEncodeError as error:
        raise HslError(
            f"{str(path)!a}: this system cannot write such a name; {_ELSEWHERE}"
        ) from error
    return path


def _exists(path: Path) -> bool:
    """Whether there is anything of that name. What lies below a file is not there."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _kind(path: Path) -> str | None:
    """What is in a file's place, other than a file."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "no file")


def _longest(folder: Path) -> int:
    """How many bytes a name may have in a folder."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError, AttributeError):  # not on every system
        return 255


def _denied(folder: Path) -> str:
    """Why a folder that is there cannot be written to."""
    flags = getattr(os, "statvfs", None)
    read_only = flags is not None and flags(folder).f_flag & getattr(os, "ST_RDONLY", 0)
    return _ADVICE[errno.EROFS if read_only else errno.EACCES]


def _unwritable(error: Exception, target: Path) -> str | None:
    """Why a block that writes ``target`` could not, and what to do; None: it failed for another
    reason."""
    if isinstance(error, HslError):
        return None
    if isinstance(error, OSError):
        if error.filename is not None:
            where = Path(os.fsdecode(error.filename)).absolute()
            folder = target.absolute().parent
            if not (where.is_relative_to(folder) or folder.is_relative_to(where)):
                return None
        return advice(error)
    text = str(error)
    if type(error).__name__ == "SafetensorError":
        match = re.search(r"os error (\d+)", text)
        return advice(OSError(int(match[1]), text)) if match else f"{text}; {_ELSEWHERE}"
    if isinstance(error, RuntimeError) and re.search(r"StreamWriter|unexpected pos", text):
        before = error.__context__  # torch's writer fails once more while it closes the file
        if isinstance(before, OSError):
            return advice(before)
        return "its writer failed; see that the disk is not full, or write elsewhere"
    return None
