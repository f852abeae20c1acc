"""Data sets of the Hugging Face Hub, or in its formats in a folder."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel
from datasets import Image as HubImage
from datasets import Value as HubValue

from hsl import ranks
from hsl.data.index import Row
from hsl.data.items import SPLITS, Split
from hsl.data.origin import Origin
from hsl.data.published import SPLIT_NAMES, load, reason
from hsl.data.selection import Source, SourcePart
from hsl.data.stream import Stream
from hsl.errors import HslError
from hsl.files import expanded
from hsl.names import meant

_AT_ONCE = 1000  # rows whose labels are read together
_TEXTS = ("string", "large_string")


def open_hub(
    name: str,
    column: str = "image",
    config: str | None = None,
    labels: bool | Sequence[str] = False,
    given: bool = True,
    streaming: bool = False,
) -> Source:
    """A data set as a source.

    An image's index is ``row * n + i`` for the i-th of n splits, so it does not depend on how long
    the other splits are.

    Args:
        name: a Hub id, or a folder (see `is_data_set`).
        column: the one that holds the images.
        config: which of the data set's configurations.
        labels: True: every column of truth values or of classes (each class a label); or the
            names of columns.
        given: keep the data set's splits, if one is for training.
        streaming: fetch images one by one instead of the whole data set.

    Raises:
        HslError: it cannot be had, or lacks a column.
    """
    loaded = load(name, config, streaming)
    alone = len(loaded) == 1
    known = {part: SPLIT_NAMES.get(part.lower()) for part in loaded}
    parts = sorted((p for p in loaded if alone or known[p]), key=lambda p: (_order(known[p]), p))
    if not parts:
        raise HslError(f"{name}: no split train, validation or test among {', '.join(loaded)}; "
                       "call one so")  # fmt: skip
    if others := [part for part in loaded if part not in parts]:
        ranks.warn(f"{name}: left out {', '.join(others)}, which is called neither train, "
                       "validation nor test")  # fmt: skip
    given = given and "train" in known.values()
    features = loaded[parts[0]].features
    if features is None:  # formats without a schema say them only when they are read
        raise HslError(f"{name}: does not say its columns in advance; set streaming to false")
    _require_images(name, features, column)
    labelled = Columns(name, features, labels)
    raw = {
        (part, known[part] if given else None): loaded[part].cast_column(
            column, HubImage(decode=False)
        )
        for part in parts
    }
    folder = expanded(name)
    where = str(folder.resolve()) if folder.exists() else name
    identity: tuple[str | None, ...] = ("hub", where, config, column)
    if streaming:  # what is kept of a stream has its splits and labels
        identity = ("stream", *identity[1:], str(given), *labelled.names)
    return (HubStream if streaming else HubSource)(identity, name, raw, column, labelled)


class Columns:
    """The columns of a data set that are labels.

    Raises:
        HslError: there are none of those wanted, or a row has no value.
    """

    def __init__(
        self, data_set: str, features: Mapping[str, Any], labels: bool | Sequence[str]
    ) -> None:
        self.data_set = data_set
        names = [n for n, f in features.items() if _is_label(f)] if labels is True else labels or ()
        missing = [name for name in names if name not in features]
        if missing or (labels is True and not names):
            lacking = ", ".join(missing[:3]) or "of truth values or classes"
            raise HslError(f"{data_set}: no column {lacking}; there are {', '.join(features)}"
                           f"{''.join(meant(name, features) for name in missing[:1])}")  # fmt: skip
        self.columns = {name: features[name] for name in names}
        classes = {name: getattr(f, "names", None) for name, f in self.columns.items()}
        self.names = [label for name, several in classes.items() for label in several or [name]]
        if len(set(self.names)) < len(self.names):
            raise HslError(f"{data_set}: two of its columns have a label of the same name")

    def of(self, row: Mapping[str, Any]) -> tuple[float, ...]:
        """The labels of a row."""
        values: list[float] = []
        for name, feature in self.columns.items():
            value = row[name]
            n = feature.num_classes if isinstance(feature, ClassLabel) else None
            if value is None or value not in (range(n) if n else (-1, 0, 1)):
                raise HslError(f"{self.data_set}: {name} is {value} in a row, which is no label")
            values += [float(value == i) for i in range(n)] if n else [float(value > 0)]
        return tuple(values)


class _HubRows:
    """The rows of one split, their labels read without the images."""

    def __init__(self, source: "HubSource", place: int) -> None:
        self.source, self.place = source, place
        (self.part, _), self.rows = list(source.raw.items())[place]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        columns, n = self.source.columns, len(self.source.raw)
        stamp = _stamp(self.rows)
        names = list(columns.columns)
        slim = self.rows.select_columns(names) if names else None
        for start in range(0, len(self.rows), _AT_ONCE):
            block = slim[start : start + _AT_ONCE] if slim is not None else {}
            for i in range(start, min(start + _AT_ONCE, len(self.rows))):
                labels = columns.of({name: block[name][i - start] for name in names})
                path = f"{self.source.name}/{self.part}/{i}"
                yield Row(i * n + self.place, path, labels, (self.place, i), stamp)


class HubSource(Source):
    """A data set that is here as a whole."""

    def __init__(
        self,
        identity: Sequence[str | None],
        name: str,
        raw: dict[tuple[str, Split | None], Any],
        column: str,
        columns: Columns,
    ) -> None:
        super().__init__(identity, columns.names)
        self.name, self.raw, self.column, self.columns = name, raw, column, columns
        self.origin = Origin(name)
        self._splits = list(raw.values())

    def parts(self) -> list[SourcePart]:
        return [
            SourcePart(split, _HubRows(self, place)) for place, (_, split) in enumerate(self.raw)
        ]

    def read(self, key: Any) -> bytes:
        place, row = key
        path = f"{self.name}/{list(self.raw)[place][0]}/{row}"
        try:
            image = self._splits[place][row][self.column]
        except OSError:
            raise
        except Exception as error:  # Arrow's own
            raise HslError(f"{path}: cannot be read ({reason(error)}); is the data set whole?"
                           ) from error  # fmt: skip
        return self.origin.content(image, path)


class HubStream(Stream):
    """A data set whose rows come one by one."""

    def __init__(
        self,
        identity: Sequence[str | None],
        name: str,
        raw: dict[tuple[str, Split | None], Any],
        column: str,
        columns: Columns,
    ) -> None:
        super().__init__(identity, columns.names)
        self.name, self.raw, self.column, self.columns = name, raw, column, columns
        self.origin = Origin(name)

    def parts(self) -> list[SourcePart]:
        return [SourcePart(split, self._rows(place)) for place, (_, split) in enumerate(self.raw)]

    def _rows(self, place: int) -> Iterator[Row]:
        (part, _), rows = list(self.raw.items())[place]
        number = place
        try:
            for i, row in enumerate(rows):
                path, labels = f"{self.name}/{part}/{i}", self.columns.of(row)
                yield Row(number, path, labels, self.origin.content(row[self.column], path), None)
                number += len(self.raw)
        except HslError:
            raise
        except FileNotFoundError as error:
            raise HslError(f"{self.name}: {part} broke off ({error.strerror or error})") from error
        except Exception as error:  # as in `load`
            raise HslError(
                f"{self.name}: {part} broke off ({type(error).__name__}); try again"
            ) from error


def _order(split: Split | None) -> int:
    return SPLITS.index(split) if split else len(SPLITS)


def _is_label(feature: Any) -> bool:
    truth = isinstance(feature, HubValue) and feature.dtype == "bool"
    return truth or isinstance(feature, ClassLabel)


def _stamp(rows: Any) -> str | None:
    """Changes when the files of a data set do; None for one in memory."""
    files = [Path(file["filename"]).stat() for file in rows.cache_files]
    return " ".join(f"{s.st_size} {s.st_mtime_ns}" for s in files) or None


def _require_images(name: str, features: Mapping[str, Any], column: str) -> None:
    """Refuse a column that holds no images, and name those that do."""
    have = [n for n, feature in features.items() if _is_image(feature)]
    if column in features:
        # paths of images are texts
        if _is_image(features[column]) or getattr(features[column], "dtype", "") in _TEXTS:
            return
        problem = f"column {column!r} holds {features[column]}, no images"
    else:
        problem = f"no column {column!r}"
    images = f"; set column to {' or '.join(have)}" if have else ""
    raise HslError(f"{name}: {problem}; there are {', '.join(features)}{images}")


def _is_image(feature: Any) -> bool:
    if isinstance(feature, HubImage):
        return True
    if isinstance(feature, Mapping):  # as Parquet has them without the library's notes
        return set(feature) == {"bytes", "path"}
    return isinstance(feature, HubValue) and feature.dtype in ("binary", "large_binary")
