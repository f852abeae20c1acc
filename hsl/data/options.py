"""Data modules from configuration files and options, for jobs that need no `hsl.train`."""

import os
from importlib import import_module
from pathlib import Path

import yaml
from lightning import LightningDataModule

from hsl.bundled import BUNDLED
from hsl.data.items import SPLITS, DataModule
from hsl.errors import HslError
from hsl.files import expanded
from hsl.options.documents import read_document, stated, superseded
from hsl.options.parser import Parser
from hsl.options.reasons import reason

#: Modules of data sets, beside the bundled one's, whose classes options name without their path.
_MODULES = ("hsl.data.celeba", "hsl.data.folder", "hsl.data.lsun", "hsl.data.sampled")


def know_data_modules() -> None:
    """Import the data modules of hsl, so that options may name them by their classes alone."""
    for module in (*_MODULES, BUNDLED.data.rpartition(".")[0]):
        import_module(module)


def data_module(configs: list[str], options: list[str]) -> DataModule:
    """The data module of configuration files, whose other parts are left out, and of options.

    Raises:
        HslError: a file that is no configuration, or options that do not fit.
    """
    if not configs and not any(option.startswith("--data") for option in options):
        raise HslError(f"give --config FILE, e.g. {BUNDLED.data_file}, or --data CLASS")
    documents = []
    for path in configs:
        document = read_document(path)
        if not isinstance(document.get("data"), dict):
            raise HslError(f"{path}: has no part data")
        documents.append({"data": document["data"]})
    option_values = [value for _, value in stated(options)]
    effective = superseded([*documents, *option_values])[: len(documents)]
    know_data_modules()
    parser = Parser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    texts = [yaml.safe_dump(document["data"]) for document in effective]
    arguments = [argument for text in texts for argument in ("--data", text)]
    try:
        data = parser.instantiate(parser.parse_args([*arguments, *options])).data
    except Exception as error:
        if (line := reason(error)) is None:
            raise
        raise HslError(line) from error
    if not isinstance(data, DataModule):
        raise HslError(f"{type(data).__name__}: is no data module of hsl's")
    return data


def of_folder(arguments: list[str]) -> list[str]:
    """A folder that is named alone, ``describe photos``, as the options of all its images."""
    if not arguments or arguments[0].startswith("-"):
        return arguments
    source, *others = arguments
    options = ["--data=hsl.data.folder.ImagesDataModule", f"--data.init_args.source={source}"]
    return [*options, *(f"--data.init_args.{split}=null" for split in SPLITS), *others]


def paths_of(data: DataModule) -> list[Path]:
    """Files and folders that a data module's options name: what it reads."""
    values, paths = list(vars(data).values()), []
    for value in values:  # which grows
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list | tuple):
            values += value
        elif isinstance(value, str | Path) and os.path.exists(path := expanded(value)):
            paths.append(path)
    return paths
