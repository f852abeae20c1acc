"""A grid of images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from hsl.figures.pictures import caption, new_figure

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from hsl.figures.picture import Picture

_CELL, _TOP, _LEFT = 1.1, 0.6, 0.26  # inches: of an image, above all of them, before them
_ALONG = 20  # letters along an image


def draw_grid(
    columns: Sequence[Tensor], titles: Sequence[str], title: str, rows: Sequence[str] = ()
) -> "Picture":
    """A figure of image columns, each ``[N, 3, S, S]`` in [-1, 1], under their titles; with
    ``rows``, a label before each of the N."""
    n = len(columns[0])
    left = _LEFT if rows else 0.0
    width, height = _CELL * len(columns) + left, _CELL * n + _TOP
    figure = new_figure(width, height, fitted=False)
    axes = figure.subplots(n, len(columns), squeeze=False)
    for x, (column, name) in enumerate(zip(columns, titles, strict=True)):
        pixels = ((column.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).cpu().numpy()
        for y in range(n):
            axes[y][x].imshow(pixels[y], interpolation="nearest")
            axes[y][x].set_axis_off()
        axes[0][x].set_title(caption(name), fontsize=9)
    for axis, label in zip(axes[:, 0], rows, strict=False):
        size = 9 if len(label) < _ALONG // 2 else 7
        axis.text(-0.06, 0.5, caption(_end_of(label)), transform=axis.transAxes, rotation=90,
                  fontsize=size, ha="right", va="center")  # fmt: skip
    figure.suptitle(caption(title), fontsize=11)
    figure.subplots_adjust(
        max(left / width, 0.01), 0.01, 0.99, 1 - (_TOP + 0.02) / height, wspace=0.04, hspace=0.04
    )
    return figure


def _end_of(label: str) -> str:
    """A label that is not longer than an image: of a file in folders the end tells most."""
    return label if len(label) <= _ALONG else f"…{label[1 - _ALONG :]}"
