"""Names in print, in pictures and as names of files."""

import io
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from hsl.figures.pictures import caption, save_figure
from hsl.names import file_stem, meant, shortened, visible
from hsl.progress import track
from hsl.tables import markdown, print_table, write_csv, write_json

#: What people called things, or files were.
NASTY = (
    "cost $5 and $6", "$", "$$", r"\$x$", r"$\frac{", "a_b^c", "[b", "nul\x00", "bell\x07",
    "[/red]", "\x1b[31mred", "two\nlines", "tab\t", "caf\udce9", "\ud800", "turned\u202e", "Лицо",
    "微笑", "🙂", "e\u0301", "x" * 5000, "", " ", "%s {0}", "a/b", "..", "CON",
)  # fmt: skip


def test_what_would_not_show_is_written_as_an_escape() -> None:
    said = {
        "plain": "plain", "Лицо 🙂": "Лицо 🙂", "nul\x00": r"nul\x00", "\x1b[0m": r"\x1b[0m",
        "a\nb": r"a\nb", "caf\udce9": r"caf\xe9", "\ud800": r"\ud800", "\u202eb": r"\u202eb",
        "\u2028": r"\u2028", "\x9b": r"\x9b",
    }  # fmt: skip
    assert {name: visible(name) for name in said} == said
    assert shortened("abcdef", 6) == "abcdef" and shortened("abcdef", 4) == "abc…"


def test_what_was_meant() -> None:
    known = ["Smiling", "Eyeglasses", "Not_Young", "Young"]
    for typed in ("Smilling", "smiling", "SMILE_ing", "Smilin"):
        assert meant(typed, known) == ", did you mean Smiling?"
    assert meant("young", known) == ", did you mean Young?"
    assert meant("Hat", known) == meant("", known) == meant("Smilling", []) == ""


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_names_in_pictures(name: str, tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 2), dpi=40)
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set_title(caption(name))
    axis.set_yticks([0, 1], [caption(name), caption(f"${name}$")])
    axis.plot([0, 1], label=caption(name, 20))
    axis.legend()
    save_figure(tmp_path / "a.png", figure)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (80, 80) and picture.info["Software"] == "hsl"


def test_a_dollar_is_drawn_as_a_dollar() -> None:
    figure = Figure()
    text = figure.text(0, 0, caption("$5 or $6"))
    assert text._preprocess_math(text.get_text()) == ("$5 or $6", False)
    assert len(caption("x" * 100)) == 60 and caption("x" * 100).endswith("…")


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_names_on_the_console(name: str, tmp_path: Path, monkeypatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n")
    print_table(name, [{name: name, "n": {name: 1.0}}], Console(file=out, width=6000))
    print(markdown([{name: name}]), file=out)
    monkeypatch.setattr("sys.stderr", out)
    for terminal in (False, True):
        monkeypatch.setattr("hsl.progress.is_terminal", lambda: terminal)  # noqa: B023
        assert list(track([1, 2], f"grid of {name}", 2)) == [1, 2]
    out.flush()
    text = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert not set(text) & {"\x00", "\x07", "\u202e"} and "\x1b[31mred" not in text
    write_csv(tmp_path / "a.csv", [{name: name}])
    write_json(tmp_path / "a.json", {name: name})


def test_names_of_files() -> None:
    stems = {name: file_stem(name) for name in NASTY}
    assert len(set(stems.values())) == len(NASTY)
    for stem in stems.values():
        assert 0 < len(stem.encode()) <= 110 and not set(stem) & set('/\\:*?"<>|\x00\n')
        assert stem.strip(". ") == stem
    for name in ("Smiling", "Not_Young", "Лицо", "微笑", "5 o'clock", "a.b", "cost $5"):
        assert file_stem(name) == name
    assert file_stem("a/b") != file_stem("a_b") == "a_b"
    assert file_stem("nul").startswith("_nul-")
