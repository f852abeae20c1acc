"""Configuration files that come with hsl, by short names: ``method/svm``."""

import re
from importlib.resources import files
from pathlib import Path

from hsl.errors import HslError
from hsl.names import meant

#: In a checkout a link to the folder ``configs`` of its top.
_FOLDER = "configs"
_SHORT = re.compile(r"[a-z]+/\w+", re.ASCII)


def shipped() -> dict[str, Path]:
    """All of them by their short names."""
    root = Path(str(files("hsl"))) / _FOLDER
    paths = sorted(root.glob("*/*.yaml"))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}


def configuration(where: str) -> str:
    """What ``--config`` names, as a path: a file of that path, which comes first; or one that comes
    with hsl, by its short name or as it is called in a checkout, ``configs/method/svm.yaml``. What
    is none of these, such as a text in a file's place, is given back.

    Raises:
        HslError: a short name that there is not.
    """
    if Path(where).exists():
        return where
    by_name = shipped()
    name = where.removeprefix(f"{_FOLDER}/").removesuffix(".yaml")
    if name in by_name:
        return str(by_name[name])
    if _SHORT.fullmatch(name):
        near = meant(name, by_name) or f"; there are {', '.join(by_name)}"
        raise HslError(
            f"--config {where}: no such file, and none of this name comes with hsl{near}"
        )
    return where
