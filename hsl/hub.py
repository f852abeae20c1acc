"""Models of the Hugging Face Hub, which may not answer, or not have what is asked for."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, get_session, snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hsl.errors import HslError

#: Seconds to wait for the Hub's first answer; its own client would wait for ever.
WAIT = 20.0
#: Seconds after which any other download is given up.
SECONDS = 60.0
_TIMEOUTS = ("ConnectTimeout", "ReadTimeout", "PoolTimeout", "WriteTimeout", "Timeout")
_ABSENT = (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def snapshot(name: str, *patterns: str) -> Path:
    """The folder of a model's files, downloaded once; where the Hub does not answer, of those that
    were downloaded before.

    Args:
        name: ``owner/name``.
        patterns: of the files to have, e.g. ``*.json``.

    Raises:
        HslError: no such model, none here while the Hub is out of reach, or no place to keep it.
    """
    try:
        folder = snapshot_download(name, allow_patterns=list(patterns),
                                   local_files_only=not _answers(name))  # fmt: skip
    except Exception as error:  # the Hub's client raises its own, its transport's and OS errors
        raise HslError(f"{name}: {_why(error)}") from error
    return Path(folder)


@contextmanager
def limited() -> Iterator[str | None]:
    """Within it, no download waits for ever. The Hub's client tries a silent Hub again and again,
    for many minutes. So the Hub is asked once before; if it does not answer, the client takes only
    what is on this disk. Yields what to say of a Hub that does not answer; None: it answers.
    """
    silent = _silence()
    flags: list[Any] = [constants]
    if "datasets.config" in sys.modules:  # which is slow to import
        flags.append(sys.modules["datasets.config"])
    before = [flag.HF_HUB_OFFLINE for flag in flags]
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)  # of urllib, which has no other
    try:
        for flag in flags if silent else ():
            flag.HF_HUB_OFFLINE = True
        yield silent
    finally:
        socket.setdefaulttimeout(patience)
        for flag, value in zip(flags, before, strict=True):
            flag.HF_HUB_OFFLINE = value


def _silence() -> str | None:
    """What to say of a Hub that does not answer. None: it answers, or is not to be asked
    (offline), or refuses at once, which its client reports itself."""
    if constants.HF_HUB_OFFLINE:
        return None
    client: Any = get_session()
    try:
        client.head(constants.ENDPOINT, timeout=WAIT)
    except Exception as error:  # of httpx, or of requests, as the client's version has it
        if type(error).__name__ in _TIMEOUTS:
            return f"{constants.ENDPOINT} did not answer in {WAIT:g} seconds"
    return None


def _answers(name: str) -> bool:
    """Whether the Hub says in time that it has a model."""
    try:
        HfApi().model_info(name, timeout=WAIT)
    except _ABSENT:
        raise
    except Exception:  # whatever the transport raises that this version of the client has
        return False
    return True


def _why(error: Exception) -> str:
    if isinstance(error, _ABSENT):
        return ("no such folder here, and the Hub has no such model, or not for everyone; check "
                "the name, log in (hf auth login), or give a local folder")  # fmt: skip
    if isinstance(error, OSError) and error.errno in _DISK:
        return (f"cannot be kept at {error.filename or 'the cache'} ({error.strerror}); make room, "
                "or let HF_HOME name another folder")  # fmt: skip
    return (f"no such folder here, and the Hub could not be reached ({type(error).__name__}); "
            "check the name and the network, or give a local folder")  # fmt: skip
