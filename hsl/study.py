"""``python -m hsl.study latents``: are inverted latents standard Gaussian, as sampled ones are?
And where on the way to noise would the mixing step be?

``python -m hsl.study profile``: how far are P_t and x_t from the image, and where do Asyrp's
editing and boosting begin?
"""

import argparse
import csv
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor

from hsl import commands, intervals, profile
from hsl.backbones import Backbone, devices, load
from hsl.callbacks.common import in_pieces
from hsl.data.items import DataModule, collate
from hsl.data.options import data_module, paths_of
from hsl.encoders.perceptual import PAPER, PerceptualDistance, Thresholds
from hsl.encoders.roles import require_guide, unsuited
from hsl.errors import HslError
from hsl.files import read_text, require_writable_folder
from hsl.latents import LEVEL, class_distances, expected_cosine, summary
from hsl.options import checks
from hsl.options.arguments import given
from hsl.outputs import require_outputs
from hsl.pictures import save_figure
from hsl.process import SeededNoise, invert, reverse
from hsl.progress import track
from hsl.report import print_table, write_csv
from hsl.types import Batch

EXAMPLE = """examples:
  python -m hsl.study latents --out study
  python -m hsl.study latents --backbone celebahq --config configs/data/celebahq.yaml \\
      --accuracy runs/latest/accuracy.csv --device cuda
  python -m hsl.study profile --images 64 --cosine 0.9 --out study
  python -m hsl.study profile --backbone celebahq --config configs/data/celebahq.yaml \\
      --distance lpips/alex --steps 1000 --name celebahq --device cuda
  python -m hsl.study profile --tables study/celebahq
"""
LATENTS = """
Compare sampled with inverted latents (and with images that the forward process made noisy,
diffused) at every timestep: their norm, moments, normality, angles and smoothness (latents.csv,
latents.png); and find the mixing step by total variation and radius, beside that by held-out
accuracy (mixing.csv).
"""
PROFILE = """
Measure the perceptual distances of P_t and x_t to the image by timestep; write them as four tables
in the layout of Asyrp's and as a picture; print t_edit and t_boost, the editing strength and
flexibility of that interval, and the quality deficiency that boosting makes up for.
"""
_SHOWN = 8  # timesteps in the printed table, and its columns
_PRINTED = ("t", "latents", "norm", "variance", "kurtosis", "not_normal", "cosine", "neighbours")
_COLOURS = {"sampled": "tab:blue", "inverted": "tab:red", "diffused": "0.55"}
ByTime = dict[int, Tensor]


