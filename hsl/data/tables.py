"""Tables of labels as files: CSV with any of the usual separators, and lines of words."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from hsl.data.formats import LFS_POINTER, unknown
from hsl.data.labels import Labels, repeated
from hsl.errors import HslError
from hsl.files import read_bytes

#: Suffixes of tables that `read_csv` reads.
SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
_VALUES = {"1": 1.0, "0": 0.0, "-1": 0.0, "true": 1.0, "false": 0.0}
_WHOLE = {"1.0": "1", "0.0": "0", "-0.0": "0", "-1.0": "-1"}  # as pandas writes columns with gaps
_SEPARATORS = ",;\t|"
_LONGEST = 30  # letters of a value in a message


def read_csv(path: Path) -> Labels:
    """A table with a header: the first column names images (by path, file name, or that without
    suffix), every other one is a label with values 1 and 0, 1 and -1, or true and false. Columns
    are separated by commas, semicolons, tabs or ``|``, whichever the header has most; what
    spreadsheets add (``sep=;``, empty rows and columns, a byte order mark, UTF-16) is let pass.

    Raises:
        HslError: no such file, no header, a row of another length or without an image, another
            value, both 0 and -1 in one column, or an image or a column that occurs twice.
    """
    text = text_of(path)
    first, _, rest = text.lstrip().partition("\n")
    told = first.strip().strip('"').lower()
    separator = max(_SEPARATORS, key=first.count)  # the first of them if there is none
    if told.startswith("sep=") and len(told) == 5:
        separator, text = told[-1], f"\n{rest}"
    try:
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
        )
        lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except csv.Error as error:
        raise HslError(f"{path}: is no table ({error}); save it as CSV anew") from error
    lines = [(number, line) for number, line in lines if any(line)]
    head = lines[0][1] if lines else []
    columns = max((i + 1 for i, name in enumerate(head) if name), default=0)
    if len(lines) < 2 or columns < 2 or any(v in _VALUES for v in head[1:]):
        raise HslError(f"{path}: want a header such as 'image,Smiling' and a row for each image")
    rows = []
    for number, line in lines[1:]:
        if not line[0]:
            raise HslError(f"{path}: line {number} names no image: its first column is empty")
        filled = max(i + 1 for i, cell in enumerate(line) if cell)
        rows.append((line[0], line[1 : max(columns, filled)]))
    return table(path, tuple(head[1:columns]), rows)


def table(path: Path, names: tuple[str, ...], lines: Sequence[tuple[str, list[str]]]) -> Labels:
    """Check a table and turn its values into 0 and 1.

    Raises:
        HslError: as `read_csv`.
    """
    if twice := repeated(names) or repeated([name for name, _ in lines]):
        raise HslError(f"{path}: {twice!r} occurs twice")
    used: list[set[str]] = [set() for _ in names]
    rows: dict[str, tuple[float, ...]] = {}
    for name, values in lines:
        if len(values) != len(names):
            raise HslError(f"{path}: {name} has {len(values)} values for {len(names)} labels")
        texts = [_WHOLE.get(text := value.strip().lower(), text) for value in values]
        for label, text, seen in zip(names, texts, used, strict=True):
            if text not in _VALUES:
                raise HslError(f"{path}: {label} of {name} is {text[:_LONGEST]!r}; want 1 and 0, "
                               "or 1 and -1")  # fmt: skip
            seen.add(text)
            if {"0", "-1"} <= seen:
                raise HslError(f"{path}: {label} is both 0 and -1, at {name}; which one means no?")
        rows[name] = tuple(_VALUES[text] for text in texts)
    return Labels(path, names, rows)


def words_of(path: Path) -> list[list[str]]:
    """The words of each line that has some.

    Raises:
        HslError: as `text_of`.
    """
    return [words for line in text_of(path).splitlines() if (words := line.split())]


def text_of(path: Path) -> str:
    """A text file's content, without a byte order mark: UTF-8, or UTF-16 where the mark says so.

    Raises:
        HslError: it cannot be read, or is no text.
    """
    content = read_bytes(path, "a table of labels")
    if content.startswith(LFS_POINTER):
        raise HslError(f"{path}: {unknown(content)}")
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise HslError(f"{path}: is no UTF-8 text; save it as UTF-8") from error
    if "\0" in text:  # UTF-16 without a mark, or no text at all
        raise HslError(f"{path}: is no UTF-8 text, but has NUL in it; save it as UTF-8")
    return text
