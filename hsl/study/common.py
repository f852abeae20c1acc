"""What the studies share: the backbone, its timesteps, the images."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hsl.backbones import Backbone, devices, load
from hsl.bundled import BUNDLED
from hsl.data.items import DataModule, collate
from hsl.data.options import data_module, paths_of
from hsl.errors import HslError
from hsl.files.outputs import require_outputs
from hsl.types import Batch


def backbone_and_grid(options: argparse.Namespace) -> tuple[Backbone, list[int]]:
    """The backbone on its device, and the timesteps."""
    backbone = load(options.backbone)
    devices.move(backbone, options.device)
    try:
        grid = backbone.schedule.grid(options.steps)
    except ValueError as error:
        raise HslError(f"--steps: {error}") from error
    return backbone, grid


def images_of(
    options: argparse.Namespace, rest: list[str], size: int, outputs: Sequence[Path]
) -> tuple[Batch, DataModule]:
    """The first training images, and their data module, where the files to be written may be."""
    if not options.config and not any(o == "--data" or o.startswith("--data=") for o in rest):
        rest = [f"--data={BUNDLED.data}", *rest]
    data = data_module(options.config or [], rest)
    inputs = [*(options.config or []), *paths_of(data), options.backbone]
    inputs += filter(None, (getattr(options, name, None) for name in ("accuracy", "distance")))
    require_outputs(outputs, inputs, options.overwrite)
    data.suit(size)
    images = data.dataset("train")
    if len(images) < options.images:
        raise HslError(f"--images {options.images}: there are {len(images)} training images; ask "
                       "for fewer, or give --data.init_args.train")  # fmt: skip
    return collate([images[i] for i in range(options.images)]), data
