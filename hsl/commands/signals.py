"""SIGTERM, SIGINT and SIGHUP as an exception that ends a command in order; and what they do while
it is still being imported."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

#: Seconds within which further signals are the same request, sent to the process by several: the
#: shell's group, a launcher, SLURM.
_SAME = 2.0
#: Ctrl-C, what ends a job, and a terminal that is closed (not on every system).
_NUMBERS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
]


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
        """The exit status that shells give to such an end: 129 (SIGHUP), 130 (SIGINT), 143
        (SIGTERM)."""
        return 128 + self.number


@contextmanager
def stoppable() -> Iterator[None]:
    """Within this block SIGTERM, SIGINT and SIGHUP raise `Stopped`; after it they do what they did
    before. What `end_while_importing` set does not come back: the command has printed its own line
    by then, and a late signal ends it without another. Signals that are ignored (by a job in the
    background, by nohup) stay ignored; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, before = _Handler(), dict[int, Any]()
    for number in _heeded():
        before[number] = signal.signal(number, handler)
    handler.begun = {n: was for n, was in before.items() if isinstance(was, _Import)}
    try:
        yield
    finally:
        for changed, was in before.items():
            signal.signal(changed, signal.SIG_DFL if isinstance(was, _Import) else was)


def end_while_importing(program: str) -> None:
    """Until `stoppable` takes over, a signal ends ``python -m hsl.x``, whose imports take seconds,
    with one line, where Python would print a traceback out of the middle of a library."""
    for number in _heeded():
        signal.signal(number, _Import(program))


@contextmanager
def importing() -> Iterator[None]:
    """For slow imports within a `stoppable` block: signals end the process at once, as
    `end_while_importing` says, if it began as a command. `Stopped` could be lost in a library."""
    raising = {
        number: handler
        for number in _NUMBERS
        if isinstance(handler := signal.getsignal(number), _Handler) and number in handler.begun
    }
    if threading.current_thread() is not threading.main_thread():
        raising = {}
    for number, handler in raising.items():
        signal.signal(number, handler.begun[number])
    try:
        yield
    finally:
        for number, handler in raising.items():
            signal.signal(number, handler)


def _heeded() -> list[int]:
    """The signals that this process does not ignore."""
    return [n for n in _NUMBERS if signal.getsignal(n) not in (None, signal.SIG_IGN)]


class _Import:
    """Ends a command that is being imported."""

    def __init__(self, program: str) -> None:
        self.line = f"{program}: stopped\n".encode()

    def __call__(self, number: int, frame: Any) -> None:
        with suppress(OSError):
            os.write(2, self.line)
        os._exit(128 + number)


class _Handler:
    """Raises `Stopped` once. A later signal, sent where that exception was lost, as in a
    destructor, ends the process at once: files are whole at any time.

    Attributes:
        begun: by number, what a signal did while the command was being imported.
    """

    since: float | None
    begun: dict[int, _Import]

    def __init__(self) -> None:
        self.owner, self.since, self.begun = os.getpid(), None, {}

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
