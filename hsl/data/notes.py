"""JSON files that hsl keeps for itself: with a checksum, and a damaged one counts as none."""

import hashlib
import json
from pathlib import Path
from typing import Any

from hsl.files import read_text, replacing


def write_notes(path: Path, notes: Any) -> None:
    """Write JSON values with their SHA-256.

    Raises:
        HslError: the file cannot be written.
    """
    text = _plain(notes)
    with replacing(path) as temporary:
        temporary.write_text(f'{{"sha256": "{_sum(text)}", "notes": {text}}}\n', "utf-8")


def read_notes(path: Path) -> Any:
    """JSON values that `write_notes` wrote; None: no such file, or another, or a damaged one."""
    try:
        content = json.loads(read_text(path))
        return content["notes"] if content["sha256"] == _sum(_plain(content["notes"])) else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _plain(notes: Any) -> str:
    return json.dumps(notes, separators=(",", ":"))


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
