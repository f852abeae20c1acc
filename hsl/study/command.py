"""The verbs and options of ``python -m hsl.study``."""

import argparse
from pathlib import Path
from typing import Any

import torch

from hsl import commands
from hsl.bundled import BUNDLED
from hsl.errors import HslError
from hsl.files import require_writable_folder
from hsl.options.arguments import given
from hsl.study import latents, profile

EXAMPLE = """examples:
  python -m hsl.study latents --out study
  python -m hsl.study latents --backbone celebahq --config configs/data/celebahq.yaml \\
      --accuracy runs/latest/accuracy.csv --device cuda
  python -m hsl.study profile --images 64 --cosine 0.9 --out study
  python -m hsl.study profile --backbone celebahq --config configs/data/celebahq.yaml \\
      --distance lpips/alex --steps 1000 --name celebahq --device cuda
  python -m hsl.study profile --tables study/celebahq
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


def main(arguments: list[str] | None = None) -> int:
    """Run a study; the exit status."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--backbone", default=BUNDLED.backbone, help="name, folder, file or Hub id")
    common.add_argument("--config", action="append", help="a YAML file with a part data")
    common.add_argument("--images", type=int, default=96, help="the first of the training images")
    common.add_argument("--steps", type=int, default=40, help="of inversion and sampling")
    common.add_argument("--batch", type=int, default=16, help="images at once")
    common.add_argument("--out", help="folder to write to (default: the verb)")
    common.add_argument("--overwrite", action="store_true", help="files that hsl did not write")
    common.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    how: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "exit_on_error": False,
        "allow_abbrev": False,
    }
    parser = argparse.ArgumentParser(
        prog="python -m hsl.study",
        description="latents: compare sampled with inverted latents. profile: how far P_t and x_t "
        "are from the image. VERB --help says more.",
        epilog=EXAMPLE + "\nAny other option is the data module's: --data.init_args.train 200",
        **how,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    _latents_options(verbs.add_parser("latents", parents=[common], description=LATENTS, **how))
    _profile_options(verbs.add_parser("profile", parents=[common], description=PROFILE, **how))
    return commands.run("hsl.study", lambda: _run(*parser.parse_known_args(given(arguments))))


def _run(options: argparse.Namespace, rest: list[str]) -> None:
    if options.verb is None:
        raise HslError("give a verb: python -m hsl.study latents, or profile")
    if options.images < 2 or options.batch < 1:
        raise HslError("want --images of 2 or more, --batch of 1 or more")
    options.out = Path(options.out or options.verb)
    require_writable_folder(options.out)
    verbs = {"latents": latents.latents, "profile": profile.profile}
    verbs[options.verb](options, rest)


def _latents_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refine", type=int, default=1, help="0: the papers' inversion")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--tv", type=float, default=0.25, help="mixed at this total variation")
    parser.add_argument("--radius", type=float, default=0.01, help="mixed this near to sqrt(d)")
    parser.add_argument("--accuracy", help="accuracy.csv of a run of a linear method")
    parser.add_argument("--tolerance", type=float, default=0.02, help="of the accuracy")


def _profile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--distance", default=BUNDLED.guide, help="or lpips/alex, ..., a file")
    parser.add_argument("--cosine", type=float, default=1.0, help="of the texts of the edit")
    parser.add_argument("--edit-threshold", type=float, help="of P_t (default: the distance's own)")
    parser.add_argument("--boost-threshold", type=float, help="of x_t")
    parser.add_argument("--as-released", action="store_true", help="P_t a timestep too high")
    parser.add_argument("--name", default="profile", help="what the files' names begin with")
    parser.add_argument("--tables", metavar="PREFIX", help="of tables to show instead of measuring")
