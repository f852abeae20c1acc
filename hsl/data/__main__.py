"""``python -m hsl.data describe``: look at a data set before anything is computed on it."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hsl import commands
from hsl.bundled import BUNDLED
from hsl.data.describe import counts, frequencies, label_figure, sheet, strongest
from hsl.data.items import DataModule
from hsl.data.module import SourceDataModule
from hsl.data.options import data_module, of_folder, paths_of
from hsl.errors import HslError
from hsl.figures.pictures import save_figure
from hsl.files.outputs import require_other_folder, require_outputs
from hsl.names import visible
from hsl.options.arguments import given
from hsl.tables import print_table, write_csv

#: What `describe` writes.
WRITTEN = ("labels.csv", "labels.png", "sheet.png")
EXAMPLE = f"""examples:
  python -m hsl.data describe photos
  python -m hsl.data describe --config {BUNDLED.data_file}
  python -m hsl.data describe --config configs/data/folder.yaml \\
      --data.init_args.source path/to/images --data.init_args.train null
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hsl.data",
        description="describe: counts, sizes, label frequencies and correlations as tables "
        "(labels.csv) and pictures (labels.png, sheet.png), broken files and duplicates.",
        epilog=EXAMPLE + "\nAny other option is the data module's: --data.init_args.size 64",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument("verb", nargs="?", choices=["describe"])
    parser.add_argument("--config", action="append", help="a YAML file with a part data")
    parser.add_argument("--out", default="described", help="folder to write to")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files there that hsl did not write"
    )
    return commands.run("hsl.data", lambda: _run(*parser.parse_known_args(given(arguments))))


def _run(options: argparse.Namespace, rest: list[str]) -> None:
    if options.verb is None:
        raise HslError("give a verb: python -m hsl.data describe --config FILE")
    data, out = data_module(options.config or [], of_folder(rest)), Path(options.out)
    inputs = [*(options.config or []), *paths_of(data)]
    require_other_folder(out, inputs, "--out")
    require_outputs([out / name for name in WRITTEN], inputs, options.overwrite)
    describe(data, out)


def describe(data: DataModule, out: Path) -> None:
    """Print tables, and write pictures; the last line printed is the folder. Few images may leave
    a split empty, which a training refuses."""
    if isinstance(data, SourceDataModule):
        data.may_lack = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all are listed below
        rows = counts(data)
    print_table("images", rows)
    if data.names:
        print_table("share of images with a label", frequencies(data))
        if pairs := strongest(data):
            print_table("strongest correlations", pairs)
        write_csv(out / "labels.csv", frequencies(data))
        save_figure(out / "labels.png", label_figure(data))
    save_figure(out / "sheet.png", sheet(data))
    if isinstance(data, SourceDataModule):
        _list("pictures in formats that are not read, left out", data.found.unread)
        _list("broken, left out", data.found.skipped)
        _list("the same as another", [f"{a} = {b}" for a, b, _ in data.found.duplicates])
    print(out)


def _list(title: str, lines: Sequence[str]) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{title}: {len(lines)}")
    for line in lines:
        console.print(f"  {visible(line)}")


if __name__ == "__main__":
    sys.exit(main())
