"""Figures are explained, alike in tables and in README.md."""

import io
from pathlib import Path

from rich.console import Console

from hsl.glossary import GLOSSARY, legend, markdown
from hsl.tables import figure_rows, print_table

ROOT = Path(__file__).resolve().parents[1]


def printed(rows: list) -> str:
    """On a stream that has no letters but ASCII."""
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    print_table("Smiling", rows, Console(file=out, width=120))
    out.flush()
    return out.buffer.getvalue().decode()  # type: ignore[attr-defined]


def test_the_readme_has_it() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert markdown() in text.partition("## Glossary\n")[2]


def test_a_figure_is_printed_with_what_it_is() -> None:
    text = printed(figure_rows({"direction": "Smiling", "leakage": 0.1, "leakage_ci": (0, 0.2),
                                "reconstruction_psnr": 30.0}))  # fmt: skip
    lines = [line.split() for line in text.splitlines()]
    assert lines[-2:] == [f"{name}: {GLOSSARY[name].means}".split()
                          for name in ("leakage", "reconstruction_psnr")]  # fmt: skip
    for words in (["unit", "better"], ["0.1", "[0,", "0.2]", "lower"], ["30", "dB", "higher"]):
        assert any([word for word in line if word in words] == words for line in lines), words


def test_columns_are_explained_below() -> None:
    text = printed([{"attribute": "Smiling", "auc": 0.9}])
    assert text.splitlines()[-1].strip() == f"auc: {GLOSSARY['auc']}"
    assert legend(["auc", "attribute"]) == [f"auc: {GLOSSARY['auc'].means} (higher is better)"]
    assert legend(["seconds"]) == ["seconds: from the start of the run, in s (lower is better)"]
