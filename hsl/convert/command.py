"""The options of ``python -m hsl.convert``, and the command itself."""

import argparse
from pathlib import Path

from hsl import commands
from hsl.backbones.presets import PRESETS
from hsl.bundled import BUNDLED
from hsl.errors import HslError
from hsl.options.commandline import CommandLine

EXAMPLES = f"""
  python -m hsl.convert celeba_hq.ckpt weights/celeba_hq
  python -m hsl.convert ffhq_10m.pt weights/ffhq --check face.png
  python -m hsl.convert model.pt weights/mine --image-size 64 --qkv new --head-channels 32 \\
      --schedule cosine
  python -m hsl.convert {BUNDLED.backbone} --check face.png
  python -m hsl.convert --x smile_boundary_z.sav --h smile_boundary_h.sav smile.safetensors \\
      --backbone weights/celeba_hq --t 500
"""
#: Options of boundaries alone, and those that both jobs have; all others are of checkpoints.
_OF_BOUNDARIES, _OF_BOTH = ("x", "h", "backbone", "t", "absolute"), ("original", "out", "name")
ABOUT = """
Convert an original U-Net file (DDPM, SDEdit, DDIM; ADM, P2, ILVR, improved-diffusion) to a
diffusers folder. The architecture is read off the file; what it does not say comes from a preset
with the same shapes, or from the options.
"""


def main(arguments: list[str] | None = None) -> int:
    """Convert from the command line; the exit status."""
    return commands.run("hsl.convert", lambda: _run(arguments))


def _run(arguments: list[str] | None) -> None:
    options = parser().parse(arguments)
    is_boundary = options.x is not None or options.h is not None
    for name, value in vars(options).items():
        if value is None or name in _OF_BOTH or (name in _OF_BOUNDARIES) == is_boundary:
            continue
        needed = "an original checkpoint, without --x and --h" if is_boundary else "--x or --h"
        raise HslError(f"--{name.replace('_', '-')} goes with {needed}")
    with commands.importing():  # after what is refused without it
        from hsl.convert import boundaries, conversion
    (boundaries if is_boundary else conversion).run(options)


def parser() -> CommandLine:
    """All options."""
    command = CommandLine(
        "ORIGINAL OUT [options]", ABOUT, EXAMPLES, prog="python -m hsl.convert", allow_abbrev=True
    )
    _files(command.add_argument_group("files"))
    _unstated(command.add_argument_group("what the file does not say (default: as a preset says)"))
    _boundaries(command.add_argument_group(
        "boundaries", "With --x, --h or both: convert a boundary that BoundaryDiffusion's code "
        "pickled to OUT.safetensors, for python -m hsl.edit --boundary."))  # fmt: skip
    return command


def _files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("original", nargs="?", metavar="ORIGINAL",
        help="the file; with --check alone, anything that hsl loads")  # fmt: skip
    add("out", nargs="?", metavar="OUT", help="folder to make")
    add("--part", metavar="KEY", help="which of several state dicts, e.g. 4 or model")
    add("--name", help="what the backbone or boundary is called (default: as OUT)")
    add("--check", type=Path, metavar="IMAGE",
        help="refuse a model whose eps error on this image is too large")  # fmt: skip


def _unstated(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--preset", choices=PRESETS, help="what the file is; one of other shapes is refused")
    add("--image-size", type=int, metavar="N", help="pixels along a side")
    add("--qkv", choices=["legacy", "new"], help="order of q, k and v; legacy: heads first")
    heads = group.add_mutually_exclusive_group()
    heads.add_argument("--heads", type=int, metavar="N",
                       help="attention heads, the same at every width")  # fmt: skip
    heads.add_argument("--head-channels", type=int, metavar="N", help="width of an attention head")
    add("--schedule", choices=["linear", "cosine"], help="of the noise")
    add("--timesteps", type=int, metavar="N", help="of the schedule (default: 1000)")
    add("--rescaled", action=argparse.BooleanOptionalAction,
        help="whether the network sees t*1000/timesteps")  # fmt: skip
    add("--untrained-labels", action="store_const", const=True,
        help="leave out label_emb, which was never trained (files of Asyrp's code)")  # fmt: skip


def _boundaries(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--x", type=Path, metavar="FILE", help="the SVM in x_t (smile_boundary_z.sav)")
    add("--h", type=Path, metavar="FILE", help="the SVM in h (smile_boundary_h.sav)")
    add("--backbone", metavar="NAME", help="what they were fitted on: name, folder, file or Hub id")
    add("--t", type=int, metavar="T", help="the timestep they were fitted at (their --t_0, as 500)")
    add("--absolute", action="store_const", const=True,
        help="let a strength be the coordinate to arrive at, not the distance to go")  # fmt: skip
