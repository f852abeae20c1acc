"""A heat map of accuracies by attribute and timestep."""

from typing import TYPE_CHECKING

import torch

from hsl.directions import Space
from hsl.figures.pictures import caption, new_figure
from hsl.solvers import Figures

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from matplotlib.figure import Figure


def heat_map(
    by_step: dict[tuple[Space, int], Figures], names: list[str], t: int | None
) -> "Figure":
    """Held-out balanced accuracy of each attribute, from the figures ``by_step``: of each space and
    timestep. One panel a space; the frame marks the mixing step ``t``."""
    spaces = [space for space in ("x", "h") if any(s == space for s, _ in by_step)]
    times = sorted({step for _, step in by_step})
    width, height = 2.4 + 0.62 * len(times) * len(spaces), max(1.5 + 0.27 * len(names), 2.6)
    figure = new_figure(width, height)
    axes = figure.subplots(1, len(spaces), squeeze=False, sharey=True)[0]
    for axis, space in zip(axes, spaces, strict=True):
        columns = [by_step[space, step].balanced_accuracy for step in times]  # type: ignore[index]
        values = torch.stack(columns, dim=1).cpu().numpy()
        picture = axis.imshow(values, vmin=0.5, vmax=1.0, cmap="viridis", aspect="auto")
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                text = "1.0" if value > 0.995 else f"{value:.2f}"[-3:]
                color = "white" if value < 0.8 else "black"
                axis.text(x, y, text, ha="center", va="center", fontsize=7, color=color)
        axis.set_xticks(range(len(times)), [str(step) for step in times], fontsize=8)
        axis.set_yticks(range(len(names)), [caption(name) for name in names], fontsize=8)
        axis.set_xlabel("t")
        axis.set_title("x_t" if space == "x" else "h", fontsize=10)
        if t in times:
            edges = times.index(t) - 0.5, times.index(t) + 0.5
            axis.axvspan(*edges, fill=False, ec="red", lw=1.5, clip_on=False, zorder=3)
    figure.colorbar(picture, ax=list(axes), label="held-out balanced accuracy", shrink=0.8)
    return figure
