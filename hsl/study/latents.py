"""``hsl study latents``: sampled, inverted and diffused latents beside standard Gaussian noise."""

import argparse
import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hsl import intervals
from hsl.backbones import Backbone
from hsl.callbacks.common import in_pieces
from hsl.errors import HslError
from hsl.figures.pictures import save_figure
from hsl.files import read_text
from hsl.options import checks
from hsl.process import SeededNoise, invert, reverse
from hsl.progress import track
from hsl.study.common import backbone_and_grid, images_of
from hsl.study.gaussian import class_distances, summary
from hsl.study.latents_figure import draw
from hsl.tables import print_table, write_csv

_SHOWN = 8  # timesteps in the printed table, and its columns
_PRINTED = ("t", "latents", "norm", "variance", "kurtosis", "not_normal", "cosine", "neighbours")
ByTime = dict[int, Tensor]


@torch.no_grad()
def latents(options: argparse.Namespace, rest: list[str]) -> None:
    """Print tables, and write tables and a picture; the last line printed is the folder."""
    checks.require("options", refine=(options.refine, checks.refinements))
    if not 0 < options.tv < 1 or not options.radius > 0 or not options.tolerance >= 0:
        raise HslError("want --tv between 0 and 1, --radius above 0, --tolerance not negative")
    accuracy = accuracy_curve(Path(options.accuracy)) if options.accuracy else {}
    backbone, grid = backbone_and_grid(options)
    outputs = [options.out / name for name in ("latents.csv", "mixing.csv", "latents.png")]
    batch, data = images_of(options, rest, backbone.image_size, outputs)
    pieces = list(in_pieces(options.images, options.batch))
    x_0 = torch.cat([backbone.x_0(batch.image[p].to(options.device)).cpu() for p in pieces])
    ways: dict[str, Callable[[], ByTime]] = {
        "sampled": lambda: sampled(backbone, x_0, grid, pieces, options.seed),
        "inverted": lambda: inverted(backbone, x_0, grid, pieces, options.refine),
        "diffused": lambda: diffused(backbone, x_0, grid, options.seed + 1),
    }
    rows: list[dict[str, Any]] = []
    for kind, way in ways.items():  # one at a time: N images at all timesteps take much memory
        rows += [{"latents": kind, "t": t} | summary(x) for t, x in sorted(way().items())]
    mixed = mixing(backbone, x_0, batch.labels, data.names, accuracy, options)
    out = options.out
    write_csv(out / "latents.csv", rows)
    write_csv(out / "mixing.csv", mixed)
    save_figure(out / "latents.png", draw(rows, mixed, accuracy, backbone, x_0.shape[1:]))
    times = grid[1:][:: -max(len(grid) // _SHOWN, 1)]
    shown = [{name: row[name] for name in _PRINTED} for t in times for row in rows if row["t"] == t]
    print_table(f"{len(x_0)} latents of {x_0[0].numel()} dimensions", shown)
    print_table("mixing steps", mixed)
    print(out)


def sampled(
    backbone: Backbone, like: Tensor, grid: Sequence[int], pieces: Sequence[slice], seed: int
) -> ByTime:
    """x_t of samples from noise (eta 0), ``[N, C, s, s]`` at each t of the grid but the first."""

    def steps(piece: slice) -> Iterator[tuple[int, Tensor]]:
        noise = SeededNoise(torch.arange(len(like))[piece], seed)
        x_T = noise.x_T(like[piece]).to(backbone.device)
        return ((step.t, step.x) for step in reverse(backbone, x_T, grid) if step.t > grid[0])

    return _collected(steps, pieces, "sampling")


def inverted(
    backbone: Backbone, x_0: Tensor, grid: Sequence[int], pieces: Sequence[slice], refine: int
) -> ByTime:
    """x_t of the inversion of images, at the same timesteps."""

    def steps(piece: slice) -> Iterator[tuple[int, Tensor]]:
        x = x_0[piece].to(backbone.device)
        return ((step.t_next, step.x_next) for step in invert(backbone, x, grid, refine))

    return _collected(steps, pieces, "inverting")


def diffused(backbone: Backbone, x_0: Tensor, grid: Sequence[int], seed: int) -> ByTime:
    """x_t of the forward process from images: sqrt(a) x_0 + sqrt(1 - a) noise."""
    noise, by_time = SeededNoise(torch.arange(len(x_0)), seed), {}
    for t in grid[1:]:
        a = backbone.schedule.alpha_bar(t)
        by_time[t] = a**0.5 * x_0 + (1 - a) ** 0.5 * noise(t, x_0)
    return by_time


def _collected(
    steps: Callable[[slice], Iterator[tuple[int, Tensor]]], pieces: Sequence[slice], doing: str
) -> ByTime:
    batches: dict[int, list[Tensor]] = {}
    for piece in track(pieces, doing, len(pieces)):
        for t, x in steps(piece):
            batches.setdefault(t, []).append(x.cpu())
    return {t: torch.cat(tensors) for t, tensors in batches.items()}


def accuracy_curve(path: Path) -> dict[int, float]:
    """Mean balanced accuracy over attributes and spaces by timestep, from the table that the
    `Mixing` callback wrote.

    Raises:
        HslError: no such file, or another table.
    """
    text = read_text(path, "accuracy.csv of a run of a linear method")
    by_time: dict[int, list[float]] = {}
    try:
        for row in csv.DictReader(text.splitlines()):
            by_time.setdefault(int(row["t"]), []).append(float(row["balanced_accuracy"]))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise HslError(f"{path}: not the accuracy.csv of a linear method") from error
    numbers = {t: [v for v in values if not math.isnan(v)] for t, values in by_time.items()}
    if not numbers or not all(numbers.values()):
        raise HslError(f"{path}: has no balanced accuracy at some timestep")
    return {t: sum(values) / len(values) for t, values in sorted(numbers.items())}


def mixing(
    backbone: Backbone, x_0: Tensor, labels: Tensor, names: Sequence[str],
    accuracy: Mapping[int, float], options: argparse.Namespace,
) -> list[dict[str, Any]]:  # fmt: skip
    """The mixing step by each criterion, one row each; t None where it is not reached."""
    a, rows = backbone.schedule.alphas_cumprod, []
    for name, distance in zip(names, class_distances(x_0, labels).tolist(), strict=True):
        if not math.isnan(distance):
            t = _reached(lambda d=distance: intervals.mixing_step_tv(a, d, options.tv))  # type: ignore[misc]
            rows.append({"criterion": f"total variation <= {options.tv:g}", "attribute": name,
                         "distance": distance, "t": t})  # fmt: skip
    second, d = float(x_0.double().flatten(1).square().sum(1).mean()), x_0[0].numel()
    t = _reached(lambda: intervals.mixing_step_radius(a, second, d, options.radius))
    rows.append({"criterion": f"radius within {options.radius:g} of sqrt(d)", "t": t})
    if accuracy:
        t = intervals.mixing_step(accuracy, options.tolerance)
        rows.append({"criterion": f"accuracy within {options.tolerance:g} of the best", "t": t})
    return rows


def _reached(find: Callable[[], int]) -> int | None:
    try:
        return find()
    except HslError:  # the options were checked before, so no t is noisy enough
        return None
