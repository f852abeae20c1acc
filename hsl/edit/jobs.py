"""What the command does: edit, replay a record, or save a mean delta h."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from hsl.backbones import load
from hsl.data.images import distinct, save_image
from hsl.directions import provenance
from hsl.edit import places
from hsl.edit.editor import Editor, Inverted
from hsl.edit.explicit import mean_delta_h
from hsl.edit.parts import move
from hsl.edit.plan import planned, say
from hsl.edit.records import SampleRecord
from hsl.edit.result import file_names
from hsl.edit.sources import latents, read
from hsl.errors import HslError
from hsl.process import SHARES


def edit(options: argparse.Namespace) -> None:
    """Edit images or samples; the last line printed is the path of the picture that shows them (the
    folder, where each image has one of its own)."""
    began, out, plan = time.time(), places.folder(options), planned(options)
    inputs = read(options, plan.backbone)
    pictures, names = file_names(inputs, plan)
    records = [options.record] if options.record else []
    places.check(options, [out / name for name in (*pictures, *names)], records, "etas")
    say(plan, options.steps)
    editor = Editor(plan.backbone, steps=options.steps, batch=options.batch)
    edited = editor.carry_out(plan, Inverted(inputs), options.eta)
    for path in records:
        edited.named().save(path)
    shown = edited.write(out, pictures, names)
    places.clear(options, out, [*pictures, *names], began)
    print(shown)


@torch.no_grad()
def save_mean(options: argparse.Namespace) -> None:
    """Save the mean of what is added along the edits of images, as a direction; the last line
    printed is its path.

    The mean of one direction is its value at strength 1, with what the direction's file says, so
    that it is used as the direction itself. The mean of several is their sum with coefficients.
    """
    path = Path(options.save_mean)
    if path.suffix != ".safetensors" or path.is_dir():
        raise HslError(f"--save-mean {path}: want a file whose name ends in .safetensors")
    plan = planned(options)
    source = read(options, plan.backbone)
    places.check(options, [], [path], "mean_of")
    say(plan, options.steps)
    x_T = latents(plan.backbone, source, plan.inversion, plan.grid, 0.0, options.batch, False).x_T
    along, about = plan.edit, {"steps": options.steps, "strength": 1.0}
    if len(plan.parts) == 1:
        (part,), (unit,) = plan.parts, plan.units
        if along.injection not in SHARES:
            along = replace(along, direction=part.direction, strength=unit * part.strength)
        about = part.direction.about | {"strength": part.strength}
    shift = mean_delta_h(plan.backbone, x_T, plan.grid, along, not options.overall, options.batch)
    about |= {"t_edit": along.t_edit, "t_boost": along.t_boost, "t_start": along.t_start,
              "injection": along.injection, "mean_of": [p.name for p in plan.parts],
              "images": len(source.names)}  # fmt: skip
    shift.save(path, **(about | provenance(plan.backbone)))
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
