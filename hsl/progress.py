"""Progress bars with an estimate of the time left, on the first rank only."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hsl.names import visible

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` under a progress bar with elapsed time and ETA.

    Silent on ranks other than 0 and where HSL_PROGRESS=0.
    """
    if getattr(rank_zero_only, "rank", 0) != 0 or os.environ.get("HSL_PROGRESS") == "0":
        yield from items
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=False) as progress:
        yield from progress.track(items, total=total, description=visible(description))
