"""Any folder of images, or any data set of the Hub."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hsl.data.files import Files, ImageFile, image_files
from hsl.data.index import Row
from hsl.data.items import SPLITS, Split, check_split
from hsl.data.labels import of_classes, of_pairs
from hsl.data.module import SourceDataModule
from hsl.data.published import SPLIT_NAMES, is_data_set
from hsl.data.selection import Source, SourcePart
from hsl.data.tables import SUFFIXES, read_csv
from hsl.errors import HslError
from hsl.files import expanded


class FolderSource(Source):
    """Image files.

    Args:
        folders: where they were found.
        files: in order.
        splits: of each file; None: by hash.
        names: of the labels.
        labels: of each file; None: no labels.
        unread: as of `Source`.
    """

    def __init__(
        self,
        folders: Iterable[Path],
        files: Sequence[ImageFile],
        splits: Sequence[Split | None],
        names: Sequence[str] = (),
        labels: Sequence[tuple[float, ...]] | None = None,
        unread: Sequence[str] = (),
    ) -> None:
        super().__init__(("folder", *(str(folder.resolve()) for folder in folders)), names, unread)
        labels = [()] * len(files) if labels is None else labels
        self._rows: dict[Split | None, list[Row]] = {}
        for i, (file, split, values) in enumerate(zip(files, splits, labels, strict=True)):
            row = Row(i, str(file.path), values, file.path, file.stamp)
            self._rows.setdefault(split, []).append(row)

    def parts(self) -> list[SourcePart]:
        return [SourcePart(split, rows) for split, rows in self._rows.items()]

    def read(self, key: Any) -> bytes:
        return Path(key).read_bytes()


class ImagesDataModule(SourceDataModule):
    """Images of a folder, or of a data set on the Hub.

    Args:
        source: a folder (searched with its subfolders; ``train``, ``validation`` or ``val``, and
            ``test`` in it are its splits); a folder for each split,
            ``{"train": "a", "test": "b"}``; a Hub id; or a folder with a data set in the Hub's
            formats.
        labels: None: no labels; ``folders``: the subfolders (of each split) are classes, and each
            class is a label; ``columns``: of a Hub data set, its columns of truth values and of
            classes; a table, see `read_csv`; or a pair of subfolders with and without each
            label, ``{"Smiling": ["happy", "neutral"]}``.
        column: of a Hub data set, the one that holds the images.
        config: of a Hub data set, which of its configurations.
        streaming: of a Hub data set, fetch only the images that are asked for, which are kept;
            then ``train``, ``validation`` and ``test`` must be numbers.
        size, train, validation, test, batch_size, common: as of `SourceDataModule`.

    Raises:
        HslError: as `SourceDataModule`; a folder beside images that belong to no split; labels
            that do not fit the images.
    """

    def __init__(
        self,
        source: str | dict[str, str],
        size: int | None = None,
        train: int | None = 100,
        validation: int | None = 16,
        test: int | None = 64,
        batch_size: int = 1,
        labels: str | dict[str, list[str]] | None = None,
        column: str = "image",
        config: str | None = None,
        streaming: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(
            size=size,
            train=train,
            validation=validation,
            test=test,
            batch_size=batch_size,
            **common,
        )
        self.source, self.labels, self.column, self.config = source, labels, column, config
        self.streaming = streaming
        if streaming:
            self.require_counts()

    def open(self) -> Source:
        """A folder where there is one, else the Hub."""
        if isinstance(self.source, str) and on_hub(self.source):
            if self.labels not in (None, "columns"):
                raise HslError(
                    f"{self.source}: labels of a Hub data set are its columns: set labels to "
                    "columns, or take a folder of images"
                )
            given, labels = self.split == "given", self.labels is not None
            from hsl.data.hub import open_hub  # slow to import, and only needed here

            return open_hub(self.source, self.column, self.config, labels, given, self.streaming)
        if self.streaming:
            raise HslError(f"{self.source}: streaming is for data sets of the Hub, not for folders")
        folders, (files, unread), splits, names = _files(self.source, self.split == "given")
        columns, labels_of = self._labels(names, files)
        return FolderSource(folders, files, splits, columns, labels_of, unread)

    def _labels(
        self, names: Sequence[str], files: Sequence[ImageFile]
    ) -> tuple[tuple[str, ...], list[tuple[float, ...]] | None]:
        """Names of labels, and their values for files, ``names`` being their paths in a split."""
        if self.labels is None:
            return (), None
        if isinstance(self.labels, Mapping):
            return of_pairs(names, self.labels)
        if self.labels == "folders":
            return of_classes(names)
        if Path(self.labels).suffix.lower() not in SUFFIXES:
            raise HslError(f"labels={self.labels!r}: want folders, columns (Hub) or a table "
                           f"({', '.join(SUFFIXES)})")  # fmt: skip
        table = read_csv(expanded(self.labels))
        whole = [file.path.absolute().as_posix() for file in files]
        return table.names, table.of([file.name for file in files], whole)


def on_hub(source: str) -> bool:
    """Whether a source is to be loaded as the Hub's data sets are."""
    folder = expanded(source)
    return not folder.exists() or is_data_set(folder)


def _files(
    source: str | Mapping[str, str], given: bool
) -> tuple[list[Path], Files, list[Split | None], list[str]]:
    """Folders, files, the split of each file, and its path within its split."""
    if isinstance(source, str):
        folder = expanded(source)
        if not folder.is_dir():
            raise HslError(f"{source}: is a file; give its folder")
        files = image_files(folder)
        images = files.images
        paths = [PurePosixPath(file.name).parts for file in images]
        splits = [SPLIT_NAMES.get(p[0].lower()) if len(p) > 1 else None for p in paths]
        if not given or "train" not in splits:
            return [folder], files, [None] * len(images), [file.name for file in images]
        if None in splits:
            raise HslError(
                f"{images[splits.index(None)].path}: lies outside the folders train, validation "
                "and test; move it, or set split to hash"
            )
        return [folder], files, splits, ["/".join(p[1:]) for p in paths]
    folders = {check_split(split): expanded(path) for split, path in source.items()}
    if "train" not in folders:
        raise HslError(f"source={dict(source)}: name a folder for train")
    several = {split: image_files(folders[split]) for split in SPLITS if split in folders}
    images = [file for files in several.values() for file in files.images]
    unread = [line for files in several.values() for line in files.unread]
    splits = [split if given else None for split, files in several.items() for _ in files.images]
    return list(folders.values()), Files(images, unread), splits, [file.name for file in images]
