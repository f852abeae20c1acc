"""Which version of hsl this is."""

import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

#: What it is called where packages are had; PyPI's ``hsl`` is another project.
DISTRIBUTION = "hspace"


def version() -> str:
    """The installed version; in a checkout that was not installed, what its pyproject.toml says;
    ``unknown`` where there is neither."""
    try:
        return installed(DISTRIBUTION)
    except PackageNotFoundError:
        project = Path(__file__).parents[1] / "pyproject.toml"
        if not project.is_file():
            return "unknown"
        return str(tomllib.loads(project.read_text("utf-8"))["project"]["version"])


__version__ = version()
