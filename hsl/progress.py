"""Progress on stderr, on the first rank only: in a terminal a bar with an estimate of the time
left; elsewhere (a log, SLURM's output) a line where a stage begins, and then one now and then."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hsl.names import visible
from hsl.ranks import rank

T = TypeVar("T")
#: Seconds between two lines of one stage.
EVERY = 30.0


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items``, and show how many are done and how long the rest will take.

    Silent on ranks other than 0 and where HSL_PROGRESS=0.
    """
    if is_silent():
        yield from items
    elif is_terminal():
        yield from _bar(items, description, total)
    else:
        lines = Lines(description, total)
        for done, item in enumerate(items, 1):
            yield item
            lines.at(done)


def is_silent() -> bool:
    """Whether this process shows no progress: it is not the first rank, or was told so."""
    return rank() != 0 or os.environ.get("HSL_PROGRESS") == "0"


def is_terminal() -> bool:
    """Whether someone watches: a bar can move there."""
    return sys.stderr.isatty()


class Lines:
    """A stage's progress as lines: one where it begins, then at most one in `EVERY` seconds, with
    the time left.

    Args:
        stage: what is done.
        total: how many times; None: not known.
    """

    def __init__(self, stage: str, total: int | None = None) -> None:
        self.stage, self.total = visible(stage), total
        self.began = self.said = time.monotonic()
        self._say(0)

    def at(self, done: int) -> None:
        """Say that ``done`` are done, if it is time for a line."""
        now = time.monotonic()
        if now - self.said >= EVERY and done != self.total:
            self.said = now
            self._say(done, (now - self.began) / done)

    def _say(self, done: int, each: float | None = None) -> None:
        """``each``: the seconds that one took, once that is known."""
        of = "" if self.total is None else f"/{self.total}"
        left = ""
        if each is not None and self.total is not None:
            left = f", {duration(each * (self.total - done))} left"
        print(f"{self.stage}: {done}{of}{left}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A time as one reads it: ``45 s``, ``3 min 10 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _bar(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        yield from progress.track(items, total=total, description=visible(description))
