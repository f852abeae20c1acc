"""What all command lines share: exit statuses, one line for what is wrong, signals."""

import io
import os
import select
import sys
from argparse import ArgumentError
from collections.abc import Callable

from hsl.errors import HslError
from hsl.names import shortened, visible
from hsl.signals import Stopped, stoppable

#: Characters of a line: what is longer repeats what the user gave.
LONGEST = 1000


def run(
    program: str,
    work: Callable[[], int | None],
    reason: Callable[[Exception], str | None] | None = None,
) -> int:
    """Do a command's work; the exit status.

    0, or what the work returns; 2 after one line of what is wrong; 130 and 143 after one line where
    SIGINT or SIGTERM ended it; 141 where the reader of its output went away.

    Args:
        program: what a line begins with: ``hsl.edit``.
        work: parses the options and does the rest.
        reason: in one line, what of an error a user can mend; None: it is no such error, and is
            raised.
    """
    _print_what_can_be_printed()
    try:
        with stoppable():
            return work() or 0
    except Stopped as stopped:
        if stopped.advice is not None:
            words = f"stopped; {stopped.advice}" if stopped.advice else "stopped"
            print(f"{program}: {words}", file=sys.stderr)
        return stopped.status
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 141
        line = (reason or mendable)(error)
        if line is None:
            raise
        print(f"{program}: {visible(line)}", file=sys.stderr)
        return 2


def mendable(error: Exception) -> str | None:
    """What is wrong, in one line, if a user can mend it: bad input, options, what the system
    refuses."""
    if not isinstance(error, HslError | ArgumentError | OSError):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[0], LONGEST) if lines else type(error).__name__


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
