"""The options of ``python -m hsl.edit``."""

import argparse
from collections.abc import Iterable
from dataclasses import fields

from hsl.backbones.speed import Speed
from hsl.bundled import BUNDLED
from hsl.options.arguments import given
from hsl.options.commandline import CommandLine
from hsl.types import INJECTIONS

EXAMPLES = """
  python -m hsl.edit --seeds 0-7 --direction Smiling --out smiles
  python -m hsl.edit photo.png --direction Smiling=0.8 --direction Wearing_Lipstick --out out
  python -m hsl.edit faces/ --direction runs/latest/directions/Smiling.safetensors
  python -m hsl.edit photo.png --boundary Eyeglasses --boundary Smiling=-1 --keep Male --out out
  python -m hsl.edit photo.png --boundary Eyeglasses --as-released --interpolate -20:20:5
  python -m hsl.edit photo.png --direction Smiling --interpolate -1:1:7
  python -m hsl.edit photo.png --direction Smiling --direction Eyeglasses \\
      --interpolate Smiling=-1:1:5 --interpolate Eyeglasses=0:2:5
  python -m hsl.edit photo.png --direction Smiling --profile runs/profile --invert-steps 100
  python -m hsl.edit faces/ --content photo.png --gamma 0.6 --out mixed
  python -m hsl.edit faces/ --direction Smiling --save-mean smile.safetensors --global
  python -m hsl.edit photo.png --direction Smiling --record smile_record.safetensors
  python -m hsl.edit --replay smile_record.safetensors --out again
"""
#: Of --speed; checkpointing is for gradients.
SPEEDS = tuple(field.name for field in fields(Speed) if field.name != "checkpoint")
#: Of --out; rules fill it in, as it tells whether the option was given.
OUT = "edited"


def parser() -> CommandLine:
    """All options."""
    command = CommandLine(
        "[IMAGE ...] --direction NAME[=STRENGTH] ... [options]",
        "Edit images along saved directions in h-space.",
        EXAMPLES,
        prog="python -m hsl.edit",
    )
    _images(command.add_argument_group("which images"))
    _what(command.add_argument_group("what is put in: --direction, --boundary or --content"))
    _where(command.add_argument_group("where along the process (default: as the files say)"))
    _how(command.add_argument_group("how it is put in (default: as the files say)"))
    _files(command.add_argument_group("files"))
    _computing(command.add_argument_group("how it is computed"))
    return command


