"""Where along the process to edit: the editing interval, t_boost, the mixing step."""

from hsl.intervals.curves import (
    BOOST_THRESHOLD,
    EDIT_THRESHOLD,
    CurveMeans,
    Curves,
    first_crossing,
    read_tsv,
    t_boost,
    t_edit,
    write_tsv,
)
from hsl.intervals.mixing import (
    mixing_step,
    mixing_step_radius,
    mixing_step_tv,
    radius,
    radius_theory,
    total_variation,
)

__all__ = [
    "BOOST_THRESHOLD",
    "EDIT_THRESHOLD",
    "CurveMeans",
    "Curves",
    "first_crossing",
    "mixing_step",
    "mixing_step_radius",
    "mixing_step_tv",
    "radius",
    "radius_theory",
    "read_tsv",
    "t_boost",
    "t_edit",
    "total_variation",
    "write_tsv",
]
