"""``python -m hsl.data describe``: look at a data set before anything is computed on it."""

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule
from rich.console import Console

from hsl.data.describe import counts, frequencies, label_figure, sheet, strongest
from hsl.data.items import DataModule
from hsl.data.module import SourceDataModule
from hsl.errors import HslError
from hsl.report import print_table, replacing, write_csv

EXAMPLE = """examples:
  python -m hsl.data describe --config configs/data/toyfaces.yaml
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
    try:
        options, rest = parser.parse_known_args(arguments)
        if options.verb is None:
            raise HslError("give a verb: python -m hsl.data describe --config FILE")
        describe(data_module(options.config or [], rest), Path(options.out))
    except (HslError, argparse.ArgumentError, OSError) as error:
        print(f"hsl.data: {error}", file=sys.stderr)
        return 2
    return 0


def data_module(configs: list[str], options: list[str]) -> DataModule:
    """The data module of configuration files, whose other parts are left out, and of options.

    Raises:
        HslError: a file that is no configuration, or options that do not fit.
    """
    if not configs and not any(option.startswith("--data") for option in options):
        raise HslError("give --config FILE, e.g. configs/data/toyfaces.yaml, or --data CLASS")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    given = [part for path in configs for part in ("--data", yaml.safe_dump(_part(path)))]
    try:
        data = parser.instantiate(parser.parse_args([*given, *options])).data
    except Exception as error:  # jsonargparse wraps what a constructor raises in several of its own
        chain = list(_chain(error))
        ours = [link for link in chain if isinstance(link, HslError)]
        text = str([*chain, *ours][-1]).strip()
        raise HslError(text.partition("\n")[0]) from error
    if not isinstance(data, DataModule):
        raise HslError(f"{type(data).__name__}: is no data module of hsl's")
    return data


def _part(path: str) -> Any:
    """What a configuration file says of the data."""
    try:
        config = yaml.safe_load(Path(path).read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HslError(f"{path}: is no YAML") from error
    if not isinstance(config, dict) or "data" not in config:
        raise HslError(f"{path}: has no part data")
    return config["data"]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def describe(data: DataModule, out: Path) -> None:
    """Print tables, and write pictures; the last line printed is the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all are listed below
        rows = counts(data)
    print_table("images", rows)
    if data.names:
        print_table("share of images with a label", frequencies(data))
        print_table("strongest correlations", strongest(data))
        write_csv(out / "labels.csv", frequencies(data))
        with replacing(out / "labels.png") as temporary:
            label_figure(data).savefig(temporary)
    with replacing(out / "sheet.png") as temporary:
        sheet(data).savefig(temporary)
    if isinstance(data, SourceDataModule):
        _list("broken, left out", data.found.skipped)
        _list("the same as another", [f"{a} = {b}" for a, b, _ in data.found.duplicates])
    print(out)


def _list(title: str, lines: list[str]) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{title}: {len(lines)}")
    for line in lines:
        console.print(f"  {line.encode('utf-8', 'replace').decode('utf-8')}")


if __name__ == "__main__":
    sys.exit(main())
