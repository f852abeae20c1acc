"""What jobs on clusters and their ranks agree on: the name of a run, and which rank writes."""

import os
import re
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from torch.distributed.rendezvous import rendezvous

from hsl import ranks
from hsl.errors import HslError
from hsl.names import file_stem

#: Names that mean something else beside run folders.
RESERVED = ("latest",)
_WRONG = re.compile(r"[\\/\x00-\x1f\x7f]|^\.|^\s|\s$")
_LONGEST = 200
#: What a launcher tells its ranks so that they find each other.
_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Stores in which ranks agree; held here, as the process group goes on to use them.
_KEPT: list[Any] = []


def require_name(name: str) -> None:
    """Check that a folder can be called so.

    Raises:
        HslError: it cannot, or the name is reserved.
    """
    if name.casefold() in RESERVED:
        raise HslError(f"--name {name}: is reserved for the link to the last run; give another")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        length = _LONGEST + 1
    if _WRONG.search(name) or length > _LONGEST:
        raise HslError(f"--name {name[:50]!r}: want a plain name of one folder, without / and "
                       f"control characters, of at most {_LONGEST} bytes")  # fmt: skip


def first_rank() -> bool:
    """Whether this process is the first of its job."""
    of_node = os.environ.get("NODE_RANK") or "0"
    return ranks.rank() == 0 and (of_node == "0" or "RANK" in os.environ)


def job() -> str | None:
    """The name of a run of SLURM's or torchrun's job, so that all its tasks agree; None where
    there is no job, or someone works in it by hand."""
    variables = [("torchrun", "TORCHELASTIC_RUN_ID")]
    if os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        variables.insert(0, ("slurm", "SLURM_JOB_ID"))
    for kind, variable in variables:
        if os.environ.get(variable, "none") != "none":
            return file_stem(f"{kind}-{os.environ[variable]}")
    return None


def by_hand() -> bool:
    """Whether a person started this process, and not a job: jobs end in any order."""
    return job() is None and not all(os.environ.get(name) for name in _LAUNCHED)


def restarted() -> bool:
    """Whether SLURM has put this job into its queue again, or torchrun has started it again."""
    counts = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    return any((os.environ.get(variable) or "0") != "0" for variable in counts)


def agreed(choose: Callable[[], str]) -> str:
    """What the first rank chooses, on all ranks that a launcher started; ranks that Lightning
    starts later are told by their environment.

    Raises:
        HslError: the first rank does not say.
    """
    values = [os.environ.get(name, "") for name in _LAUNCHED]
    if not all(values) or values[1] == "1":
        if os.environ.get("NODE_RANK", "0") != "0":
            raise HslError("several nodes: give --name, so that they write into one folder")
        return choose()
    try:
        store, rank, _ = next(rendezvous("env://", timeout=timedelta(minutes=10)))
        _KEPT.append(store)
        if rank == 0:
            store.set("hsl/name", choose())
        return str(store.get("hsl/name").decode())
    except (RuntimeError, ValueError) as error:
        raise HslError("the ranks cannot agree on a folder: give --name") from error


def new_folder(runs: Path, ending: str = "") -> str:
    """Make a run folder that is nobody else's, called by date and time and an ``ending``; its name
    without that."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    runs.mkdir(parents=True, exist_ok=True)
    for n in count(1):
        name = stamp if n == 1 else f"{stamp}-{n}"
        try:
            (runs / f"{name}{ending}").mkdir()
        except FileExistsError:
            continue
        return name
    raise AssertionError


def point_latest(folder: Path) -> str | None:
    """Make ``latest`` beside the folder point to it, in place of what it pointed to; in one line,
    why it does not."""
    link = folder.parent / "latest"
    if link.exists() and not link.is_symlink():
        return f"{link}: is no link of hsl's, and stays as it is"
    temporary = folder.parent / f".latest.{os.getpid()}"
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.name)
        os.replace(temporary, link)
    except OSError as error:  # file systems and accounts without symbolic links
        return f"{link}: not made ({error.strerror})"
    finally:
        temporary.unlink(missing_ok=True)
    return None
