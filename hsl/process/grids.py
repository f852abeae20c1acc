"""The timesteps that an edit walks."""

from hsl.backbones.schedule import Schedule
from hsl.directions import Boundary
from hsl.errors import HslError
from hsl.process.edit import Edit


def grid_for(
    schedule: Schedule, edit: Edit, steps: int, sampled: bool, option: str = "--steps"
) -> list[int]:
    """The timesteps to walk: ``steps`` of the whole schedule; of a boundary edit, up to the mixing
    step in proportion less, and above it only from noise.

    Raises:
        HslError: too many or too few steps; ``option`` is what it calls them.
    """
    try:
        grid = schedule.grid(steps)
        if not isinstance(edit.direction, Boundary):
            return grid
        t = edit.t_edit
        below = schedule.grid(max(round(steps * t / grid[-1]), 2), t_0=t)
    except ValueError as error:
        raise HslError(f"{option}: {error}") from error
    return below + [g for g in grid if g > t] if sampled else below
