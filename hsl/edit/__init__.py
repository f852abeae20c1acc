"""``python -m hsl.edit``: apply saved directions to images.

`options` and `rules` read the command line, `parts` finds directions, `joining` makes one `Edit` of
them, `plan` says what is to be done, `sweep` gives it many strengths, `sources` inverts or samples,
`released` begins as BoundaryDiffusion's code does, `jobs` does the work, `pictures` shows it.
"""

from typing import TYPE_CHECKING

from hsl.lazy import lazily

if TYPE_CHECKING:
    from hsl.directions.shipped import shipped
    from hsl.edit.command import main
    from hsl.edit.joining import coefficients, join
    from hsl.edit.parts import Part, find_direction, load_for
    from hsl.process import grid_for
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Part": "hsl.edit.parts",
            "coefficients": "hsl.edit.joining",
            "find_direction": "hsl.edit.parts",
            "grid_for": "hsl.process",
            "join": "hsl.edit.joining",
            "load_for": "hsl.edit.parts",
            "main": "hsl.edit.command",
            "shipped": "hsl.directions.shipped",
        },
    )

__all__ = [
    "Part",
    "coefficients",
    "find_direction",
    "grid_for",
    "join",
    "load_for",
    "main",
    "shipped",
]
