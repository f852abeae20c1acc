"""``hsl VERB``, or ``python -m hsl VERB``: the commands under one name."""

import sys
from importlib import import_module

from hsl import commands
from hsl.commands.starting import begin
from hsl.errors import HslError
from hsl.options.commandline import no_verb
from hsl.version import __version__

#: The module of each verb.
VERBS = {
    "train": "hsl.train.front",
    "edit": "hsl.edit.command",
    "study": "hsl.study.command",
    "data": "hsl.data.__main__",
    "store": "hsl.store.__main__",
    "convert": "hsl.convert.command",
}
HELP = """
usage: hsl VERB [options]

Edit images in the h-space of diffusion models.

examples:
  hsl train fit
  hsl edit --seeds 0-7 --direction Smiling --out smiles
  hsl edit photo.png --direction Smiling=0.8 --out out
  hsl study profile --out runs/profile

verbs:
  train    find directions, and measure them (fit, validate, test, predict)
  edit     edit images along saved directions
  study    perceptual curves of a backbone; sampled against inverted latents
  data     look at a data set
  store    look after a cache
  convert  an original checkpoint file to a diffusers folder

  VERB --help    the options of a verb; python -m hsl.VERB is the same command
  --version      show the version
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb with the rest of a command line; the exit status. None: that of this process."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in VERBS:
        return commands.run("hsl", lambda: _without_verb(words))
    if arguments is None:  # a process of its own
        begin(f"hsl.{words[0]}")
    status: int = import_module(VERBS[words[0]]).main(words[1:])
    return status


def _without_verb(words: list[str]) -> None:
    if words[:1] in ([], ["-h"], ["--help"]):
        print(HELP.strip())
    elif words[0] == "--version":
        print(f"hsl {__version__}")
    else:
        raise HslError(no_verb(words[0], tuple(VERBS)))


if __name__ == "__main__":
    sys.exit(main())
