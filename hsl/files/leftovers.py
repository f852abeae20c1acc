"""Temporary names of files that are being written. They say which process writes, so that what a
killed process left behind can be told from what another process is writing now."""

import hashlib
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

#: Ours; ours of older versions; those of safetensors.
_NAMES = re.compile(
    r"\.hsl-([0-9a-f]{12}|(?P<machine>[0-9a-f]{8})(?P<process>[0-9a-f]{6})[0-9a-f]{6})(\.\w+)?"
    r"|\..+\.[0-9a-f]{12}\.\w+|\.tmp[0-9A-Za-z]{6}",
    re.ASCII,
)
_NUMBERS = count(int.from_bytes(os.urandom(3)))
#: Seconds after which what another machine was writing is no longer being written.
ABANDONED = 3600.0


def temporary_name(suffix: str = "") -> str:
    """A name for what this process writes now: short, hidden, and no other's."""
    number = next(_NUMBERS) % 2**24
    return f".hsl-{_machine()}{os.getpid() % 2**24:06x}{number:06x}{suffix}"


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is being written, or was when its writer was killed."""
    return _NAMES.fullmatch(name) is not None


def is_abandoned(path: Path, seconds: float = ABANDONED) -> bool:
    """Whether a file or folder with a temporary name has no writer any more: the process in its
    name has ended, if it was one of this machine; else it has not changed for so many seconds."""
    match = _NAMES.fullmatch(path.name)
    if match is None:
        return False
    if match["machine"] == _machine() and not _lives(int(match["process"], 16)):
        return True
    try:
        return time.time() - path.stat().st_mtime > seconds
    except OSError:
        return False


@cache
def _machine() -> str:
    """This machine since it was booted, and this container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text("ascii")]
        parts += [str(os.stat("/proc/self/ns/pid").st_ino)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def sweep(folder: Path, seconds: float = 24 * 3600.0) -> None:
    """Remove what killed processes were writing in a folder, but not below it."""
    with suppress(OSError):  # the folder is not there, or not ours
        for path in folder.glob(".hsl-*"):
            if is_abandoned(path, seconds):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
