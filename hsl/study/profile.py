"""``hsl study profile``: perceptual distances by timestep, t_edit and t_boost."""

import argparse
import math
from pathlib import Path

from hsl import intervals
from hsl.encoders.perceptual import PAPER, PerceptualDistance, Thresholds
from hsl.encoders.roles import require_guide, unsuited
from hsl.errors import HslError
from hsl.figures.pictures import save_figure
from hsl.files.outputs import require_outputs
from hsl.intervals import profile as curves
from hsl.study.common import backbone_and_grid, images_of
from hsl.study.profile_figure import draw as draw_profile
from hsl.tables import print_table

_SHOWN = 8  # rows in the printed table


def profile(options: argparse.Namespace, rest: list[str]) -> None:
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
        tables = curves.table_paths(options.tables)
        require_outputs([picture_path], tables, options.overwrite)
        limits = _thresholds(options, PAPER)
        measured, title = curves.read_tables(options.tables), Path(options.tables).name
    else:
        distance = PerceptualDistance.load(options.distance, role="guide", resize=True)
        require_guide(distance, f"--distance {options.distance}")
        limits = _thresholds(options, distance.thresholds)
        backbone, grid = backbone_and_grid(options)
        outputs = [*curves.table_paths(options.out / options.name), picture_path]
        batch, data = images_of(options, rest, backbone.image_size, outputs)
        if reason := unsuited(distance, data.domain, None):
            raise HslError(f"--distance {options.distance} {reason}: give lpips/alex")
        measured = curves.measure(
            backbone, grid, batch.image, distance.to(backbone.device), options.batch,
            options.as_released,
        )  # fmt: skip
        title = (
            f"{backbone.name}: {options.images} images, {len(grid)} steps, "
            f"distance {options.distance}"
        )
        # written first: a threshold that is not reached ends the job
        curves.write_tables(options.out / options.name, measured)
    t_edit = intervals.t_edit(measured.mean, options.cosine, limits.edit)
    t_boost = intervals.t_boost(measured.mean, limits.boost)
    drawn = (limits.edit * options.cosine, limits.boost)
    picture = draw_profile(measured, drawn, t_edit, t_boost, title)
    save_figure(picture_path, picture)
    print_table(title, curves.rows(measured, _SHOWN))
    print_table("the interval", curves.summary(measured.mean, t_edit, t_boost))
    print(options.out)


def _thresholds(options: argparse.Namespace, own: Thresholds | None) -> Thresholds:
    """The thresholds that are given, else the perceptual network's ``own``."""
    given = (options.edit_threshold, options.boost_threshold)
    edit, boost = (v if v is not None else own and own[i] for i, v in enumerate(given))
    if edit is None or boost is None:
        raise HslError(f"--distance {options.distance} has no thresholds of its own: give "
                       "--edit-threshold and --boost-threshold")  # fmt: skip
    for name, value in (("edit", edit), ("boost", boost)):
        if not 0 < value < math.inf:
            raise HslError(f"--{name}-threshold {value}: want a positive number")
    return Thresholds(edit, boost)
