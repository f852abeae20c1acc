"""Data sets in the formats of the `datasets` library: on the Hub, or in a folder as Parquet or as
``save_to_disk`` keeps them."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hsl.data.formats import LFS_POINTER, suffixes
from hsl.data.items import Split
from hsl.errors import HslError
from hsl.files import expanded, open_regular
from hsl.hub import limited

#: What splits are called.
SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_TABLES = (".parquet", ".arrow")
_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_LONGEST = 200  # letters of a reason in a message
_PART = re.compile(r"(?P<before>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})", re.ASCII)


def is_data_set(folder: Path) -> bool:
    """Whether a folder holds a data set in the library's formats: saved to disk, Parquet, or, where
    it holds no images, Parquet or Arrow files at any depth."""
    if not folder.is_dir():
        return False
    shallow = (path for pattern in ("*.parquet", "*/*.parquet") for path in folder.glob(pattern))
    return bool(_saved(folder)) or next(shallow, None) is not None or _is_deep(folder)


def load(name: str, config: str | None, streaming: bool) -> dict[str, Any]:
    """The splits of a data set by their names in it.

    Args:
        name: a Hub id, or a folder (see `is_data_set`).
        config: which of the data set's configurations.
        streaming: rows come one by one.

    Raises:
        HslError: it cannot be had. Of a folder, the line is about the file that is wrong.
    """
    if (folder := expanded(name)).exists():
        return _local(folder, config, streaming)
    if not _ID.fullmatch(name) or name.startswith("."):
        raise HslError(f"{name}: no such folder, and no data set of the Hub is called so")
    try:
        return _fetched(name, config, streaming)
    except HslError:
        raise
    except FileNotFoundError as error:
        raise HslError(
            f"{name}: no folder here, and the Hub has no such data set, or not for you "
            f"({type(error).__name__}); check the name and the network"
        ) from error
    except OSError as error:
        raise HslError(
            f"{name}: no folder here, and the Hub could not be reached ({type(error).__name__}: "
            f"{reason(error)}); check the name and the network"
        ) from error
    except Exception as error:  # the library raises its own, and the Hub's
        raise HslError(f"{name}: cannot be loaded ({reason(error)})") from error


def _fetched(name: str, config: str | None, streaming: bool) -> dict[str, Any]:
    """A data set of the Hub; of a Hub that does not answer, what was fetched before."""
    from datasets import load_dataset  # slow to import

    with limited() as silent:
        try:
            return dict(load_dataset(name, config, streaming=streaming))
        except Exception as error:
            if silent is None:
                raise
            raise HslError(f"{name}: no folder here, none fetched before, and {silent}; "
                           "check the network") from error  # fmt: skip


def reason(error: BaseException) -> str:
    """Why a library failed: the first line of what was raised first, and the last, which may say
    more."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ... ".join(dict.fromkeys([lines[0], lines[-1]]))[:_LONGEST]


def _local(folder: Path, config: str | None, streaming: bool) -> dict[str, Any]:
    from datasets import load_dataset, load_from_disk  # slow to import

    tables = sorted(_tables(folder))
    for path in tables:
        _require_whole(path)
    saved = _saved(folder)
    try:
        if saved:
            # a format that was set before it was saved may hide columns
            several = {n: load_from_disk(str(part)).with_format(None) for n, part in saved.items()}
            whole = several.get("") or several
            loaded = dict(whole) if isinstance(whole, dict) else {"train": whole}
            return {n: s.to_iterable_dataset() for n, s in loaded.items()} if streaming else loaded
        _require_all(tables)
        part, config = _configured(folder, config, [path.relative_to(folder) for path in tables])
        return dict(load_dataset(str(part), config, streaming=streaming))
    except HslError:
        raise
    except Exception as error:  # the library raises its own, Arrow's and OS errors
        if isinstance(error, OSError) and error.errno is not None and error.filename:
            where = os.fsdecode(error.filename)
            if not Path(where).is_relative_to(folder.absolute()):
                raise HslError(f"{where}: cannot be written ({error.strerror}); set HF_HOME, where "
                               f"the data set {folder} is unpacked") from error  # fmt: skip
        raise HslError(f"{folder}: this data set cannot be loaded ({reason(error)}); is it whole?"
                       ) from error  # fmt: skip


def _saved(folder: Path) -> dict[str, Path]:
    """Where ``save_to_disk`` kept a data set: alone, under no name, or a split in each folder."""
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return {"": folder}
    splits = {path.parent.name: path.parent for path in sorted(folder.glob("*/state.json"))}
    return splits if splits and all(name.lower() in SPLIT_NAMES for name in splits) else {}


def _is_deep(folder: Path) -> bool:
    """Whether there are tables in a folder of folders, and no images."""
    has_tables = False
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        ends = {os.path.splitext(name)[1].lower() for name in names if not name.startswith(".")}
        if ends & suffixes():
            return False
        has_tables = has_tables or not ends.isdisjoint(_TABLES)
    return has_tables


def _tables(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob("*") if p.suffix.lower() in _TABLES and p.is_file())


def _require_whole(path: Path) -> None:
    """Refuse what is no table though it is called so."""
    with open_regular(path, "a table of a data set") as file:
        start = file.read(len(LFS_POINTER))
        file.seek(max(path.stat().st_size - 4, 0))
        end = file.read(4)
    if start == LFS_POINTER:
        raise HslError(f"{path}: is a pointer of git-lfs, not the file itself: run 'git lfs pull' "
                       "in its repository")  # fmt: skip
    if path.suffix.lower() == ".parquet" and not (start[:4] in (b"PAR1", b"PARE") and
                                                  end == start[:4]):  # fmt: skip
        raise HslError(f"{path}: is no Parquet file, or damaged or cut; fetch it again")


def _require_all(tables: Sequence[Path]) -> None:
    """Refuse a data set of numbered files of which some are not there."""
    there: dict[tuple[Path, str, str], set[int]] = {}
    for path in tables:
        if match := _PART.match(path.name):
            key = (path.parent, match["before"], match["count"])
            there.setdefault(key, set()).add(int(match["number"]))
    for (folder, before, count), numbers in there.items():
        if missing := sorted(set(range(int(count))) - numbers):
            raise HslError(f"{folder}: {before}-{missing[0]:05d}-of-{count} is not there; fetch "
                           "it, or call those that are there otherwise")  # fmt: skip


def _configured(
    folder: Path, config: str | None, tables: Sequence[Path]
) -> tuple[Path, str | None]:
    """The folder of a configuration, as the Hub's Parquet branch has them, and what the library is
    to be asked for there."""
    card = folder / "README.md"
    if card.is_file() and "\nconfigs:" in card.read_text("utf-8", "replace"):
        return folder, config
    above = {path.parts[0] for path in tables if len(path.parts) > 1}
    configs = sorted(name for name in above if name.lower() not in SPLIT_NAMES)
    if config in configs:
        return folder / config, None
    if len(configs) > 1:
        raise HslError(
            f"{folder}: has several data sets: set config to one of {', '.join(configs)}"
        )
    return folder, config
