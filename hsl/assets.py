"""Where the models that are shipped with hsl lie."""

from importlib.resources import files
from pathlib import Path

from hsl.errors import HslError


def asset(name: str) -> Path:
    """The path of a shipped file or folder, e.g. ``asset("texts.yaml")``.

    Raises:
        HslError: nothing of that name is shipped.
    """
    root = Path(str(files("hsl"))) / "assets"
    path = root / name
    if not path.exists():
        shipped = sorted(p.relative_to(root).as_posix() for p in root.glob("*/*"))
        raise HslError(f"{name}: not shipped with hsl; there are {', '.join(shipped) or 'none'}")
    return path
