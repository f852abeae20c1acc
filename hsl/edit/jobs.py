"""What the command does: edit, replay a record, or save a mean delta h."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from hsl.backbones import load
from hsl.data.images import distinct, save_image
from hsl.directions import provenance
from hsl.edit import pictures, places
from hsl.edit.explicit import mean_delta_h
from hsl.edit.parts import move
from hsl.edit.plan import plan, say
from hsl.edit.records import SampleRecord, sample
from hsl.edit.sources import Inputs, latents, read
from hsl.edit.sweep import sweep
from hsl.edit.texts import endings
from hsl.errors import HslError
from hsl.figures.pictures import save_figure
from hsl.process import SHARES


@torch.no_grad()
def edit(options: argparse.Namespace) -> None:
    """Edit images or samples; the last line printed is the path of the picture that shows them (the
    folder, where each image has one of its own)."""
    began, out, made = time.time(), places.folder(options), plan(options)
    source = read(options, made.backbone)
    labels = endings(made.axes)
    shown, names = _names(source, labels, len(made.axes))
    records = [options.record] if options.record else []
    places.check(options, [out / name for name in (*shown, *names)], records, "etas")
    say(made, options.steps)
    before = latents(made.backbone, source, made.inversion, made.grid, options.eta, options.batch)
    n, count = len(source.names), len(labels)
    what = sweep(made.edit, made.axes, made.parts, made.units, n) if made.axes else made.edit
    if options.content and made.axes:  # gamma is the share that is kept
        what = replace(what, strength=1 - torch.as_tensor(what.strength))
    x_T, index = (v.repeat_interleave(count, 0) for v in (before.x_T, source.numbers))
    result, record = sample(
        made.backbone, x_T, made.grid, what, options.eta, index, batch=options.batch
    )
    for path in records:
        replace(record, names=names).save(path)
    for name, image in zip(names, result, strict=True):
        save_image(out / name, image)
    figures = pictures.draw(made, source, before, result.unflatten(0, (n, count)))
    for name, figure in zip(shown, figures, strict=True):
        save_figure(out / name, figure)
    places.clear(options, out, [*shown, *names], began)
    print(out if len(shown) > 1 else out / shown[0])


def _names(source: Inputs, labels: list[str], axes: int) -> tuple[list[str], list[str]]:
    """Names of the pictures that show the edits (one, or with two axes one an image), and of the
    images, N times V."""
    stems = [Path(name).with_suffix(".png") for name in source.names]
    grids = [p.with_stem(f"{p.stem}_grid").as_posix() for p in stems if axes > 1]
    names = [p.with_stem(f"{p.stem}_{label}" if label else p.stem).as_posix()
             for p in stems for label in labels]  # fmt: skip
    files = distinct([*(grids or ["strip.png"]), *names])
    return files[: len(grids) or 1], files[len(grids) or 1 :]


@torch.no_grad()
def save_mean(options: argparse.Namespace) -> None:
    """Save the mean of what is added along the edits of images, as a direction; the last line
    printed is its path.

    That of one direction is its value at strength 1, with what the direction's file says, so that
    it is used as the direction itself. That of several is their sum with its coefficients.
    """
    path = Path(options.save_mean)
    if path.suffix != ".safetensors" or path.is_dir():
        raise HslError(f"--save-mean {path}: want a file whose name ends in .safetensors")
    made = plan(options)
    source = read(options, made.backbone)
    places.check(options, [], [path], "mean_of")
    say(made, options.steps)
    x_T = latents(made.backbone, source, made.inversion, made.grid, 0.0, options.batch, False).x_T
    along, about = made.edit, {"steps": options.steps, "strength": 1.0}
    if len(made.parts) == 1:
        (part,), (unit,) = made.parts, made.units
        if along.injection not in SHARES:
            along = replace(along, direction=part.direction, strength=unit * part.strength)
        about = part.direction.about | {"strength": part.strength}
    shift = mean_delta_h(made.backbone, x_T, made.grid, along, not options.overall, options.batch)
    about |= {"t_edit": along.t_edit, "t_boost": along.t_boost, "t_start": along.t_start,
              "injection": along.injection, "mean_of": [p.name for p in made.parts],
              "images": len(source.names)}  # fmt: skip
    shift.save(path, **(about | provenance(made.backbone)))
    print(path)


@torch.no_grad()
def replay(options: argparse.Namespace) -> None:
    """Make the images of a record again, under their names (those of older records, which have
    none, under their indices); the last line printed is the folder."""
    began, out, record = time.time(), places.folder(options), SampleRecord.load(options.replay)
    names = record.names or distinct([f"{index}.png" for index in record.index.tolist()])
    places.check(options, [out / name for name in names])
    backbone = load(options.backbone, record.backbone["tap"])
    move(backbone, options.device, options.speed or ())
    for name, image in zip(names, record.replay(backbone), strict=True):
        save_image(out / name, image)
    places.clear(options, out, names, began)
    print(out)
