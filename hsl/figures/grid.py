"""A grid of images."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from hsl.figures.pictures import caption, new_figure


def draw_grid(columns: Sequence[Tensor], titles: Sequence[str], title: str) -> Figure:
    """A figure of image columns, each ``[N, 3, S, S]`` in [-1, 1], under their titles."""
    n, cell = len(columns[0]), 1.1
    figure = new_figure(cell * len(columns), cell * n + 0.6, fitted=False)
    axes = figure.subplots(n, len(columns), squeeze=False)
    for x, (column, name) in enumerate(zip(columns, titles, strict=True)):
        pixels = ((column.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).cpu().numpy()
        for y in range(n):
            axes[y][x].imshow(pixels[y], interpolation="nearest")
            axes[y][x].set_axis_off()
        axes[0][x].set_title(caption(name), fontsize=9)
    figure.suptitle(caption(title), fontsize=11)
    top = 1 - 0.62 / (cell * n + 0.6)
    figure.subplots_adjust(0.01, 0.01, 0.99, top, wspace=0.04, hspace=0.04)
    return figure
