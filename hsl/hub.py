"""Models of the Hugging Face Hub, which may not answer, or not have what is asked for."""

import errno
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hsl.errors import HslError

#: Seconds to wait for the Hub's first answer; its own client would wait for ever.
WAIT = 20.0
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
