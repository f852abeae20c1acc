"""What all pictures that matplotlib draws share: how names are written in them, how they are
saved."""

from pathlib import Path
from typing import TYPE_CHECKING

from hsl.files import replacing
from hsl.names import SOFTWARE, shortened, visible

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from matplotlib.figure import Figure

    from hsl.figures.picture import Picture

#: Letters of a name beside a plot: a longer one would leave the plot no room.
MOST = 60


def new_figure(width: float, height: float, dpi: int = 110, fitted: bool = True) -> "Picture":
    """An empty figure of ``width`` by ``height`` inches that needs no screen.

    Args:
        width: in inches.
        height: in inches.
        dpi: pixels an inch.
        fitted: let matplotlib lay it out so that nothing overlaps.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from hsl.figures.picture import Picture

    figure = Picture(figsize=(width, height), dpi=dpi, layout="constrained" if fitted else None)
    FigureCanvasAgg(figure)
    return figure


def caption(name: str, most: int = MOST) -> str:
    """A name (of a label, an image, a direction, a data set) as text of a figure, shortened to
    ``most`` letters: every letter is itself, ``$`` begins no formula, and what would not show is
    written as an escape. All text of a figure that hsl did not write goes through here."""
    return shortened(visible(name), most).replace("$", r"\$")


def save_figure(path: str | Path, figure: "Figure") -> None:
    """Write a figure as PNG, whole or not at all, with the mark that `hsl.files.outputs` knows
    it by.

    Raises:
        HslError: it cannot be written.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_usetex(False)  # whatever the user's settings: names are no TeX
    with replacing(path) as temporary:
        figure.savefig(temporary, metadata={"Software": SOFTWARE})
