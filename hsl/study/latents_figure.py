"""The picture of a study of latents: a panel a statistic, and one of the mixing step."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from hsl import intervals
from hsl.backbones import Backbone
from hsl.figures.pictures import new_figure
from hsl.study.gaussian import LEVEL, expected_cosine

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"sampled": "tab:blue", "inverted": "tab:red", "diffused": "0.55"}


def draw(
    rows: Sequence[Mapping[str, Any]], mixed: Sequence[Mapping[str, Any]],
    accuracy: Mapping[int, float], backbone: Backbone, shape: torch.Size,
) -> "Figure":  # fmt: skip
    """A panel a statistic, with its value for standard Gaussian noise of ``shape [C, s, s]``, and
    one of the mixing step."""
    panels = (
        ("norm", "norm / sqrt(d)", 1.0),
        ("variance", "variance", 1.0),
        ("skewness", "skewness", 0.0),
        ("kurtosis", "excess kurtosis", 0.0),
        ("not_normal", "samples that fail the normality test", LEVEL),
        ("cosine", "mean |cos| between samples", expected_cosine(shape.numel())),
        ("neighbours", "correlation of neighbours", -1 / (shape[1:].numel() - 1)),
    )
    figure = new_figure(14, 6.4, dpi=90)
    axes = figure.subplots(2, 4).flat
    for axis, (name, title, ideal) in zip(axes, panels, strict=False):
        axis.axhline(ideal, color="black", lw=0.8, ls=":", label="standard Gaussian")
        for kind, colour in _COLOURS.items():
            of_kind = [row for row in rows if row["latents"] == kind]
            times, ends = [row["t"] for row in of_kind], [row[f"{name}_ci"] for row in of_kind]
            axis.plot(times, [row[name] for row in of_kind], color=colour, lw=1.4, label=kind,
                      ls="--" if kind == "diffused" else "-")  # fmt: skip
            axis.fill_between(times, *zip(*ends, strict=True), color=colour, alpha=0.2, lw=0)
        axis.set_title(title, fontsize=10)
        if name == "cosine":
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter("{x:g}")
            from matplotlib.ticker import LogLocator

            axis.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
            axis.yaxis.set_minor_formatter("{x:g}")
    axes[0].legend(fontsize=8)
    _draw_mixing(axes[7], mixed, accuracy, backbone)
    for axis in axes:
        axis.set_xlabel("t", fontsize=9)
        axis.tick_params(labelsize=8, which="both")
        axis.grid(alpha=0.25)
    return figure


def _draw_mixing(
    axis: "Axes", mixed: Sequence[Mapping[str, Any]], accuracy: Mapping[int, float],
    backbone: Backbone,
) -> None:  # fmt: skip
    """Total variation of the attributes' classes and held-out accuracy by timestep, and the mixing
    steps: of total variation, that of the median attribute."""
    distances = sorted(row["distance"] for row in mixed if "distance" in row)
    a, marks = backbone.schedule.alphas_cumprod, list(mixed)
    if distances:
        middle = distances[(len(distances) - 1) // 2]
        low, median, high = (
            intervals.total_variation(a, distance).numpy()
            for distance in (distances[0], middle, distances[-1])
        )
        axis.plot(median, color="tab:green", lw=1.4, label="total variation (median attribute)")
        axis.fill_between(range(len(a)), low, high, color="tab:green", alpha=0.2, lw=0)
        marks = [row for row in mixed if row.get("distance") in (None, middle)]
    if accuracy:
        axis.plot(*zip(*sorted(accuracy.items()), strict=True), "o-", ms=3, color="tab:purple",
                  label="held-out balanced accuracy")  # fmt: skip
    for row in marks:
        kind = row["criterion"].partition(" ")[0]
        colour = {"total": "tab:green", "radius": "black", "accuracy": "tab:purple"}[kind]
        if row["t"] is not None:
            axis.axvline(row["t"], color=colour, ls=":", lw=1.4,
                         label=f"t = {row['t']}: {row['criterion']}")  # fmt: skip
    axis.set_title("mixing step", fontsize=10)
    axis.set_ylim(-0.5, 1.04)  # room for the legend
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axis.legend(fontsize=7, loc="lower left")
