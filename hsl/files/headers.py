"""What a safetensors file that hsl wrote says of itself; read without its tensors, and PyTorch."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

#: Bytes of JSON and levels of nesting that a header may have: hundreds of times what hsl writes.
LONGEST, DEEPEST = 1 << 24, 100


def read_header(path: str | Path) -> dict[str, Any]:
    """The header alone, of a file that is there.

    Raises:
        OSError, SafetensorError, ValueError: it cannot be read, or is not whole.
    """
    with safe_open(path, framework="np") as file:
        return parse_header((file.metadata() or {}).get("hsl"))


def parse_header(text: str | None) -> dict[str, Any]:
    """A header from its JSON.

    Raises:
        ValueError: none, no JSON object, NaN or infinity in it, or one too long or too deep.
    """
    if text is None:
        raise ValueError("it says nothing of itself")
    if len(text) > LONGEST:
        raise ValueError(f"a header of {len(text)} characters")
    try:
        header = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("a header that is nested too deep") from error
    if not isinstance(header, dict):
        raise ValueError("a header that is no JSON object")
    level: list[Any] = [header]
    for _ in range(DEEPEST):
        level = [part for value in level for part in _parts(value)]
        if not level:
            return header
    raise ValueError("a header that is nested too deep")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} in its header")
