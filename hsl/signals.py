"""SIGTERM and SIGINT as an exception that ends a command in order."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds within which further signals are the same request, sent to the process by several: the
#: shell's group, a launcher, SLURM.
_SAME = 2.0


class Stopped(BaseException):
    """A signal asks the process to end.

    Not an Exception, so that nothing between the work and its command takes it for an error; nor a
    KeyboardInterrupt, for which Lightning has an exit status and words of its own.

    Attributes:
        number: of the signal.
        advice: how to go on, for the line that the command prints; "": it cannot; None: no line,
            as on ranks other than the first.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.advice: str | None = ""

    @property
    def status(self) -> int:
        """The exit status that shells give to such an end: 130 (SIGINT), 143 (SIGTERM)."""
        return 128 + self.number


@contextmanager
def stoppable() -> Iterator[None]:
    """Within this block SIGTERM and SIGINT raise `Stopped`. What ignores them (a job in the
    background, nohup) goes on to ignore them; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, before = _Handler(), dict[int, Any]()
    for number in (signal.SIGTERM, signal.SIGINT):
        was = signal.getsignal(number)
        if was is not None and was != signal.SIG_IGN:
            before[number] = was
            signal.signal(number, handler)
    try:
        yield
    finally:
        for changed, was in before.items():
            signal.signal(changed, was)


class _Handler:
    """Raises `Stopped` once; asked again later, as where an exception was lost in a destructor, it
    ends the process at once: files are whole whenever that is."""

    since: float | None

    def __init__(self) -> None:
        self.owner, self.since = os.getpid(), None

    def __call__(self, number: int, frame: Any) -> None:
        if os.getpid() != self.owner:  # a forked worker ends as it would without us
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if self.since is None:
            self.since = time.monotonic()
            raise Stopped(number)
        if time.monotonic() - self.since > _SAME:
            os._exit(128 + number)
