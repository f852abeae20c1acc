"""Tables and files of figures."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from hsl.files import replacing
from hsl.tables import figure, figure_rows, markdown, print_table, write_csv, write_json

ROWS = [
    {"method": "asyrp", "effect": 0.93, "effect_ci": (0.88, 0.97), "images": 64},
    {"method": "[linear]", "effect": float("nan"), "worst": "Young|Male"},
]


@pytest.mark.parametrize(
    ("value", "ci", "text"),
    [
        (0.93, (0.88, 0.97), "0.93 [0.88, 0.97]"),
        (0.12345, None, "0.123"),
        (12345.6, None, "12346"),
        (64, None, "64"),
        (None, None, ""),
        (float("nan"), (float("nan"), 1.0), "n/a [n/a, 1]"),
        ({"Male": 0.5}, None, "Male 0.5"),
    ],
)
def test_a_figure_in_print(value: object, ci: tuple[float, float] | None, text: str) -> None:
    assert figure(value, ci) == text


def test_a_table_on_the_screen() -> None:
    out = io.StringIO()
    print_table("Smiling [test]", ROWS, Console(file=out, width=100))
    for part in ("Smiling [test]", "[linear]", "0.93 [0.88, 0.97]", "n/a", "Young|Male"):
        assert part in out.getvalue()
    assert "effect_ci" not in out.getvalue()


def test_a_table_in_markdown() -> None:
    assert markdown(ROWS).splitlines() == [
        "| method | effect | images | worst |",
        "| --- | --- | --- | --- |",
        "| asyrp | 0.93 [0.88, 0.97] | 64 |  |",
        "| [linear] | n/a |  | Young\\|Male |",
    ]


def test_figures_downwards() -> None:
    rows = figure_rows({"effect": 0.93, "effect_ci": (0.88, 0.97), "seconds": 3.0, "own": 1.0})
    assert markdown(rows).splitlines()[2:] == [
        "| effect | 0.93 [0.88, 0.97] |  | higher |",
        "| seconds | 3 | s | lower |",
        "| own | 1 |  |  |",
    ]


def test_csv_splits_intervals_and_nested_figures(tmp_path: Path) -> None:
    write_csv(tmp_path / "new" / "x.csv", [*ROWS, {"excluded": {"Male": 0.5}}])
    with (tmp_path / "new" / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["effect_low"] == "0.88" and rows[0]["effect_high"] == "0.97"
    assert rows[1]["effect_low"] == "" and rows[2]["excluded.Male"] == "0.5"


def test_json_holds_what_python_holds(tmp_path: Path) -> None:
    figures = {"x": torch.tensor(1.5), "ci": (0.5, float("inf")), "path": Path("a/b"), "n": 3}
    write_json(tmp_path / "x.json", figures)
    read = json.loads((tmp_path / "x.json").read_text())
    assert read == {"x": 1.5, "ci": [0.5, None], "path": "a/b", "n": 3}


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"new": object()})
    with pytest.raises(RuntimeError), replacing(tmp_path / "x.json") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
