"""``python -m hsl.edit``: apply saved directions to images.

`options` and `rules` read the command line, `parts` finds directions, `joining` makes one `Edit` of
them, `plan` says what is to be done, `sweep` gives it many strengths, `sources` inverts or samples,
`jobs` does the work, `pictures` shows it.
"""

from hsl.directions import shipped
from hsl.edit.command import main
from hsl.edit.joining import coefficients, join
from hsl.edit.parts import Part, find_direction, load_for
from hsl.process import grid_for

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
