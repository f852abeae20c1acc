"""Names of a package that are imported when they are first asked for (PEP 562): who needs a few of
them, as a command's options do, does not wait for the others."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from hsl.names import meant


def lazily(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package, which is to hide them from type checkers:
    those would take any name for one of it.

    Args:
        package: its name.
        modules: by name of what it has, the module that holds it.
    """

    def get(name: str) -> Any:
        here = sys.modules[package]
        if name not in modules:
            near = meant(name, modules)
            raise AttributeError(f"module {package!r} has no attribute {name!r}{near}")
        found = getattr(import_module(modules[name]), name)
        setattr(here, name, found)  # asked for once
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names
