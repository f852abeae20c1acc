"""``python -m hsl.data describe``: look at a data set before anything is computed on it."""

import sys
from pathlib import Path

from hsl import commands
from hsl.bundled import BUNDLED
from hsl.errors import HslError
from hsl.options.arguments import given
from hsl.options.commandline import CommandLine, verb
from hsl.options.shipped import configuration

EXAMPLES = f"""
  python -m hsl.data describe photos
  python -m hsl.data describe --config {BUNDLED.data_file}
  python -m hsl.data describe --config data/folder \\
      --data.init_args.source path/to/images --data.init_args.train null
"""
ABOUT = """
describe: counts, sizes, label frequencies and correlations as tables (labels.csv) and pictures
(labels.png, sheet.png), broken files and duplicates.

Any other option is the data module's: --data.init_args.size 64.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; the exit status."""
    return commands.run("hsl.data", lambda: _run(arguments))


def parser() -> CommandLine:
    """All options but the data module's."""
    command = CommandLine(
        "describe FOLDER | --config FILE [options]", ABOUT, EXAMPLES, prog="python -m hsl.data",
        allow_abbrev=True,
    )  # fmt: skip
    add = command.add_argument
    add("verb", nargs="?", type=verb("describe"), metavar="VERB", help="describe")
    add("--config", action="append", metavar="FILE",
        help="a YAML file with a part data, or the name of one that comes with hsl; several go "
        "together")  # fmt: skip
    add("--out", default="described", metavar="FOLDER",
        help="folder to write to (default: described)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace files there that hsl did not write")
    return command


def _run(arguments: list[str] | None) -> None:
    options, rest = parser().parse_known_args(given(arguments))
    if options.verb is None:
        raise HslError("give a verb: python -m hsl.data describe --config FILE")
    configs = [configuration(where) for where in options.config or []]
    if foreign := [word for word in rest if word[:2] == "--" and not word.startswith("--data")]:
        raise parser().unknown(foreign[0])
    with commands.importing():  # after what is refused without it
        from hsl.data.options import data_module, of_folder, paths_of
        from hsl.data.report import WRITTEN, describe
        from hsl.files.outputs import require_other_folder, require_outputs
    data, out = data_module(configs, of_folder(rest)), Path(options.out)
    inputs: list[str | Path] = [*configs, *paths_of(data)]
    require_other_folder(out, inputs, "--out")
    require_outputs([out / name for name in WRITTEN], inputs, options.overwrite)
    describe(data, out)


if __name__ == "__main__":
    sys.exit(main())
