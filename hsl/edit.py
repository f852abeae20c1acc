"""``python -m hsl.edit``: apply saved directions to images."""

import argparse
import functools
import math
import operator
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hsl.assets import asset
from hsl.backbones import Backbone, load
from hsl.callbacks.grids import draw_grid
from hsl.data.images import distinct, load_images, save_image
from hsl.directions import Boundary, Combination, Direction
from hsl.errors import HslError
from hsl.process import Edit, SeededNoise, invert, last, reverse
from hsl.progress import track
from hsl.records import SampleRecord, sample
from hsl.report import replacing
from hsl.schedule import Schedule

EXAMPLE = """example:
  python -m hsl.edit --seeds 0-7 --direction Smiling --out smiles
  python -m hsl.edit photo.png --direction Smiling=0.8 --direction Wearing_Lipstick --out out
  python -m hsl.edit faces/ --direction runs/latest/directions/Smiling.safetensors
  python -m hsl.edit photo.png --direction Smiling --record smile.safetensors
  python -m hsl.edit --replay smile.safetensors --out again
  python -m hsl.edit photo.png --boundary Eyeglasses --boundary Smiling=-1 --keep Male --out out
"""


def shipped(kind: str = "directions") -> list[str]:
    """Names of what is shipped for the bundled backbone: ``directions`` (implicit functions) or
    ``boundaries``."""
    return sorted(path.stem for path in asset(f"toyfaces/{kind}").glob("*.safetensors"))


def find_direction(name: str, kind: str = "directions") -> Direction:
    """A direction by its file, or by the name of a shipped one of its kind.

    Raises:
        HslError: neither exists.
    """
    if Path(name).suffix in (".safetensors", ".pth") or Path(name).is_file():
        return Direction.load(name)
    if name not in shipped(kind):
        known = ", ".join(shipped(kind))
        raise HslError(f"no direction {name!r}: give a .safetensors or .pth file or {known}")
    return Direction.load(asset(f"toyfaces/{kind}/{name}.safetensors"))


def load_for(name: str, parts: list[tuple[Direction, float]]) -> Backbone:
    """The backbone ``name``, with the tap that the directions are for.

    Raises:
        HslError: they are for several taps, or for another backbone.
    """
    taps = {str(direction.about.get("tap", "after")) for direction, _ in parts}
    if len(taps) > 1:
        raise HslError(f"these directions are for several taps ({', '.join(sorted(taps))})")
    backbone = load(name, taps.pop())  # type: ignore[arg-type]  # checked there
    for direction, _ in parts:
        direction.check(backbone)
    return backbone


def join(
    parts: list[tuple[Direction, float]],
    steps: int,
    t_edit: int | None,
    t_boost: int | None,
    scaled: bool = False,
) -> Edit:
    """One edit of several directions with strengths, which add, taken in ``steps`` steps; if
    ``scaled``, each divided by the square root of their number, as in Asyrp's released code.

    t_edit and t_boost, where not given, are those of the direction with the largest t_edit (the
    one with the largest text cosine, as in Asyrp's released code). Boundaries are crossed together
    at their mixing step.

    Raises:
        HslError: t_edit is neither given nor in the files, they are injected in several ways, or
            boundaries come with other directions or shall be scaled.
    """
    if any(isinstance(d, Boundary) for d, _ in parts):
        if scaled:
            raise HslError("--scaled goes with --direction: boundaries have distances of their own")
        return _crossing(parts, t_edit, t_boost)
    directions = [direction for direction, _ in parts]
    ways = {d.about.get("injection", "asymmetric") for d in directions}
    if len(ways) > 1:
        raise HslError(f"these directions are injected in several ways ({', '.join(sorted(ways))})")
    # trained in another number of steps, each adds in proportion less or more, as in `Edit.of`
    share = len(parts) ** -0.5 if scaled else 1.0
    weights = [share * s * d.about.get("steps", steps) / steps for d, s in parts]
    total = Combination(directions, weights)
    known = [d for d in directions if d.about.get("t_edit") is not None]
    if known:
        edit = Edit.of(max(known, key=lambda d: int(d.about["t_edit"])), 1.0)
    elif t_edit is not None:
        edit = Edit(total, t_edit=t_edit)
    else:
        raise HslError("the directions' files do not say t_edit: give --t-edit")
    t_edit = edit.t_edit if t_edit is None else t_edit
    t_start = edit.t_start if edit.t_start is not None and edit.t_start >= t_edit else None
    t_boost = edit.t_boost if t_boost is None else t_boost
    return replace(edit, direction=total, t_edit=t_edit, t_start=t_start, t_boost=t_boost)


