"""What `hsl.data.describe` finds, printed and written."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hsl.data.describe import counts, frequencies, label_figure, sheet, strongest
from hsl.data.items import DataModule
from hsl.data.module import SourceDataModule
from hsl.figures.pictures import save_figure
from hsl.names import visible
from hsl.tables import print_table, write_csv

#: What `describe` writes.
WRITTEN = ("labels.csv", "labels.png", "sheet.png")


def describe(data: DataModule, out: Path) -> None:
    """Print tables, and write pictures; the last line printed is the folder. Few images may leave
    a split empty, which a training refuses."""
    if isinstance(data, SourceDataModule):
        data.may_lack = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all are listed below
        rows = counts(data)
    print_table("images", rows)
    if data.names:
        print_table("share of images with a label", frequencies(data))
        if pairs := strongest(data):
            print_table("strongest correlations", pairs)
        write_csv(out / "labels.csv", frequencies(data))
        save_figure(out / "labels.png", label_figure(data))
    save_figure(out / "sheet.png", sheet(data))
    if isinstance(data, SourceDataModule):
        _list("pictures in formats that are not read, left out", data.found.unread)
        _list("broken, left out", data.found.skipped)
        _list("the same as another", [f"{a} = {b}" for a, b, _ in data.found.duplicates])
    print(out)


def _list(title: str, lines: Sequence[str]) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{title}: {len(lines)}")
    for line in lines:
        console.print(f"  {visible(line)}")
