"""What ARCHITECTURE.md names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


def test_every_file_and_folder_is_there() -> None:
    named = re.findall(r"`([\w/]+(?:\.(?:py|json)|/))`", PAGE)
    assert len(named) > 30
    missing = [n for n in named if not (ROOT / "hsl" / n).exists() and not (ROOT / n).exists()]
    assert not missing


def test_every_noun_is_defined_where_it_is_said_to_be() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| `([\w/.]+)` \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) > 10
    for noun, place in rows:
        path = ROOT / "hsl" / place
        files = [path] if path.is_file() else list(path.glob("*.py"))
        assert any(f"class {noun}" in file.read_text("utf-8") for file in files), noun


def test_it_fits_a_page() -> None:
    assert PAGE.count("\n") < 130
