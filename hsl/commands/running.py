"""What all command lines share: exit statuses, one line for what is wrong, signals."""

import errno
import io
import os
import select
import sys
from argparse import ArgumentError
from collections.abc import Callable
from contextlib import suppress

from hsl.commands.signals import Stopped, stoppable
from hsl.errors import HslError
from hsl.files import advice
from hsl.names import shortened, visible

#: Characters of a line: what is longer repeats what the user gave.
LONGEST = 1000


def run(
    program: str,
    work: Callable[[], int | None],
    reason: Callable[[Exception], str | None] | None = None,
) -> int:
    """Do a command's work; the exit status.

    0, or what the work returns; 2 after one line of what is wrong; 129, 130 and 143 after one line
    where SIGHUP, SIGINT or SIGTERM ended it; 141 where the reader of its output went away.

    Args:
        program: what a line begins with: ``hsl.edit``.
        work: parses the options and does the rest.
        reason: says in one line what a user can mend; None: no user can, and the error is raised.
    """
    _print_what_can_be_printed()
    try:
        with stoppable():
            status = work() or 0
            if sys.stdout is not None:
                sys.stdout.flush()  # what cannot be printed is noticed here, not while Python ends
            return status
    except Stopped as stopped:
        if stopped.advice is not None:
            _say(f"{program}: stopped; {stopped.advice}".removesuffix("; "))
        return stopped.status
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # so rich ends, with 1
            return 141
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 141
        line = _not_printed(error) or (reason or mendable)(error)
        if line is None:
            raise
        _say(f"{program}: {visible(line)}")
        return 2


def mendable(error: Exception) -> str | None:
    """What is wrong, in one line, if a user can mend it: bad input, options, what the system
    refuses."""
    if not isinstance(error, HslError | ArgumentError | OSError):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[0], LONGEST) if lines else type(error).__name__


def _say(line: str) -> None:
    """Print a line on standard error, where that can be: a terminal may be gone, a disk full."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _not_printed(error: Exception) -> str | None:
    """Why standard output cannot be written, if that is what is wrong: errors of files have a
    ``filename``. What is still to be printed goes nowhere then."""
    if not isinstance(error, OSError) or error.filename is not None:
        return None
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return None
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return f"standard output: not written: {advice(error)}"


def _print_what_can_be_printed() -> None:
    """Where the standard streams have not all characters (ASCII, cp1252), print escapes for the
    others."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _nobody_reads() -> bool:
    """Whether the reader of standard output went away, as ``| head`` does; if so, what is still to
    be printed goes nowhere, so that Python does not complain when it closes the stream."""
    ends = select.poll()
    ends.register(1, 0)
    gone = any(event & select.POLLERR for _, event in ends.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return gone