def main(arguments: list[str] | None = None) -> int:
    """Run a study; the exit status."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--backbone", default="toyfaces", help="name, folder, file or Hub id")
    common.add_argument("--config", action="append", help="a YAML file with a part data")
    common.add_argument("--images", type=int, default=96, help="the first of the training images")
    common.add_argument("--steps", type=int, default=40, help="of inversion and sampling")
    common.add_argument("--batch", type=int, default=16, help="images at once")
    common.add_argument("--out", help="folder to write to (default: the verb)")
    common.add_argument("--overwrite", action="store_true", help="files that hsl did not write")
    common.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    how: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "exit_on_error": False,
        "allow_abbrev": False,
    }
    parser = argparse.ArgumentParser(
        prog="python -m hsl.study",
        description="latents: compare sampled with inverted latents. profile: how far P_t and x_t "
        "are from the image. VERB --help says more.",
        epilog=EXAMPLE + "\nAny other option is the data module's: --data.init_args.train 200",
        **how,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    _latents_options(verbs.add_parser("latents", parents=[common], description=LATENTS, **how))
    _profile_options(verbs.add_parser("profile", parents=[common], description=PROFILE, **how))
    return commands.run("hsl.study", lambda: _run(*parser.parse_known_args(given(arguments))))


def _run(options: argparse.Namespace, rest: list[str]) -> None:
    if options.verb is None:
        raise HslError("give a verb: python -m hsl.study latents, or profile")
    if options.images < 2 or options.batch < 1:
        raise HslError("want --images of 2 or more, --batch of 1 or more")
    options.out = Path(options.out or options.verb)
    require_writable_folder(options.out)
    (latents if options.verb == "latents" else profile_of)(options, rest)


def _latents_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refine", type=int, default=1, help="0: the papers' inversion")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--tv", type=float, default=0.25, help="mixed at this total variation")
    parser.add_argument("--radius", type=float, default=0.01, help="mixed this near to sqrt(d)")
    parser.add_argument("--accuracy", help="accuracy.csv of a run of a linear method")
    parser.add_argument("--tolerance", type=float, default=0.02, help="of the accuracy")


def _profile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--distance", default="toyfaces/guide", help="or lpips/alex, ..., a file")
    parser.add_argument("--cosine", type=float, default=1.0, help="of the texts of the edit")
    parser.add_argument("--edit-threshold", type=float, help="of P_t (default: the distance's own)")
    parser.add_argument("--boost-threshold", type=float, help="of x_t")
    parser.add_argument("--as-released", action="store_true", help="P_t a timestep too high")
    parser.add_argument("--name", default="profile", help="what the files' names begin with")
    parser.add_argument("--tables", metavar="PREFIX", help="of tables to show instead of measuring")


@torch.no_grad()
def latents(options: argparse.Namespace, rest: list[str]) -> None:
    """Print tables, and write tables and a picture; the last line printed is the folder."""
    checks.require("options", refine=(options.refine, checks.refinements))
    if not 0 < options.tv < 1 or not options.radius > 0 or not options.tolerance >= 0:
        raise HslError("want --tv between 0 and 1, --radius above 0, --tolerance not negative")
    accuracy = accuracy_curve(Path(options.accuracy)) if options.accuracy else {}
    backbone, grid = _backbone(options)
    written = [options.out / name for name in ("latents.csv", "mixing.csv", "latents.png")]
    batch, data = _images(options, rest, backbone.image_size, written)
    pieces = list(in_pieces(options.images, options.batch))
    x_0 = torch.cat([backbone.x_0(batch.image[p].to(options.device)).cpu() for p in pieces])
    ways: dict[str, Callable[[], ByTime]] = {
        "sampled": lambda: sampled(backbone, x_0, grid, pieces, options.seed),
        "inverted": lambda: inverted(backbone, x_0, grid, pieces, options.refine),
        "diffused": lambda: diffused(backbone, x_0, grid, options.seed + 1),
    }
    rows: list[dict[str, Any]] = []
    for kind, way in ways.items():  # one after the other: N images at all timesteps are large
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


def profile_of(options: argparse.Namespace, rest: list[str]) -> None:
    """Write tables of distances and a picture, and print the paper's quantities; the last line
    printed is the folder."""
    if Path(options.name).name != options.name:
        raise HslError(f"--name {options.name}: want a name; --out is for the folder")
    if not 0 < options.cosine < math.inf:
        raise HslError(f"--cosine {options.cosine}: want a positive number")
    if options.tables and rest:
        raise HslError(f"{rest[0]}: unknown, or not needed with --tables")
    picture_path = options.out / f"{options.name}.png"
    if options.tables:
        read = profile.table_paths(options.tables)
        require_outputs([picture_path], read, options.overwrite)
        limits = _thresholds(options, PAPER)
        found, title = profile.read_tables(options.tables), Path(options.tables).name
    else:
        distance = PerceptualDistance.load(options.distance, role="guide", resize=True)
        require_guide(distance, f"--distance {options.distance}")
        limits = _thresholds(options, distance.thresholds)
        backbone, grid = _backbone(options)
        written = [*profile.table_paths(options.out / options.name), picture_path]
        batch, data = _images(options, rest, backbone.image_size, written)
        if reason := unsuited(distance, data.domain, None):
            raise HslError(f"--distance {options.distance} {reason}: give lpips/alex")
        found = profile.measure(
            backbone, grid, batch.image, distance.to(backbone.device), options.batch,
            options.as_released,
        )  # fmt: skip
        title = (
            f"{backbone.name}: {options.images} images, {len(grid)} steps, "
            f"distance {options.distance}"
        )
        # before a threshold that is not reached ends the job
        profile.write_tables(options.out / options.name, found)
    t_edit = intervals.t_edit(found.mean, options.cosine, limits.edit)
    t_boost = intervals.t_boost(found.mean, limits.boost)
    shown = (limits.edit * options.cosine, limits.boost)
    picture = profile.draw(found, shown, t_edit, t_boost, title)
    save_figure(picture_path, picture)
    print_table(title, profile.rows(found, _SHOWN))
    print_table("the interval", profile.summary(found.mean, t_edit, t_boost))
    print(options.out)


def _thresholds(options: argparse.Namespace, own: Thresholds | None) -> Thresholds:
    """Those given, else the perceptual network's ``own``."""
    given = (options.edit_threshold, options.boost_threshold)
    edit, boost = (v if v is not None else own and own[i] for i, v in enumerate(given))
    if edit is None or boost is None:
        raise HslError(f"--distance {options.distance} has no thresholds of its own: give "
                       "--edit-threshold and --boost-threshold")  # fmt: skip
    for name, value in (("edit", edit), ("boost", boost)):
        if not 0 < value < math.inf:
            raise HslError(f"--{name}-threshold {value}: want a positive number")
    return Thresholds(edit, boost)


