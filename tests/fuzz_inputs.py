"""Inputs for `fuzzing`: a world of small sound files, and damage to one of them at a time."""

import io
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from edits import Place, made_borders, made_place
from fuzzing import NASTY, NUMBERS, WORDS, Case, damaged, damaged_json, damaged_tensors
from hsl import convert, edit
from hsl.data import __main__ as data
from hsl.intervals import Curves
from hsl.intervals.profile import Profile, write_tables
from hsl.store import Store
from hsl.store import __main__ as store
from hsl.study import command as study
from hsl.train import command as train
from layouts import save
from originals import ADM, DDPM, reinit

#: So many that each split gets some.
IMAGES = 40


class World(NamedTuple):
    """Sound inputs: of the edit command, and further files by name."""

    place: Place
    files: dict[str, Path]


def made_world(root: Path) -> World:
    """All files that inputs begin as."""
    place = made_place(root / "place")
    files = {f"border {k}": Path(v) for k, v in made_borders(place).items()}
    files["record"] = root / "record.safetensors"
    assert (
        place.call("--seeds", "0-1", "--direction", place.smile, "--record", files["record"]) == 0
    )
    for name, net in (
        ("ddpm", DDPM(32, (1, 2), 1, [8], 16)),
        ("adm", ADM(32, (1, 2), 1, [8], 16, True, False, False, head_channels=32)),
    ):
        reinit(net, 5)
        files[name], files[f"{name} safe"] = root / f"{name}.pt", root / f"{name}.safetensors"
        torch.save(net.state_dict(), files[name])
        save_file(net.state_dict(), files[f"{name} safe"])
    for i in range(IMAGES):
        save(root / "images" / f"{i}.png", i, 8)
    files["images"] = root / "images"
    rows = "\n".join(f"{i}.png,{i % 2},{i % 3 == 0:d}" for i in range(IMAGES))
    files["labels"] = root / "labels.csv"
    files["labels"].write_text(f"image,Smiling,Odd\n{rows}\n")
    curve = {t: t / 500 for t in range(1, 1000, 37)}
    files["tables"] = root / "tables"
    write_tables(files["tables"] / "profile", Profile(Curves(curve, curve), Curves(curve, curve)))
    cache = Store(root / "cache")
    for i in range(3):
        cache.put(f"{i:032x}", {"x_T": torch.ones(3, 2, 2)}, {"kind": "x_T", "backbone": "a"})
    files["cache"] = root / "cache"
    return World(place, files)


Make = Callable[[World, random.Random, Path, Path], Case]


def kind_of(number: int) -> str:
    """What is damaged in input ``number``."""
    return KINDS[number % len(KINDS)].__name__


def case_of(number: int, world: World, work: Path) -> Case:
    """Input ``number``; its files are made in ``work``."""
    inputs = work / "in"
    inputs.mkdir(parents=True)
    make = KINDS[number % len(KINDS)]
    return make(world, random.Random(number), inputs, work / "out")


def _edit(world: World, inputs: Path, out: Path, *arguments: object) -> Case:
    here = ["--backbone", world.place.backbone, "--steps", "3", "--device", "cpu", "--out", out]
    return Case("hsl.edit", edit.main, [str(a) for a in (*here, *arguments)], inputs)


def _safetensors(source: Path, target: Path, rng: random.Random) -> Path:
    """A safetensors file, damaged in its bytes, its header or its tensors."""
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = rng.randrange(3)
    if kind == 0:
        target.write_bytes(damaged(source.read_bytes(), rng))
        return target
    with safe_open(source, framework="pt") as file:
        about = dict(file.metadata() or {})
    tensors = load_file(source)
    if kind == 1 and "hsl" in about:
        header = json.loads(about["hsl"])
        if rng.random() < 0.8:  # as files of before there were checksums, which would tell
            header = {k: v for k, v in header.items() if k not in ("checksum", "crc32")}
        about["hsl"] = json.dumps(damaged_json(header, rng))
    else:
        header = json.loads(about.get("hsl", "{}"))
        header = {k: v for k, v in header.items() if k not in ("checksum", "crc32")}
        about = {"hsl": json.dumps(header)} if header else about
        tensors = damaged_tensors(tensors, rng)
    save_file(tensors, target, metadata=about)
    return target


def any_value(rng: random.Random) -> str:
    """A number as often as not."""
    return rng.choice(WORDS if rng.random() < 0.5 else NUMBERS)


