"""Files as a user gives them: regular ones are read, and a reader never waits (on a named pipe, a
socket, a device)."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from hsl.errors import HslError

#: What may be in a file's place.
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_file(path: str | Path, what: str = "a file") -> Path:
    """The path of a regular file that is there.

    Args:
        path: as a user gave it.
        what: is wanted, for messages: "a direction saved by hsl".

    Raises:
        HslError: no such file, or a folder, named pipe, socket or device.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, what) from error
    if not stat.S_ISREG(mode):
        raise HslError(f"{path}: is {KINDS.get(stat.S_IFMT(mode), 'no file')}; want {what}")
    return path


def open_regular(path: str | Path, what: str = "a file") -> BinaryIO:
    """Open a regular file to read its bytes; never waits for the other end of a named pipe.

    Raises:
        HslError: as `require_file`, or it may not be read.
    """
    path = require_file(path, what)
    try:
        # a pipe may have come in the file's place
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise _unreadable(path, error, what) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise HslError(f"{path}: is no file; want {what}")
    return os.fdopen(handle, "rb")


def read_bytes(path: str | Path, what: str = "a file") -> bytes:
    """All of a regular file.

    Raises:
        HslError: as `open_regular`.
    """
    with open_regular(path, what) as file:
        try:
            return file.read()
        except OSError as error:
            raise _unreadable(Path(path), error, what) from error


def read_text(path: str | Path, what: str = "a text file", encoding: str = "utf-8") -> str:
    """All of a regular text file, with Unix line ends.

    Raises:
        HslError: as `open_regular`, or it is not in ``encoding``.
    """
    try:
        text = read_bytes(path, what).decode(encoding)
    except UnicodeDecodeError as error:
        raise HslError(f"{path}: not {encoding} text ({error.reason} at byte {error.start}); "
                       f"want {what}, saved as UTF-8") from error  # fmt: skip
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unreadable(path: Path, error: OSError | ValueError, what: str) -> HslError:
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return HslError(f"{str(path)!a}: no such file; want {what}" if "\0" in str(path) else
                        f"{path}: no such file; want {what}")  # fmt: skip
    return HslError(f"{path}: cannot be read ({error.strerror}); want {what}")
