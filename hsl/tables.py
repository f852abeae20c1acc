"""Figures and rows -> tables on the screen, Markdown, CSV, JSON.

A figure is a number under its name, its confidence interval a pair under ``<name>_ci``. In print
the two are one cell: ``0.93 [0.88, 0.97]``. A file appears whole or not at all.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hsl.files import replacing
from hsl.glossary import GLOSSARY, Term, legend
from hsl.names import visible

Row = Mapping[str, Any]
_CI = "_ci"


def write_json(path: str | Path, data: Mapping[str, Any]) -> None:
    """Write figures as JSON; NaN and infinity, which JSON has not, become null."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_plain(data), indent=2, allow_nan=False) + "\n", "utf-8")


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV. ``x_ci`` becomes the columns ``x_low`` and ``x_high``, a nested figure
    ``a.b``; a row may lack columns that another has."""
    flat = [dict(_flat(row)) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(flat), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    with replacing(path) as temporary:
        # names of files may hold bytes that are no UTF-8
        temporary.write_text(text.getvalue(), "utf-8", errors="backslashreplace")


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    columns, body = _cells(rows)
    lines = [columns, ["---"] * len(columns), *body]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def table(rows: Sequence[Row]) -> Table:
    """Rows as a rich table."""
    columns, body = _cells(rows)
    result = Table()
    for column in columns:
        result.add_column(Text(column), overflow="fold")
    for line in body:
        result.add_row(*(Text(cell) for cell in line))
    return result


def print_table(title: str, rows: Sequence[Row], console: Console | None = None) -> None:
    """Print rows as a table under a title, and below it what its figures are, as far as the
    glossary knows them: its columns, or the rows of `figure_rows`."""
    console = console or Console()
    console.print(Text(visible(title), style="italic"))
    console.print(table(rows))
    figures = [row["figure"] for row in rows if "better" in row]  # their rows say the rest
    for line in legend(figures, brief=True) if figures else legend(_columns(rows)):
        console.print(Padding(Text(line), (0, 0, 0, 2), expand=False))


def figure_rows(figures: Row) -> list[dict[str, Any]]:
    """One dictionary of figures as rows, to print it downwards: each with its name, value, unit
    and which way is better."""
    rows: list[dict[str, Any]] = []
    for name, value in figures.items():
        if not _is_ci(name, figures):
            term = GLOSSARY.get(name, Term(""))
            rows.append({"figure": name, "value": value, f"value{_CI}": figures.get(name + _CI),
                         "unit": term.unit, "better": term.better})  # fmt: skip
    return rows


def figure(value: Any, ci: Sequence[float] | None = None) -> str:
    """A value as it is printed: numbers to three significant digits, ``0.93 [0.88, 0.97]``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(name)} {figure(part)}" for name, part in value.items())
    if isinstance(value, float):
        text = "n/a" if math.isnan(value) else _number(value)
    else:
        text = "" if value is None else visible(str(value))
    return text if ci is None else f"{text} [{', '.join(_number(float(end)) for end in ci)}]"


def _number(value: float) -> str:
    if math.isnan(value):
        return "n/a"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def _is_ci(name: str, row: Row) -> bool:
    return name.endswith(_CI) and name.removesuffix(_CI) in row


def _columns(rows: Sequence[Row]) -> list[str]:
    """Names in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Column names, and rows of printed cells."""
    columns = [c for c in _columns(rows) if not any(_is_ci(c, row) for row in rows)]
    body = [[figure(row.get(c), row.get(c + _CI)) for c in columns] for row in rows]
    return [visible(column) for column in columns], body


def _flat(row: Row, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif _is_ci(name, row):
            low, high = value if value is not None else ("", "")
            stem = prefix + name.removesuffix(_CI)
            yield from ((f"{stem}_low", low), (f"{stem}_high", high))
        else:
            yield prefix + name, value


def _plain(value: Any) -> Any:
    """What JSON can hold: paths become strings, tensors and arrays lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
