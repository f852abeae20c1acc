"""Labels of images: from a table, joined by name and never by order, or from folders."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hsl.errors import HslError

#: Ways to call an image, from the most to the least exact: path, file name, name without suffix.
_FORMS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: PurePosixPath(name).name,
    lambda name: PurePosixPath(name).stem,
)
_VALUES = {"1": 1.0, "0": 0.0, "-1": 0.0, "true": 1.0, "false": 0.0}


class Labels(NamedTuple):
    """``names`` of the columns, and ``rows``: the labels of each image, each 0 or 1, by its name in
    the file ``path``."""

    path: Path
    names: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]

    def of(self, images: Sequence[str]) -> list[tuple[float, ...]]:
        """The labels of images, by their paths within the data set.

        All are found in one way: by their paths, or else by their file names, or else by those
        without suffix (``0.png`` has the labels of ``0.jpg``). ``00001`` is not ``1``: data sets
        count from 0 or from 1. The table may have more rows than there are images.

        Raises:
            HslError: an image has no row, or two images would share one.
        """
        missing: list[str] = []
        for form in _FORMS:
            rows = {form(name): row for name, row in self.rows.items()}
            keys = [form(image) for image in images]
            missing = [i for i, key in zip(images, keys, strict=True) if key not in rows]
            if missing:
                continue
            for several in (keys, [form(name) for name in self.rows]):
                if twice := _repeated(several):
                    raise HslError(f"{self.path}: {twice!r} names several images; use their paths")
            return [rows[key] for key in keys]
        has = ", ".join(list(self.rows)[:3])
        raise HslError(
            f"{self.path}: no row for {len(missing)} of {len(images)} images, such as "
            f"{missing[0]}; its rows are called {has}, ..."
        )


def read_csv(path: Path) -> Labels:
    """A table with a header: the first column names images (by path, file name, or that without
    suffix), every other one is a label with values 1 and 0, 1 and -1, or true and false.

    Raises:
        HslError: no such file, no header, a row of another length, another value, both 0 and -1
            in one column, or an image or a column that occurs twice.
    """
    try:
        lines = [line for line in csv.reader(text_of(path).splitlines()) if line]
    except csv.Error as error:
        raise HslError(f"{path}: is no table ({error})") from error
    if len(lines) < 2 or len(lines[0]) < 2 or any(v.strip() in _VALUES for v in lines[0][1:]):
        raise HslError(f"{path}: want a header such as 'image,Smiling' and a row for each image")
    names = tuple(name.strip() for name in lines[0][1:])
    return table(path, names, [(line[0].strip(), line[1:]) for line in lines[1:]])


def table(path: Path, names: tuple[str, ...], lines: Sequence[tuple[str, list[str]]]) -> Labels:
    """Check a table and turn its values into 0 and 1.

    Raises:
        HslError: as `read_csv`.
    """
    if twice := _repeated(names) or _repeated([name for name, _ in lines]):
        raise HslError(f"{path}: {twice!r} occurs twice")
    used: list[set[str]] = [set() for _ in names]
    rows: dict[str, tuple[float, ...]] = {}
    for name, values in lines:
        if len(values) != len(names):
            raise HslError(f"{path}: {name} has {len(values)} values for {len(names)} labels")
        texts = [value.strip().lower() for value in values]
        for label, text, seen in zip(names, texts, used, strict=True):
            if text not in _VALUES:
                raise HslError(f"{path}: {label} of {name} is {text!r}; want 1 and 0, or 1 and -1")
            seen.add(text)
            if {"0", "-1"} <= seen:
                raise HslError(f"{path}: {label} is both 0 and -1, at {name}; which one means no?")
        rows[name] = tuple(_VALUES[text] for text in texts)
    return Labels(path, names, rows)


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


def text_of(path: Path) -> str:
    """A text file's content, without a byte order mark.

    Raises:
        HslError: it cannot be read, or is no text.
    """
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise HslError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise HslError(f"{path}: is no UTF-8 text") from error


def _repeated(names: Sequence[str]) -> str | None:
    """The first name that occurs again."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
