"""LSUN (Yu et al. 2015) as it is released: one LMDB of encoded images for each category and set."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from hsl.data.index import Row
from hsl.data.items import Split
from hsl.data.module import SourceDataModule
from hsl.data.selection import Source, SourcePart
from hsl.errors import HslError
from hsl.files import expanded, require_file


class LmdbSource(Source):
    """LMDBs whose values are image files.

    Args:
        databases: the folder of each split.
        given: keep these splits; else by hash.
    """

    def __init__(self, databases: dict[Split, Path], given: bool = True) -> None:
        super().__init__(("lmdb", *(str(path.resolve()) for path in databases.values())))
        self.databases, self.given = databases, given

    def parts(self) -> list[SourcePart]:
        return [
            SourcePart(split if self.given else None, _Rows(self, split))
            for split in self.databases
        ]

    def read(self, key: Any) -> bytes:
        folder, name = key
        with _reading(folder) as transaction:
            content = transaction.get(name)
        if content is None:
            raise OSError(f"{folder}: has no {name!r} any more")
        return bytes(content)


class _Rows:
    """The images of one database, in the order of their keys."""

    def __init__(self, source: LmdbSource, split: Split) -> None:
        self.folder, self.place = source.databases[split], list(source.databases).index(split)
        self.places = len(source.databases)

    def __len__(self) -> int:
        return int(environment(self.folder).stat()["entries"])

    def __iter__(self) -> Iterator[Row]:
        status = (self.folder / "data.mdb").stat()
        stamp = f"{status.st_size} {status.st_mtime_ns}"
        with _reading(self.folder) as transaction:
            for i, name in enumerate(transaction.cursor().iternext(values=False)):
                number = i * self.places + self.place
                path = f"{self.folder}/{name.decode('latin1')}"
                yield Row(number, path, (), (self.folder, bytes(name)), stamp)


class LsunDataModule(SourceDataModule):
    """A category of LSUN. Its validation set (300 images) is the test set, as in Asyrp; validation
    images are taken from the training set by hash.

    Needs ``pip install "hspace[lmdb]"``. A copy as image files, or on the Hub, is for
    `hsl.data.folder.ImagesDataModule`.

    Args:
        source: the folder that holds ``<category>_train_lmdb`` and ``<category>_val_lmdb``.
        category: ``church_outdoor``, ``bedroom`` and so on.
        common: as of `SourceDataModule`.

    Raises:
        HslError: as `SourceDataModule`; lmdb is not installed, or there is no such database.
    """

    def __init__(self, source: str, category: str, **common: Any) -> None:
        super().__init__(**common)
        self.source, self.category = source, category

    def open(self) -> Source:
        """Both databases."""
        folder = expanded(self.source)
        databases: dict[Split, Path] = {
            "train": folder / f"{self.category}_train_lmdb",
            "test": folder / f"{self.category}_val_lmdb",
        }
        for path in databases.values():
            environment(path)
        return LmdbSource(databases, self.split == "given")


_opened: dict[Path, Any] = {}
_opening = Lock()


def environment(folder: Path) -> Any:
    """The LMDB of a folder, opened once in each process.

    Raises:
        HslError: lmdb is not installed, or there is no whole database in the folder.
    """
    try:
        import lmdb
    except ImportError as error:
        raise HslError('LSUN\'s databases need lmdb: pip install "hspace[lmdb]"') from error
    with _opening:
        if folder not in _opened:
            size = _size(folder / "data.mdb")
            try:
                opened = lmdb.open(
                    str(folder), readonly=True, create=False, lock=False, readahead=False
                )
            except lmdb.Error as error:
                raise HslError(f"{folder}: no LMDB can be opened here ({_said(error)})") from error
            # it is mapped: what is beyond the file's end would kill the process that reads it
            if size < (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]:
                opened.close()
                raise HslError(f"{folder / 'data.mdb'}: cut, a part is missing; fetch it anew")
            _opened[folder] = opened
        return _opened[folder]


def _size(path: Path) -> int:
    """Bytes of a database's file; one that is not there is for lmdb to refuse."""
    return require_file(path, "the file of an LMDB").stat().st_size if path.exists() else 0


@contextmanager
def _reading(folder: Path) -> Iterator[Any]:
    """A transaction in the LMDB of a folder.

    Raises:
        HslError: the database is damaged.
    """
    import lmdb

    try:
        with environment(folder).begin() as transaction:
            yield transaction
    except lmdb.Error as error:
        raise HslError(f"{folder}: damaged ({_said(error)}); fetch it anew") from error


def _said(error: Exception) -> str:
    """What lmdb says is wrong, without the path before it."""
    return str(error).rpartition(": ")[2]


def _close() -> None:
    """A loader's process must not inherit an open LMDB; both open it again when they need it."""
    while _opened:
        _opened.popitem()[1].close()


os.register_at_fork(before=_close)
