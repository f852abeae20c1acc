"""Which images of a source make up the training, validation and test sets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from hsl.data.files import warn, warn_of_unread
from hsl.data.index import Index, Inspection, Row
from hsl.data.items import SPLITS, Split
from hsl.errors import HslError
from hsl.names import meant

_AT_ONCE = 64  # images that are looked at before it is asked whether there are enough


class SourcePart(NamedTuple):
    """Images of a source in order, and the split that the source says they belong to."""

    split: Split | None
    rows: Iterable[Row]


class Source(ABC):
    """Where images come from.

    Args:
        identity: JSON values that tell this source from all others.
        names: of the labels.
        unread: a line for every picture that is there, but of no format that is read.
    """

    def __init__(
        self,
        identity: Sequence[str | None],
        names: Sequence[str] = (),
        unread: Sequence[str] = (),
    ) -> None:
        self.identity, self.names, self.unread = tuple(identity), tuple(names), tuple(unread)

    @abstractmethod
    def parts(self) -> list[SourcePart]:
        """The images, in an order that is always the same."""

    @abstractmethod
    def read(self, key: Any) -> bytes:
        """The content of an image's file, by `Row.key`."""


class Selection(NamedTuple):
    """The rows of each split, with what was found out about each; ``skipped``: a line for every
    image that does not decode; ``duplicates``: pairs of paths with the same content, and whether
    they lie in different splits; ``seen``: how many images were looked at; ``unread``: a line for
    every picture in a format that is not read."""

    rows: dict[Split, list[Row]]
    entries: dict[Split, list[Inspection]]
    skipped: list[str]
    duplicates: list[tuple[str, str, bool]]
    seen: int = 0
    unread: Sequence[str] = ()


def split_of(digest: str) -> Split:
    """The split of an image, from the SHA-256 of its file: 80%, 10%, 10%."""
    tenth = int(digest[:2], 16) * 10 // 256
    return SPLITS[max(tenth - 7, 0)]


def select(
    source: Source,
    counts: Mapping[Split, int | None],
    where: Mapping[Split, Mapping[str, int]],
    index: Index,
    strict: bool = False,
    may_lack: bool = False,
    progress: Callable[[Iterable[Row]], Iterable[Row]] = iter,
) -> Selection:
    """Take the first ``counts`` images (None: all) of each split that have the labels ``where``.

    The splits are the source's own. What it lacks is taken from its training images, or from all
    of them where it has no splits, by a hash of each image's file: so an image stays in its split
    when others are added, and copies of it go with it.

    Raises:
        HslError: a split is left empty (with ``may_lack``: all are); an image has too many pixels,
            or cannot be read or decoded for a reason that passes; with ``strict``, one does not
            decode, or is not read.
    """
    if strict and source.unread:
        raise HslError(f"{source.unread[0]}; convert or remove it, or set strict=false")
    splits = _Splits(source.names, counts, where)
    parts = source.parts()
    stated = {part.split for part in parts} - {None}
    seen = 0
    try:
        for part in parts:
            hashed = part.split is None or part.split == "train"
            fed = [s for s in SPLITS if s == part.split or (hashed and s not in stated)]
            rows = (r for r in progress(part.rows) if any(splits.want(s, r) for s in fed))
            while not all(map(splits.full, fed)) and (several := list(islice(rows, _AT_ONCE))):
                for row, entry in zip(several, index.entries(several, source.read), strict=True):
                    seen += 1
                    if entry.error is None:
                        splits.take(row, entry, part.split, fed)
                    elif strict:
                        raise HslError(f"{entry.error}; mend or remove it, or set strict=false")
                    else:
                        splits.selection.skipped.append(entry.error)
    finally:
        index.save()
    selection = splits.selection._replace(seen=seen, unread=source.unread)
    _require_images(selection, counts, where, may_lack)
    return selection


class _Splits:
    """The splits while they are filled.

    Args:
        names: of the labels.
        counts: images of each split at most; None: all.
        where: labels that the images of each split must have.

    Raises:
        HslError: no such label, or a value other than 0 and 1.
    """

    def __init__(
        self,
        names: Sequence[str],
        counts: Mapping[Split, int | None],
        where: Mapping[Split, Mapping[str, int]],
    ) -> None:
        self.counts = counts
        self.columns = {s: _columns(names, where.get(s, {})) for s in SPLITS}
        self.selection = Selection({s: [] for s in SPLITS}, {s: [] for s in SPLITS}, [], [])
        #: Path and split of the first image of each content.
        self.first: dict[str, tuple[str, Split]] = {}

    def want(self, split: Split, row: Row) -> bool:
        """Whether an image has the labels that a split asks for."""
        return all(row.labels[column] == value for column, value in self.columns[split])

    def full(self, split: Split) -> bool:
        """Whether a split has as many images as it may have."""
        most = self.counts[split]
        return most is not None and len(self.selection.rows[split]) >= most

    def take(self, row: Row, entry: Inspection, stated: Split | None, fed: Sequence[Split]) -> None:
        """Put an image into its split, unless that is full or wants others.

        Args:
            row: the image.
            entry: what a look at it found.
            stated: its split, as its source says.
            fed: the splits that images of this part of the source may go to.
        """
        by_hash = split_of(entry.digest)
        split = by_hash if by_hash in fed else (stated or by_hash)
        if self.full(split) or not self.want(split, row):
            return
        self.selection.rows[split].append(row)
        self.selection.entries[split].append(entry)
        path, other = self.first.setdefault(entry.digest, (row.path, split))
        if path != row.path:
            self.selection.duplicates.append((row.path, path, split != other))


def _require_images(
    selection: Selection,
    counts: Mapping[Split, int | None],
    where: Mapping[Split, Mapping[str, int]],
    may_lack: bool,
) -> None:
    """Refuse a split without images that is to have some; with ``may_lack``, only if all are."""
    rows, skipped, seen = selection.rows, selection.skipped, selection.seen
    for split in SPLITS:
        lacks = not rows[split] and counts[split] != 0
        if lacks and not (may_lack and any(rows.values())):
            asked = f" with {dict(where[split])}" if where.get(split) else ""
            bad = f", {len(skipped)} of them broken" if skipped else ""
            bad += f" ({skipped[0]})" if len(skipped) == seen > 0 else ""
            raise HslError(
                f"{seen} images{bad}, but none for {split}{asked}: "
                f"add images, ask for others, or set {split} to 0"
            )


def report(selection: Selection) -> None:
    """Warn, on the first rank, of what is not read, of what was skipped and of duplicates, and list
    them."""
    warn_of_unread(selection.unread)
    if selection.skipped:
        broken, seen = len(selection.skipped), selection.seen
        warn(f"{broken} of {seen} images are broken and left out", selection.skipped)
    for across, where in ((True, "in different splits"), (False, "in the same split")):
        pairs = [f"{one} = {other}" for one, other, is_across in selection.duplicates
                 if is_across == across]  # fmt: skip
        if pairs:
            warn(f"{len(pairs)} images occur more than once, {where}", pairs)


def _columns(names: Sequence[str], labels: Mapping[str, int]) -> list[tuple[int, float]]:
    """Columns and values of the labels that are asked for."""
    for name, value in labels.items():
        if name not in names:
            known = ", ".join(names) or "none"
            raise HslError(f"where: no label {name!r}; there are {known}{meant(name, names)}")
        if value not in (0, 1):
            raise HslError(f"where: {name}={value}: want 0 or 1")
    return [(names.index(name), float(value)) for name, value in labels.items()]