def _backbone(options: argparse.Namespace) -> tuple[Backbone, list[int]]:
    """The backbone on its device, and the timesteps."""
    backbone = load(options.backbone)
    devices.move(backbone, options.device)
    try:
        grid = backbone.schedule.grid(options.steps)
    except ValueError as error:
        raise HslError(f"--steps: {error}") from error
    return backbone, grid


def _images(
    options: argparse.Namespace, rest: list[str], size: int, written: Sequence[Path]
) -> tuple[Batch, DataModule]:
    """The first training images, and their data module, where the files to be written may be."""
    if not options.config and not any(o == "--data" or o.startswith("--data=") for o in rest):
        rest = ["--data=hsl.data.toyfaces.ToyFacesDataModule", *rest]
    data = data_module(options.config or [], rest)
    inputs = [*(options.config or []), *paths_of(data), options.backbone]
    inputs += filter(None, (getattr(options, name, None) for name in ("accuracy", "distance")))
    require_outputs(written, inputs, options.overwrite)
    data.suit(size)
    images = data.dataset("train")
    if len(images) < options.images:
        raise HslError(f"--images {options.images}: there are {len(images)} training images; ask "
                       "for fewer, or give --data.init_args.train")  # fmt: skip
    return collate([images[i] for i in range(options.images)]), data


# Latents


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
    noise, found = SeededNoise(torch.arange(len(x_0)), seed), {}
    for t in grid[1:]:
        a = backbone.schedule.alpha_bar(t)
        found[t] = a**0.5 * x_0 + (1 - a) ** 0.5 * noise(t, x_0)
    return found


def _collected(
    steps: Callable[[slice], Iterator[tuple[int, Tensor]]], pieces: Sequence[slice], what: str
) -> ByTime:
    parts: dict[int, list[Tensor]] = {}
    for piece in track(pieces, what, len(pieces)):
        for t, x in steps(piece):
            parts.setdefault(t, []).append(x.cpu())
    return {t: torch.cat(part) for t, part in parts.items()}


# Mixing steps


def accuracy_curve(path: Path) -> dict[int, float]:
    """Mean balanced accuracy over attributes and spaces by timestep, from the table that the
    `Mixing` callback wrote.

    Raises:
        HslError: no such file, or another table.
    """
    text = read_text(path, "accuracy.csv of a run of a linear method")
    found: dict[int, list[float]] = {}
    try:
        for row in csv.DictReader(text.splitlines()):
            found.setdefault(int(row["t"]), []).append(float(row["balanced_accuracy"]))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise HslError(f"{path}: not the accuracy.csv of a linear method") from error
    known = {t: [v for v in values if not math.isnan(v)] for t, values in found.items()}
    if not known or not all(known.values()):
        raise HslError(f"{path}: has no balanced accuracy at some timestep")
    return {t: sum(values) / len(values) for t, values in sorted(known.items())}


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
    except HslError:  # the options are known to be good: no t is noisy enough
        return None


# The picture


def draw(
    rows: Sequence[Mapping[str, Any]], mixed: Sequence[Mapping[str, Any]],
    accuracy: Mapping[int, float], backbone: Backbone, shape: torch.Size,
) -> Figure:  # fmt: skip
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
    figure = Figure(figsize=(14, 6.4), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)  # pictures need no screen
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
    axis: Axes, mixed: Sequence[Mapping[str, Any]], accuracy: Mapping[int, float],
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


if __name__ == "__main__":
    sys.exit(main())
