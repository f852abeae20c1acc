"""The experiments' scripts fit the code as it is."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "experiments").rglob("*.py"))


def wanted(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Modules of hsl that a script imports, each with the name that it takes from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "hsl":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from ((name, None) for name in names if name.partition(".")[0] == "hsl")


def is_there(module: str, name: str | None) -> bool:
    found = importlib.import_module(module)
    if name is None or hasattr(found, name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_it_imports_is_there(script: Path) -> None:
    tree = ast.parse(script.read_text("utf-8"))
    assert not [each for each in wanted(tree) if not is_there(*each)]


def test_a_name_that_is_gone_is_noticed() -> None:
    tree = ast.parse("from hsl.process import reverse, backward\nimport hsl.files")
    assert [name for module, name in wanted(tree) if not is_there(module, name)] == ["backward"]
