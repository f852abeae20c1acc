"""Labels of images: from a table, joined by name and never by order, or from folders."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hsl.data.formats import suffixes, unread
from hsl.errors import HslError


class Labels(NamedTuple):
    """``names`` of the columns, and ``rows``: the labels of each image, each 0 or 1, by its name in
    the file ``path``."""

    path: Path
    names: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]

    def of(
        self, images: Sequence[str], whole: Sequence[str] | None = None
    ) -> list[tuple[float, ...]]:
        """The labels of images.

        All are found in one way: by their paths within the data set, or within another folder
        above or below it, or else by their file names; in any of these without suffix if the
        suffixes are others (``0.png`` has the labels of ``0.jpg``). Unicode's composed and
        decomposed letters are the same. ``00001`` is not ``1``: data sets count from 0 or from 1.
        The table may have more rows than there are images.

        Args:
            images: their paths within the data set.
            whole: their absolute paths, in the same order.

        Raises:
            HslError: an image has no row, or two images would share one.
        """
        fewest, twice = list(images), None
        for keys, rows in _ways(images, list(self.rows), whole or images):
            missing = [i for i, key in zip(images, keys, strict=True) if key not in rows]
            if missing:
                fewest = min(fewest, missing, key=len)
            elif several := repeated(keys) or next((k for k in keys if len(rows[k]) > 1), None):
                twice = twice or several
            else:
                return [self.rows[rows[key][0]] for key in keys]
        has = ", ".join(list(self.rows)[:3])
        if twice and len(fewest) == len(images):
            raise HslError(
                f"{self.path}: {twice!r} names several images; use their paths, as in {images[0]} "
                f"(its rows are called {has}, ...)"
            )
        raise HslError(
            f"{self.path}: no row for {len(fewest)} of {len(images)} images, such as "
            f"{fewest[0]}; its rows are called {has}, ..."
        )


_Way = tuple[list[str], dict[str, list[str]]]


def _ways(images: Sequence[str], names: Sequence[str], whole: Sequence[str]) -> Iterator[_Way]:
    """Ways to call images and rows, from the most to the least exact: a key for each image, and
    the names of the rows that have a key."""
    yield list(images), {name: [name] for name in names}
    for bare in (False, True):
        keys, rows = ([_tidy(name, bare) for name in several] for several in (images, names))
        yield keys, _by(rows, names)
        yield from _moved(keys, [_tidy(path, bare) for path in whole], rows, names)
    for bare in (False, True):
        keys, rows = ([_last(_tidy(n, bare)) for n in several] for several in (images, names))
        yield keys, _by(rows, names)
    keys, rows = ([PurePosixPath(_tidy(n)).stem for n in several] for several in (images, names))
    yield keys, _by(rows, names)


def _moved(
    images: Sequence[str], whole: Sequence[str], rows: Sequence[str], names: Sequence[str]
) -> Iterator[_Way]:
    """The way in which a table's paths begin in another folder than the images': one folder is
    taken from all whole paths, and one put before what remains."""
    if not images:
        return
    paths, by = [PurePosixPath(path).parts for path in whole], _by(rows, names)
    _, deepest = max((image.count("/"), path) for image, path in zip(images, paths, strict=True))
    ends = [PurePosixPath(row).parts for row in rows]
    ends = [end for end in ends if len(end) > 1 and end[-2:] == deepest[-2:]]
    for n in range(len(deepest), 1, -1):
        above, rest = deepest[:-n], deepest[-n:]
        if any(path[: len(above)] != above for path in paths):
            return  # not all paths begin so, nor with any longer folder
        fits: dict[tuple[str, ...], list[str]] = {}
        for end in ends:
            if end[-n:] == rest:
                before = end[:-n]
                keys = [str(PurePosixPath(*before, *path[len(above) :])) for path in paths]
                if all(key in by for key in keys):
                    fits[before] = keys
        if fits:
            # where several folders fit, a key gets the rows of all, so that `of` sees several
            keys = next(iter(fits.values()))
            several = zip(*fits.values(), strict=True)
            yield keys, {of[0]: [name for key in of for name in by[key]] for of in several}
            return


def _by(keys: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Names by their keys."""
    by_key: dict[str, list[str]] = {}
    for key, name in zip(keys, names, strict=True):
        by_key.setdefault(key, []).append(name)
    return by_key


def _tidy(name: str, bare: bool = False) -> str:
    """A path with ``/`` and composed letters; ``bare``: without an image's suffix."""
    path = PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/"))
    suffix = path.suffix.lower()
    known = suffix in suffixes() or unread(suffix) is not None
    return str(path.with_suffix("") if bare and known else path)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def of_classes(images: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[float, ...]]]:
    """The folders that hold images as classes: names in order, and one of them 1 for each image.

    Raises:
        HslError: an image lies in no folder.
    """
    holders = [PurePosixPath(image).parts[0] if "/" in image else "" for image in images]
    if "" in holders:
        raise HslError(f"labels=folders: {images[holders.index('')]} lies in no folder of a class")
    names = tuple(sorted(set(holders)))
    return names, [tuple(float(holder == name) for name in names) for holder in holders]


def of_pairs(
    images: Sequence[str], pairs: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], list[tuple[float, ...]]]:
    """Labels from pairs of folders: ``{"Smiling": ["happy", "neutral"]}`` are images with and
    without it.

    Raises:
        HslError: not two folders, or an image that lies in both or in neither.
    """
    rows: list[list[float]] = [[] for _ in images]
    for name, folders in pairs.items():
        if len(folders) != 2:
            raise HslError(f"labels: {name} wants two folders, with it and without it")
        for image, row in zip(images, rows, strict=True):
            inside = [PurePosixPath(image).is_relative_to(folder) for folder in folders]
            if sum(inside) != 1:
                which = "both" if all(inside) else "neither"
                raise HslError(f"labels: {image} lies in {which} of {' and '.join(folders)}")
            row.append(float(inside[0]))
    return tuple(pairs), [tuple(row) for row in rows]


def repeated(names: Sequence[str]) -> str | None:
    """The first name that occurs again."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
