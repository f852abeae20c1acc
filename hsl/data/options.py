"""Data modules from configuration files and options, for jobs that need no `hsl.train`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule

from hsl.data.items import DataModule
from hsl.errors import HslError


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
