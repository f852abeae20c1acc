"""The verbs and options of ``python -m hsl.study``, and the command itself."""

import argparse
from pathlib import Path
from typing import Any

from hsl import commands
from hsl.bundled import BUNDLED
from hsl.errors import HslError
from hsl.files import require_writable_folder
from hsl.options.arguments import given
from hsl.options.commandline import CommandLine, no_verb
from hsl.options.shipped import configuration

LATENTS_EXAMPLES = """
  python -m hsl.study latents --out study
  python -m hsl.study latents --backbone celebahq --config data/celebahq \\
      --accuracy runs/latest/accuracy.csv --device cuda
"""
PROFILE_EXAMPLES = """
  python -m hsl.study profile --images 64 --cosine 0.9 --out study
  python -m hsl.study profile --backbone celebahq --config data/celebahq \\
      --distance lpips/alex --steps 1000 --name celebahq --device cuda
  python -m hsl.study profile --tables study/celebahq
"""
ABOUT = """
latents: compare sampled with inverted latents, and find the mixing step by them.
profile: how far P_t and x_t are from the image, and where editing and boosting begin.

python -m hsl.study VERB --help has the options of a verb.
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
_MORE = "\nAny other option is the data module's: --data.init_args.train 200.\n"
VERBS = ("latents", "profile")


def main(arguments: list[str] | None = None) -> int:
    """Run a study; the exit status."""
    return commands.run("hsl.study", lambda: _run(arguments))


def _run(arguments: list[str] | None) -> None:
    words = given(arguments)
    if words and not words[0].startswith("-") and words[0] not in VERBS:
        raise HslError(no_verb(words[0], VERBS))
    command, verbs = parsers()
    options, rest = command.parse_known_args(words)
    if options.verb is None:
        raise HslError("give a verb: python -m hsl.study latents, or profile")
    if options.images < 2 or options.batch < 1:
        raise HslError("want --images of 2 or more, --batch of 1 or more")
    if foreign := [word for word in rest if word[:2] == "--" and not word.startswith("--data")]:
        raise verbs[options.verb].unknown(foreign[0])
    options.out = Path(options.out or options.verb)
    options.config = [configuration(where) for where in options.config or []]
    require_writable_folder(options.out)
    with commands.importing():  # after what is refused without it
        from hsl.backbones import devices
        from hsl.study import latents, profile
    options.device = options.device or devices.usual()
    work = {"latents": latents.latents, "profile": profile.profile}
    work[options.verb](options, rest)


def parsers() -> tuple[CommandLine, dict[str, CommandLine]]:
    """The parser of a command line, and those of its verbs."""
    examples = LATENTS_EXAMPLES.rstrip() + PROFILE_EXAMPLES
    command = CommandLine("VERB [options]", ABOUT, examples, prog="python -m hsl.study")
    how: dict[str, Any] = {"dest": "verb", "metavar": "VERB", "prog": "python -m hsl.study"}
    verbs = command.add_subparsers(title="verbs", help="latents or profile", **how)
    latents = verbs.add_parser("latents", usage="[options]", description=LATENTS + _MORE,
                               examples=LATENTS_EXAMPLES)  # fmt: skip
    profile = verbs.add_parser("profile", usage="[options]", description=PROFILE + _MORE,
                               examples=PROFILE_EXAMPLES)  # fmt: skip
    for parser in (latents, profile):
        _common(parser)
    _of_latents(latents.add_argument_group("what counts as mixed"))
    _of_profile(profile)
    return command, {"latents": latents, "profile": profile}


def _common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("which images, and how they are inverted").add_argument
    add("--backbone", default=BUNDLED.backbone, metavar="NAME",
        help="the diffusion model: a name, folder, file or Hub id "
        f"(default: {BUNDLED.backbone})")  # fmt: skip
    add("--config", action="append", metavar="FILE",
        help="a YAML file with a part data, or the name of one that comes with hsl: data/celebahq "
        f"(default: {BUNDLED.data_file})")  # fmt: skip
    add("--images", type=int, default=96, metavar="N",
        help="how many of the training images, the first ones (default: 96)")  # fmt: skip
    add("--steps", type=int, default=40, metavar="N",
        help="of inversion and sampling (default: 40)")  # fmt: skip
    add = parser.add_argument_group("files").add_argument
    add("--out", metavar="FOLDER", help="folder to write to (default: called as the verb)")
    add("--overwrite", action="store_true", help="replace files there that hsl did not write")
    add = parser.add_argument_group("how it is computed").add_argument
    add("--batch", type=int, default=16, metavar="N", help="images at once (default: 16)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: CUDA where there is some)")


def _of_latents(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--refine", type=int, default=1, metavar="N",
        help="corrections a step of the inversion; 0: the papers' (default: 1)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    add("--tv", type=float, default=0.25, metavar="D",
        help="a total variation of at most this (default: 0.25)")  # fmt: skip
    add("--radius", type=float, default=0.01, metavar="D",
        help="a radius within this share of sqrt(d) (default: 0.01)")  # fmt: skip
    add("--accuracy", metavar="FILE", help="accuracy.csv of a run of a linear method")
    add("--tolerance", type=float, default=0.02, metavar="D",
        help="an accuracy within this of the best (default: 0.02)")  # fmt: skip


def _of_profile(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is measured, and where editing begins").add_argument
    add("--distance", default=BUNDLED.guide, metavar="NAME",
        help=f"the network: lpips/alex, ..., or a file (default: {BUNDLED.guide})")  # fmt: skip
    add("--cosine", type=float, default=1.0, metavar="C",
        help="of the texts of the edit (default: 1)")  # fmt: skip
    add("--edit-threshold", type=float, metavar="D",
        help="times the cosine: the distance of P_t at t_edit (default: its own)")  # fmt: skip
    add("--boost-threshold", type=float, metavar="D",
        help="the distance of x_t at t_boost (default: the network's own)")  # fmt: skip
    add("--as-released", action="store_true",
        help="take P_t a timestep too high, as Asyrp's released code does")  # fmt: skip
    add("--name", default="profile", help="what the files' names begin with (default: profile)")
    add("--tables", metavar="PREFIX", help="show these tables instead of measuring")