def _crossing(
    parts: list[tuple[Direction, float]], t_edit: int | None, t_boost: int | None
) -> Edit:
    """The edit that crosses several boundaries at their mixing step."""
    if t_edit is not None or not all(isinstance(d, Boundary) for d, _ in parts):
        raise HslError("boundaries are crossed at their mixing step: without --t-edit, and without "
                       "directions of other kinds")  # fmt: skip
    total = functools.reduce(operator.add, (d * s for d, s in parts))
    t = total.t if isinstance(total, Boundary) else None
    if t is None:
        raise HslError("these boundaries have no mixing step: fit them with --mixing, or give t")
    return Edit(total, 1.0, t, t_boost or 0, t, "symmetric")


def grid_for(schedule: Schedule, edit: Edit, steps: int, sampled: bool) -> list[int]:
    """The timesteps to walk: ``steps`` of the whole schedule; of a boundary edit, up to the mixing
    step in proportion less, and above it only from noise.

    Raises:
        HslError: too many or too few steps.
    """
    try:
        grid = schedule.grid(steps)
        if not isinstance(edit.direction, Boundary):
            return grid
        t = edit.t_edit
        below = schedule.grid(max(round(steps * t / grid[-1]), 2), t_0=t)
    except ValueError as error:
        raise HslError(f"--steps: {error}") from error
    return below + [g for g in grid if g > t] if sampled else below


def main(arguments: list[str] | None = None) -> int:
    """Edit images from the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hsl.edit",
        description="Edit images along saved directions in h-space.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument("images", nargs="*", help="image files and folders")
    parser.add_argument("--seeds", help="sample images instead: 5, 0-7 or 1,4,9")
    parser.add_argument(
        "--direction",
        action="append",
        metavar="NAME[=STRENGTH]",
        help="a saved direction, or a shipped one by name; may be given several times; the "
        "strength is the one chosen at training if it is not given",
    )
    parser.add_argument(
        "--boundary",
        action="append",
        metavar="NAME[=DISTANCE]",
        help="a semantic boundary to cross in one step, by its file or the name of a shipped one; "
        "several add; the distance is the one chosen on validation images if it is not given",
    )
    parser.add_argument(
        "--keep",
        action="append",
        metavar="NAME",
        help="a direction (with --boundary: a boundary) whose share is projected away",
    )
    parser.add_argument("--backbone", default="toyfaces", help="name, folder, file or Hub id")
    parser.add_argument("--out", default="edited", help="folder to write to (default: edited)")
    parser.add_argument("--steps", type=int, default=40, help="of inversion and reverse process")
    parser.add_argument("--t-edit", type=int, help="edit at t >= this; from the file if not given")
    parser.add_argument("--t-boost", type=int, help="stochastic at t < this; from the file")
    parser.add_argument(
        "--scaled",
        action="store_true",
        help="divide the strengths of several directions by the square root of their number",
    )
    parser.add_argument("--record", metavar="FILE", help="keep what it takes to do this again")
    parser.add_argument("--replay", metavar="FILE", help="make a record's images again, alone")
    parser.add_argument("--batch", type=int, default=16, help="images at once")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            raise HslError(f"unknown option {unknown[0]}; see python -m hsl.edit --help")
        (replay if options.replay else run)(options)
    except (HslError, argparse.ArgumentError, OSError) as error:
        print(f"hsl.edit: {error}", file=sys.stderr)
        return 2
    return 0


@torch.no_grad()
def run(options: argparse.Namespace) -> None:
    """Do what the command line asks for; its last line printed is the strip's path."""
    if bool(options.direction) == bool(options.boundary):
        raise HslError("give --direction or --boundary, one of the two; e.g. --direction Smiling")
    if bool(options.images) == bool(options.seeds):
        raise HslError("give images or --seeds, one of the two")
    if options.batch < 1:
        raise HslError(f"--batch {options.batch}: want at least 1")
    out = _folder(options.out)
    kind = "boundaries" if options.boundary else "directions"
    parts = [_part(text, kind) for text in options.boundary or options.direction]
    if options.keep:
        kept = [find_direction(name, kind) for name in options.keep]
        parts = [(_without(direction, kept), strength) for direction, strength in parts]
    backbone = load_for(options.backbone, parts)
    _move(backbone, options.device)
    edit = join(parts, options.steps, options.t_edit, options.t_boost, options.scaled)
    grid = grid_for(backbone.schedule, edit, options.steps, sampled=bool(options.seeds))
    if not any(edit.acts(t) for t in grid):
        raise HslError(f"t_edit={edit.t_edit}: no step is edited; they begin at t={grid[-1]}")
    if options.seeds:
        seeds = _numbers(options.seeds)
        names, images, index = [f"seed{s}.png" for s in seeds], None, torch.tensor(seeds)
    else:
        images, names = load_images(options.images, backbone.image_size)
        index = torch.arange(len(names))
    begins, columns = [], []
    starts = range(0, len(names), options.batch)
    for start in track(starts, "reconstructing", len(starts)):
        rows = slice(start, start + options.batch)
        if images is None:
            x = SeededNoise(index[rows]).x_T(_latent(backbone, len(index[rows])))
        else:
            x = last(invert(backbone, backbone.x_0(images[rows].to(options.device)), grid, 1))
        begins.append(x.cpu())
        columns.append(backbone.image(last(reverse(backbone, x, grid))).clamp(-1, 1).cpu())
    rebuilt, x_T = torch.cat(columns), torch.cat(begins)
    source = rebuilt if images is None else images.clamp(-1, 1)
    result, record = sample(backbone, x_T, grid, edit, index=index, batch=options.batch)
    if options.record:
        record.save(options.record)
    strip, *files = distinct(["strip.png", *(str(Path(n).with_suffix(".png")) for n in names)])
    for name, image in zip(files, result, strict=True):
        save_image(out / name, image)
    title = " ".join(options.boundary or options.direction)
    shown = [source, rebuilt, result] if images is not None else [source, result]
    titles = ["source", "reconstruction", "edited"] if images is not None else ["sample", "edited"]
    with replacing(out / strip) as temporary:
        draw_grid(shown, titles, title).savefig(temporary)
    print(out / strip)


