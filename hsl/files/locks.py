"""A lock on a folder that dies with its process, and says who holds it.

POSIX record locks: children that are forked (workers of a loader) do not inherit them, so that a
process that was killed leaves none behind.
"""

import os
import socket
import time
from pathlib import Path

from hsl import ranks
from hsl.errors import HslError
from hsl.files import require_writable, saying

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
#: Folders that this process holds: its own record locks do not refuse it.
_OURS: set[str] = set()


class Lock:
    """A folder that is this process's alone until it ends, or `release`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._path = folder, folder / NAME
        self._handle: int | None = None

    def take(self) -> None:
        """Lock the folder, which is there. Where the file system has no locks, one warning says so
        and nothing is locked.

        Raises:
            HslError: another process holds it, or this one does already; or something else is in
                the lock's place.
        """
        require_writable(self._path)
        while True:
            with saying(self._path):
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                free = _locked(handle)
                if str(self.folder.resolve()) in _OURS or free is False:
                    raise HslError(_held(self.folder, handle))
            except BaseException:
                os.close(handle)
                raise
            if free is None:
                os.close(handle)
                self._path.unlink(missing_ok=True)
                ranks.warn(f"{self.folder}: this file system has no locks; see that nothing "
                               "else writes there")  # fmt: skip
                return
            if _is(handle, self._path):
                break
            os.close(handle)  # its holder ended, and removed it, meanwhile
        os.ftruncate(handle, 0)
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {when}".encode())
        self._handle = handle
        _OURS.add(str(self.folder.resolve()))

    def release(self) -> None:
        """Let others have the folder, if this process has it."""
        if self._handle is None:
            return
        if _is(self._handle, self._path):
            self._path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = None
        _OURS.discard(str(self.folder.resolve()))


def require_unlocked(folder: Path) -> None:
    """Check that no other process writes into a folder; changes nothing.

    Raises:
        HslError: one does.
    """
    if str(folder.resolve()) in _OURS:  # to open and close the file would release the lock
        return
    try:
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if _locked(handle) is False:
            raise HslError(_held(folder, handle))
    finally:
        os.close(handle)


def _locked(handle: int) -> bool | None:
    """Whether this process has locked a file now; None: the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _held(folder: Path, handle: int) -> str:
    holder = os.pread(handle, 300, 0).decode("utf-8", "replace").strip() or "another process"
    return f"{folder}: is being written by {holder}; wait for its end, or give another --name"


def _is(handle: int, path: Path) -> bool:
    """Whether an open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
