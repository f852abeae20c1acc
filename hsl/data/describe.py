"""What is in a data set, as figures and pictures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hsl.data.items import SPLITS, DataModule, ImageSet, Item, Split
from hsl.data.module import SourceDataModule
from hsl.figures.pictures import caption

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from matplotlib.figure import Figure

_STRONGEST = 10  # correlations that are worth a row
_CELL, _LINE = 1.25, 27  # inches of an image on the sheet, letters of a line above it


def counts(data: DataModule) -> list[dict[str, Any]]:
    """One row a split: images, and their widths and heights in pixels before the transform, where
    they are known: smallest, median, largest."""
    rows: list[dict[str, Any]] = []
    for split in SPLITS:
        row: dict[str, Any] = {"split": split, "images": len(data.dataset(split))}
        if isinstance(data, SourceDataModule):
            for name in ("width", "height"):
                sides = [getattr(entry, name) for entry in data.found.entries[split]]
                row[name] = _range(sides)
        rows.append(row)
    return rows


def frequencies(data: DataModule) -> list[dict[str, Any]]:
    """One row a label: the share of images that have it, in each split and in all."""
    sets = [data.dataset(split).labels for split in SPLITS]
    shares = [_share(labels) for labels in (*sets, torch.cat(sets))]
    columns = [*SPLITS, "all"]
    return [
        {"label": name, **{c: float(s[i]) for c, s in zip(columns, shares, strict=True)}}
        for i, name in enumerate(data.names)
    ]


def correlations(data: DataModule) -> Tensor:
    """Pearson's correlation of each pair of labels over all images, ``[A, A]``; NaN where a label
    is the same for all."""
    labels = torch.cat([data.dataset(split).labels for split in SPLITS]).double()
    centred = labels - labels.mean(0)
    deviation = centred.pow(2).mean(0).sqrt()
    return (centred.T @ centred / len(labels)) / (deviation[:, None] * deviation[None])


def strongest(data: DataModule) -> list[dict[str, Any]]:
    """The pairs of labels that go together or exclude each other most, one row each."""
    matrix, names = correlations(data), data.names
    pairs = [(i, j) for i in range(len(names)) for j in range(i) if not matrix[i, j].isnan()]
    pairs.sort(key=lambda pair: -float(matrix[pair].abs()))
    return [
        {"label": names[j], "and": names[i], "correlation": float(matrix[i, j])}
        for i, j in pairs[:_STRONGEST]
    ]


def label_figure(data: DataModule) -> "Figure":
    """How often each label occurs, and how labels correlate."""
    names, n = [caption(name) for name in data.names], len(data.names)
    shares = [row["all"] for row in frequencies(data)]
    side = max(0.19 * n, 2.5)
    figure = _figure(side + 8, side + 2.2)
    bars, matrix = figure.subplots(1, 2, width_ratios=[3, side + 1])
    bars.barh(range(n), shares, color="#4477aa")
    bars.set(xlim=(0, 1), ylim=(n - 0.4, -0.6), xlabel="share of images", title="frequency")
    bars.set_yticks(range(n), names, fontsize=8)
    bars.grid(axis="x", alpha=0.4)
    shown = matrix.imshow(correlations(data).numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    matrix.set(title="correlation")
    matrix.set_xticks(range(n), names, rotation=90, fontsize=8)
    matrix.set_yticks(range(n), names, fontsize=8)
    figure.colorbar(shown, ax=matrix, shrink=0.8)
    return figure


def sheet(data: DataModule, columns: int = 8, rows: int = 4) -> "Figure":
    """The first images of all splits, with split, index and the names of their labels."""
    items = list(_first(data, columns * rows))
    columns = min(columns, max(len(items), 2))
    lines = -(-len(items) // columns)
    room = 0.6 if data.names else 0.25
    figure = _figure(_CELL * columns, (_CELL + room) * max(lines, 1))
    axes = figure.subplots(max(lines, 1), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (split, item) in zip(axes.flat, items, strict=False):
        axis.imshow(((item.image.permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy())
        axis.set_title(_caption(split, item, data.names), fontsize=5, loc="left", pad=2)
    return figure


def _first(data: DataModule, n: int) -> Sequence[tuple[Split, Item]]:
    """Half of the images from training, the rest from validation and test, as far as there are."""
    sets: Mapping[Split, ImageSet] = {split: data.dataset(split) for split in SPLITS}
    most = dict(zip(SPLITS, (n // 2, n // 4, n - n // 2 - n // 4), strict=True))
    return [(s, sets[s][i]) for s in SPLITS for i in range(min(most[s], len(sets[s])))]


def _caption(split: Split, item: Item, names: Sequence[str]) -> str:
    has = [
        caption(name, _LINE)
        for name, value in zip(names, item.labels.tolist(), strict=True)
        if value
    ]
    lines = [f"{split} {item.index}"]
    for word in has:
        if len(lines[-1]) + len(word) > _LINE or len(lines) == 1:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines[:5] + ["..."] * (len(lines) > 5))


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)  # pictures need no screen
    return figure


def _share(labels: Tensor) -> Tensor:
    return labels.mean(0) if len(labels) else torch.full((labels.shape[1],), torch.nan)


def _range(sides: Sequence[int]) -> str:
    if not sides:
        return ""
    return f"{min(sides)} ... {np.median(sides):g} ... {max(sides)}"
