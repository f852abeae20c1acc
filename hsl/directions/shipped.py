"""Directions by name: files, and those that are shipped for the bundled backbone."""

import os
from pathlib import Path
from typing import Literal

from hsl.assets import asset
from hsl.bundled import BUNDLED
from hsl.errors import HslError
from hsl.names import closest, meant, visible

Kind = Literal["directions", "boundaries"]
#: Of directions' files: hsl's own, and those that Asyrp's authors released.
_SUFFIXES = (".safetensors", ".pth")


def shipped(kind: Kind = "directions") -> list[str]:
    """Names of what is shipped for the bundled backbone: ``directions`` (implicit functions) or
    ``boundaries``."""
    return sorted(path.stem for path in asset(f"{BUNDLED.folder}/{kind}").glob("*.safetensors"))


def located(name: str | Path, kind: Kind) -> Path:
    """The file of a direction: ``name`` itself, or that of a shipped one of this kind.

    Raises:
        HslError: neither exists.
    """
    if Path(name).suffix in _SUFFIXES or Path(name).is_file():
        if not os.path.exists(name) and (hint := _beside(str(name))):
            raise HslError(f"{name}: no such file{hint}")
        return Path(name)
    known = shipped(kind)
    if name not in known and os.path.exists(name):
        return Path(name)  # of which a reader says what it is
    if name not in known:
        raise HslError(f"no direction {str(name)!r}: give a .safetensors or .pth file or "
                       f"{', '.join(known)}{meant(str(name), known) or _beside(str(name))}"
                       )  # fmt: skip
    return asset(f"{BUNDLED.folder}/{kind}/{name}.safetensors")


def short(name: str | Path) -> str:
    """What messages and pictures call a direction: a file's name without its suffix."""
    return Path(name).stem if Path(name).suffix in _SUFFIXES else Path(name).name


def _beside(name: str) -> str:
    """Which of the directions' files in the folder of ``name`` was meant, if one is like it."""
    folder = Path(name).parent
    readable = os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)
    files = [Path(file) for file in (os.listdir(folder) if readable else ())]
    there = {file.stem: folder / file for file in files if file.suffix in _SUFFIXES}
    near = closest(short(name), there)
    return "" if near is None else f", did you mean {visible(str(there[near]))}?"