def _images(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("images", nargs="*", metavar="IMAGE", help="image files and folders")
    add("--seeds", metavar="SEEDS", help="sample images instead: 5, 0-7 or 1,4,9")
    add("--backbone", default=BUNDLED.backbone, metavar="NAME",
        help="the diffusion model: a name, folder, file or Hub id "
        f"(default: {BUNDLED.backbone})")  # fmt: skip
    add("--steps", type=int, default=40, metavar="N",
        help="of the reverse process, n_test (default: 40); a direction trained in n_train steps "
        "is put in by strength * n_train / n_test, which is printed")  # fmt: skip
    add("--invert-steps", type=int, metavar="N", help="of the inversion (default: as --steps)")


def _what(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--direction", action="append", metavar="NAME[=STRENGTH]",
        help="a saved direction, or a shipped one by name; may be given several times; the "
        "strength is the one chosen at training if it is not given")  # fmt: skip
    add("--boundary", action="append", metavar="NAME[=DISTANCE]",
        help="a semantic boundary to cross in one step, by its file or the name of a shipped one; "
        "several add; the distance is the one chosen on validation images if it is not "
        "given")  # fmt: skip
    add("--as-released", action="store_true",
        help="cross a boundary as BoundaryDiffusion's released code does, not as its paper says: "
        "to a coordinate along the normals (NAME=COORDINATE, or --interpolate), with the h of the "
        "step before, and noise")  # fmt: skip
    add("--keep", action="append", metavar="NAME",
        help="a direction (with --boundary: a boundary) whose share is projected away")  # fmt: skip
    add("--scaled", action="store_true",
        help="divide the strengths of several directions by the square root of their "
        "number")  # fmt: skip
    add("--content", metavar="IMAGE",
        help="put the h of this image's inversion into the others by slerp, which keep their style "
        "(DiffStyle, InjectFusion: --t-edit 400 --t-boost 200 --dt-lambda 0.9985 --dt-end 950; for "
        "images unlike those of the training take --t-boost 0)")  # fmt: skip
    add("--gamma", type=float, metavar="G",
        help="with --content: the share of an image's own h, 0 to 1 (default: 0.7)")  # fmt: skip
    add("--interpolate", action="append", metavar="[NAME=]LOW:HIGH:N",
        help="edit each image with N strengths (negative ones reverse the edit; factors of all "
        "strengths if there are several; with --content: values of gamma). By name: of that "
        "direction, the others stay; for two of them a grid, the first downwards")  # fmt: skip


def _where(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--t-edit", type=int, metavar="T", help="edit at t >= T")
    add("--t-start", type=int, metavar="T", help="edit at t <= T (999: from the first step)")
    add("--t-boost", type=int, metavar="T", help="take stochastic steps at t < T; 0: no boosting")
    add("--profile", metavar="TABLES",
        help="read t_edit and t_boost off the perceptual curves of the backbone: the folder of "
        "python -m hsl.study profile, a table of Asyrp's, or what several begin with")  # fmt: skip
    add("--edit-threshold", type=float, metavar="D",
        help="times the cosine: the distance of P_t at t_edit (default: 0.33; "
        f"{BUNDLED.domain}: its guide's own)")  # fmt: skip
    add("--boost-threshold", type=float, metavar="D",
        help="the distance of x_t at t_boost "
        f"(default: 1.2; {BUNDLED.domain}: its guide's)")  # fmt: skip
    add("--cosine", type=float, metavar="C",
        help="of the edit's texts (default: the largest of the directions' files)")  # fmt: skip


def _how(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--injection", choices=INJECTIONS,
        help="asymmetric: into P_t alone; symmetric: into P_t and D_t; replaced: in place of h; "
        "slerp: turning h")  # fmt: skip
    add("--mask", metavar="ROWS,COLUMNS", help="edit h at these places alone: 4:7,3:5")
    add("--dt-lambda", type=float, metavar="F", help="multiply D_t by F where --dt-end says")
    add("--dt-end", type=int, metavar="T",
        help="... at t >= T (default: 999, the first step)")  # fmt: skip
    add("--eta", type=float, metavar="E",
        help="the share of the posterior's noise at all steps, edited or not: 0 is DDIM (default), "
        "1 DDPM (default of --as-released)")  # fmt: skip


def _files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--out", metavar="FOLDER", help=f"folder to write to (default: {OUT})")
    add("--save-mean", metavar="FILE",
        help="write the mean of what --direction adds to these images, one tensor a timestep, as a "
        "direction, and no images")  # fmt: skip
    add("--global", action="store_true", dest="overall",
        help="with --save-mean: the mean over timesteps, too, as one tensor")  # fmt: skip
    add("--record", metavar="FILE", help="keep what it takes to do this again")
    add("--replay", metavar="FILE", help="make a record's images again, alone")
    add("--overwrite", action="store_true",
        help="replace files that hsl did not write; never those that are read")  # fmt: skip


def _computing(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--batch", type=int, default=16, metavar="N", help="images at once (default: 16)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: CUDA where there is some)")
    add("--speed", action="append", choices=SPEEDS,
        help="how the backbone computes; may be given several times")  # fmt: skip


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of a command line.

    Raises:
        HslError: an unknown or an empty one.
        argparse.ArgumentError: a value of another form.
    """
    return parser().parse(_bound(given(arguments)))


def _bound(arguments: Iterable[str]) -> list[str]:
    """``--interpolate -1:1:5`` as ``--interpolate=-1:1:5``: argparse takes what begins with a minus
    and is no plain number for an option."""
    words: list[str] = []
    for argument in arguments:
        if words and words[-1] == "--interpolate" and not argument.startswith("--"):
            words[-1] += f"={argument}"
        else:
            words.append(argument)
    return words