def replay(options: argparse.Namespace) -> None:
    """Make the images of a record again, under their indices; the last line printed is the
    folder."""
    others = ("images", "seeds", "direction", "boundary", "keep", "record")
    given = [name for name in others if getattr(options, name)]
    if given:
        raise HslError(f"--replay does what its record says: leave out {', '.join(given)}")
    out, record = _folder(options.out), SampleRecord.load(options.replay)
    backbone = load(options.backbone, record.backbone["tap"])
    _move(backbone, options.device)
    names = distinct([f"{index}.png" for index in record.index.tolist()])
    for name, image in zip(names, record.replay(backbone), strict=True):
        save_image(out / name, image)
    print(out)


def _folder(name: str) -> Path:
    out = Path(name)
    if out.exists() and not out.is_dir():
        raise HslError(f"--out {out}: is a file; give a folder")
    return out


def _move(backbone: Backbone, device: str) -> None:
    try:
        backbone.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch has no CUDA
        reason = str(error).partition("\n")[0]
        raise HslError(f"--device {device}: cannot be used ({reason})") from error


def _without(direction: Direction, kept: list[Direction]) -> Direction:
    """``direction`` without its share along ``kept``, and what its file says of it."""
    pure = direction.without(*kept)
    pure.about = direction.about | pure.about
    return pure


def _part(text: str, kind: str) -> tuple[Direction, float]:
    """A direction and its strength from ``NAME`` or ``NAME=STRENGTH``."""
    name, equals, number = text.rpartition("=")
    if not equals:
        direction = find_direction(text, kind)
        return direction, float(direction.about.get("strength", 1.0))
    try:
        strength = float(number)
    except ValueError:
        strength = math.nan
    if not math.isfinite(strength):
        raise HslError(f"{text}: {number!r} is not a strength; want a number")
    return find_direction(name, kind), strength


def _numbers(text: str) -> list[int]:
    """Seeds from ``5``, ``0-7`` or ``1,4,9``."""
    seeds: list[int] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            seeds += range(int(low), int(high) + 1) if dash else [int(low)]
    except ValueError as error:
        raise HslError(f"--seeds {text}: want numbers such as 5, 0-7 or 1,4,9") from error
    if not seeds:
        raise HslError(f"--seeds {text}: names no seed")
    return seeds


def _latent(backbone: Backbone, n: int) -> Tensor:
    size = int(backbone.unet.config.sample_size)
    return torch.zeros(n, backbone.channels, size, size, device=backbone.device)


if __name__ == "__main__":
    sys.exit(main())