def image(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A picture of any mode and format, then perhaps damaged."""
    suffix = rng.choice(["png", "png", "jpg", "webp", "bmp", "gif", "tiff", "ppm", "txt"])
    mode = rng.choice(["RGB", "RGBA", "L", "LA", "P", "1", "I", "F", "I;16", "CMYK", "YCbCr"])
    path, file = inputs / f"a.{suffix}", io.BytesIO()
    size = rng.choice([(8, 8), (1, 1), (9, 3), (1, 400), (64, 48)])
    random_pixels = np.random.default_rng(rng.randrange(99)).integers(0, 255, (*size[::-1], 3))
    picture = Image.fromarray(random_pixels.astype("uint8"))
    try:
        picture.convert(mode).save(file, {"jpg": "jpeg", "txt": "png"}.get(suffix, suffix))
    except (OSError, ValueError):  # not every format has every mode
        file = io.BytesIO()
        picture.save(file, "png")
    content = file.getvalue()
    path.write_bytes(damaged(content, rng) if rng.random() < 0.7 else content)
    if rng.random() < 0.1:
        path.unlink()
        rng.choice([os.mkfifo, os.mkdir, lambda p: os.symlink(p, p), lambda p: None])(path)
    given = rng.choice([path, inputs])
    return _edit(world, inputs, out, given, "--direction", world.place.smile)


def direction(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A direction or boundary, damaged."""
    border = rng.random() < 0.4
    names = [name for name in world.files if name.startswith("border")]
    source = world.files[rng.choice(names)] if border else Path(world.place.smile)
    path = _safetensors(source, inputs / rng.choice(["d.safetensors", "d", "d.pth"]), rng)
    return _edit(
        world, inputs, out, "--seeds", "1", "--boundary" if border else "--direction", path
    )


def record(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A sample record, damaged."""
    path = _safetensors(world.files["record"], inputs / "r.safetensors", rng)
    arguments = ["--backbone", world.place.backbone, "--device", "cpu", "--out", str(out)]
    return Case("hsl.edit", edit.main, [*arguments, "--replay", str(path)], inputs)


def backbone(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A backbone's folder, one of its files damaged."""
    folder = inputs / "net"
    shutil.copytree(world.place.backbone, folder)
    path = rng.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
    if path.suffix == ".json" and rng.random() < 0.8:
        path.write_text(json.dumps(damaged_json(json.loads(path.read_text()), rng)))
    elif path.suffix == ".safetensors":
        _safetensors(path, inputs / "new", rng).replace(path)
    else:
        path.write_bytes(damaged(path.read_bytes(), rng))
    case = _edit(world, inputs, out, "--seeds", "1", "--direction", world.place.smile)
    arguments = [str(folder) if a == world.place.backbone else a for a in case.arguments]
    return case._replace(arguments=arguments)


def checkpoint(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """An original file, damaged, to be converted; or sound, with odd options."""
    name = rng.choice(["ddpm", "adm"])
    path = inputs / rng.choice(["a.pt", "a.ckpt", "a.safetensors", "a.bin", "a"])
    kind = rng.randrange(4)
    if kind == 0:
        path.write_bytes(damaged(world.files[name].read_bytes(), rng))
    elif kind == 1:
        path = _safetensors(world.files[f"{name} safe"], inputs / "a.safetensors", rng)
    elif kind == 2:
        state: Any = damaged_tensors(load_file(world.files[f"{name} safe"]), rng)
        shapes = [{"model": state}, {"state_dict": state, "x": 1}, [state], {"0": state}, state]
        torch.save(rng.choice(shapes), path)
    else:
        shutil.copyfile(world.files[name], path)
    options = ["--image-size", "--qkv", "--heads", "--head-channels", "--schedule", "--timesteps",
               "--preset", "--part", "--name", "--check"]  # fmt: skip
    more = [f"{rng.choice(options)}={rng.choice(WORDS)}"] if kind == 3 else []
    facts = ["--image-size", "16", "--schedule", "linear", "--head-channels", "32", "--qkv", "new"]
    arguments = [str(path), str(out), *(facts[:4] if name == "ddpm" else facts), *more]
    return Case("hsl.convert", convert.main, arguments, inputs)


def labels(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A table of labels, damaged as bytes or in a cell; images of which some are broken."""
    folder, path = inputs / "images", inputs / rng.choice(["l.csv"] * 5 + ["l.txt", "l.json"])
    shutil.copytree(world.files["images"], folder)
    content = world.files["labels"].read_bytes()
    if rng.random() < 0.5:
        path.write_bytes(damaged(content, rng))
    else:
        rows = [line.split(",") for line in content.decode().splitlines()]
        row = rng.choice(rows[:3] + rows)
        row[rng.randrange(3)] = str(rng.choice(NASTY)).replace("\ud800", "")
        comma = rng.choice([",", ",", ",", "\t", ";"])
        text = rng.choice(["\n", "\r\n", "\n\n"]).join(comma.join(row) for row in rows)
        path.write_bytes(
            text.encode(rng.choice(["utf-8"] * 4 + ["utf-16", "utf-8-sig"]), "replace")
        )
    if rng.random() < 0.3:
        broken = folder / f"{rng.randrange(IMAGES)}.png"
        broken.write_bytes(damaged(broken.read_bytes(), rng))
    given = [f"--data.init_args.source={folder}", f"--data.init_args.labels={path}",
             "--data.init_args.size=8", "--data=hsl.data.folder.ImagesDataModule"]  # fmt: skip
    return _data(["describe", given[3], *given[:3]], inputs, out)


def _data(arguments: list[str], inputs: Path, out: Path) -> Case:
    return Case("hsl.data", data.main, [*arguments, "--out", str(out)], inputs)


def text_of_yaml(world: World, rng: random.Random, inputs: Path) -> Path:
    """A configuration, damaged as a value or as text."""
    value: Any = {
        "data": {
            "class_path": "hsl.data.folder.ImagesDataModule",
            "init_args": {"source": str(world.files["images"]), "size": 8, "train": 2,
                          "validation": 1, "test": 1, "batch_size": 2, "num_workers": 0,
                          "labels": str(world.files["labels"])},
        }
    }  # fmt: skip
    path, kind = inputs / rng.choice(["c.yaml", "c.json", "c"]), rng.randrange(5)
    if kind < 2:
        text = yaml.safe_dump(damaged_json(value, rng))
    elif kind == 2:
        text = yaml.safe_dump(value)
        at = rng.randrange(len(text))
        odd = ["&a [*a]", "*b", "!!python/object/apply:os.system [x]", "\t", ": ", "- ", "{", "\0",
               "&a [x, x]\n" + "".join(f"{c}: &{c} [*{b}, *{b}]\n" for b, c in zip("abcd", "bcde",
               strict=False)), "9" * 5000, "[" * 2000]  # fmt: skip
        text = text[:at] + rng.choice(odd) + text[at:]
    elif kind == 3:
        text = rng.choice(["# sound\n", "", "{}\n---\n", "\ufeff"]) + yaml.safe_dump(value)
    else:
        path.write_bytes(damaged(yaml.safe_dump(value).encode(), rng))
        return path
    path.write_text(text, errors="replace")
    return path


def configuration(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A YAML of a data set to describe."""
    return _data(["describe", "--config", str(text_of_yaml(world, rng, inputs))], inputs, out)


def tables(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """Perceptual curves, one table damaged, to be shown or used."""
    folder = inputs / "tables"
    shutil.copytree(world.files["tables"], folder)
    path = rng.choice(sorted(folder.iterdir()))
    path.write_bytes(damaged(path.read_bytes(), rng))
    if rng.random() < 0.5:
        given = ["profile", "--tables", str(folder / "profile"), "--out", str(out)]
        return Case("hsl.study", study.main, given, inputs)
    return _edit(world, inputs, out, "--seeds", "1", "--direction", world.place.smile,
                 "--cosine", "1", "--profile", folder / "profile")  # fmt: skip


def cache(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A cache, one record damaged."""
    folder = inputs / "cache"
    shutil.copytree(world.files["cache"], folder)
    path = rng.choice(sorted(folder.rglob("*.safetensors")))
    _safetensors(path, inputs / "new", rng).replace(path)
    verb = rng.choice([["list"], ["verify"], ["prune", "--damaged"], ["prune", "--dry-run"],
                       ["prune", "--days", any_value(rng)], ["prune", "--kind", any_value(rng)],
                       ["prune", "--megabytes", any_value(rng)]])  # fmt: skip
    arguments = [verb[0], str(folder), *verb[1:]]
    return Case("hsl.store", store.main, arguments, inputs, fixed=verb[0] != "prune")


def option(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A sound edit with an option or two of any value."""
    known = ["--seeds", "--backbone", "--steps", "--invert-steps", "--batch", "--device", "--speed",
             "--direction", "--boundary", "--keep", "--content", "--gamma", "--interpolate",
             "--t-edit", "--t-start", "--t-boost", "--profile", "--edit-threshold", "--cosine",
             "--boost-threshold", "--injection", "--mask", "--dt-lambda", "--dt-end", "--eta",
             "--save-mean", "--record", "--replay", "--scaled", "--global", "images"]  # fmt: skip
    more: list[str] = []
    for name in rng.sample(known, rng.choice([1, 1, 2])):
        value = any_value(rng)
        if name in ("--save-mean", "--record"):
            value = str(out / value.strip("/").replace("..", "")) if value else value
        more += {"--scaled": [name], "--global": [name], "images": [value]}.get(
            name, [f"{name}={value}"]
        )
    base = ["--seeds", "1", "--direction", world.place.smile] if rng.random() < 0.8 else []
    return _edit(world, inputs, out, *base, *more)


def study_option(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A study of a few faces with an option of any value."""
    verb = rng.choice(["latents", "profile"])
    known = {
        "latents": ["refine", "seed", "tv", "radius", "accuracy", "tolerance"],
        "profile": ["distance", "cosine", "edit-threshold", "boost-threshold", "name"],
    }
    both = ["images", "steps", "batch", "device", "backbone", "data.init_args.size",
            "data.init_args.train", "data.init_args.where", "data"]  # fmt: skip
    given = {"backbone": world.place.backbone, "images": 3, "steps": 4, "device": "cpu", "out": out,
             "data.init_args.size": 8, "data.init_args.train": 4}  # fmt: skip
    given |= {rng.choice(known[verb] + both): any_value(rng)}
    return Case("hsl.study", study.main, [verb, *(f"--{k}={v}" for k, v in given.items())], inputs)


#: Of ``hsl.train fit``, so that it would be small.
SMALL: dict[str, object] = {
    "model.init_args.steps": 4, "model.init_args.t_edit": 300, "model.init_args.t_boost": 100,
    "model.init_args.t_start": "null", "data.init_args.train": 4, "data.init_args.validation": 3,
    "data.init_args.test": 3, "data.init_args.batch_size": 2, "trainer.max_epochs": 1,
    "trainer.accelerator": "cpu", "trainer.devices": 1, "strength.strengths": "[0.5,1.5]",
    "grids.images": 2, "wandb": "disabled",
}  # fmt: skip
CLASSES = [
    "os.system", "builtins.eval", "torch.optim.SGD", "torch.nn.Linear", "hsl.data.folder.X", "x.y",
    "hsl.solvers.SVM", "hsl.methods.linear.Linear", "hsl.data.folder.ImagesDataModule", "", "..",
]  # fmt: skip


def training(world: World, rng: random.Random, inputs: Path, out: Path) -> Case:
    """A fit with an option of any value, a class that is none of its kind, or a damaged YAML; up
    to where it would begin to train."""
    given = {"model.init_args.backbone": world.place.backbone, "runs": out} | SMALL
    kind, more = rng.randrange(4), list[str]()
    if kind == 0:
        more = ["--config", str(text_of_yaml(world, rng, inputs))]
    elif kind == 1:
        name = rng.choice(["model", "data", "model.init_args.optimizer", "trainer.logger",
                           "model.init_args.lr_scheduler", "trainer.callbacks"])  # fmt: skip
        more = [f"--{name}={rng.choice(CLASSES)}"]
    else:
        known = [*SMALL, "name", "seed_everything", "model.init_args.attribute", "ckpt_path",
                 "evaluate.distance", "evaluate.attributes", "evaluate.templates",
                 "data.init_args.where", "grids.factors", "strength.share", "strength.batch",
                 "intervals.images", "checkpoints.every_n_epochs", "model.init_args.cache",
                 "model.init_args.refine", "model.init_args.injection", "trainer.precision",
                 "trainer.limit_train_batches", "data.init_args.size"]  # fmt: skip
        given |= {name: any_value(rng) for name in rng.sample(known, rng.choice([1, 1, 2]))}
    arguments = ["fit", *(f"--{name}={value}" for name, value in given.items()), *more]
    return Case("hsl.train", _begin, arguments, inputs)


def _begin(arguments: list[str]) -> int:
    """``hsl.train`` without the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hsl.train"])  # Lightning warns of options beside ours
        patch.setattr(train.HslCLI, "_run_subcommand", lambda self, verb: None)
        return train.main(arguments)


#: By turns.
KINDS: tuple[Make, ...] = (
    image, direction, record, backbone, checkpoint, labels, configuration, tables, cache, option,
    study_option, training,
)  # fmt: skip
