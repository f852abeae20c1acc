"""The options of ``python -m hsl.convert``, and the command itself."""

import argparse
from pathlib import Path

from hsl import commands
from hsl.backbones.presets import PRESETS
from hsl.bundled import BUNDLED
from hsl.options.commandline import CommandLine

EXAMPLES = f"""
  python -m hsl.convert celeba_hq.ckpt weights/celeba_hq
  python -m hsl.convert ffhq_10m.pt weights/ffhq --check face.png
  python -m hsl.convert model.pt weights/mine --image-size 64 --qkv new --head-channels 32 \\
      --schedule cosine
  python -m hsl.convert {BUNDLED.backbone} --check face.png
"""
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
    with commands.importing():  # after what is refused without it
        from hsl.convert.conversion import run
    run(options)


def parser() -> CommandLine:
    """All options."""
    made = CommandLine(
        "ORIGINAL OUT [options]", ABOUT, EXAMPLES, prog="python -m hsl.convert", allow_abbrev=True
    )
    _files(made.add_argument_group("files"))
    _unstated(made.add_argument_group("what the file does not say (default: as a preset says)"))
    return made


def _files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("original", nargs="?", metavar="ORIGINAL",
        help="the file; with --check alone, anything that hsl loads")  # fmt: skip
    add("out", nargs="?", metavar="OUT", help="folder to make")
    add("--part", metavar="KEY", help="which of several state dicts, e.g. 4 or model")
    add("--name", help="what the backbone is called (default: as the folder)")
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
