"""Imports point down only, judges stay out of losses, and nothing unpickles what it loads."""

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HSL = Path(__file__).resolve().parents[1] / "hsl"

PAGE = HSL.parent / "ARCHITECTURE.md"


def floors(page: str) -> dict[str, int]:
    """The line of each room in the table of floors, lowest first; rooms of one line do not import
    each other."""
    lines = re.findall(r"^\| \d+ \| (.+?) \|", page, re.MULTILINE)
    return {room: i for i, line in enumerate(lines) for room in re.findall(r"`([\w.]+)`", line)}


ROW = floors(PAGE.read_text("utf-8"))
#: hsl/__init__.py and the `__main__` parts: they may import all, none imports them.
TOP = max(ROW.values()) + 1
Sources = Mapping[str, ast.Module]


def sources(root: Path = HSL) -> dict[str, ast.Module]:
    """Every module under ``root``, by its dotted name; a package by its own."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def parse(modules: Mapping[str, str]) -> dict[str, ast.Module]:
    """Modules given as text."""
    return {name: ast.parse(text) for name, text in modules.items()}


def without_main(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes of a module, except those of its ``if __name__ == "__main__":``."""
    for node in tree.body:
        is_main = isinstance(node, ast.If) and "__main__" in ast.dump(node.test)
        for part in node.orelse if is_main else [node]:
            yield from ast.walk(part)


def targets(module: str, node: ast.AST, modules: Sources, package: bool) -> Iterator[str]:
    """The hsl modules that an import statement, or an import_module("..."), names."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        parents = module.split(".") if package else module.split(".")[:-1]
        up = parents[: len(parents) - node.level + 1] if node.level else []
        base = ".".join([*up, *([node.module] if node.module else [])])
        for alias in node.names:
            names.append(f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else None
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
            names = [node.args[0].value]
    yield from (name for name in names if name.split(".")[0] == "hsl")


def imports(modules: Sources) -> dict[str, set[str]]:
    """Which hsl modules each module imports, wherever in its text."""
    packages = {name.rpartition(".")[0] for name in modules} | {"hsl"}
    return {
        name: {
            target
            for node in without_main(tree)
            for target in targets(name, node, modules, name in packages)
        }
        for name, tree in modules.items()
    }


def row_of(module: str) -> int | None:
    """The row of a module: its own, else its room's; None where it has none."""
    parts = module.split(".")
    if len(parts) == 1 or parts[-1] == "__main__":
        return TOP
    return ROW.get(".".join(parts[1:3]), ROW.get(parts[1]))


def faults(modules: Sources) -> list[str]:
    """One line for every import that does not point down, and for every module without a floor."""
    lines = []
    for name in modules:
        if row_of(name) is None:
            lines.append(f"{name} has no floor: add it to the table in ARCHITECTURE.md")
    for name, imported in imports(modules).items():
        for target in sorted(imported):
            own, other = row_of(name), row_of(target)
            if own is None or other is None:
                continue
            inside = own == other < TOP and name.split(".")[1] == target.split(".")[1]
            if not inside and other >= own:
                lines.append(f"{name} imports {target}, which is not on a lower floor")
    return lines


def cycle(modules: Sources) -> list[str]:
    """Modules that import each other in a ring; empty where none do."""
    graph = {name: imported - {name} for name, imported in imports(modules).items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_point_down() -> None:
    assert not faults(sources())


def test_no_module_imports_itself_in_a_ring() -> None:
    assert not cycle(sources())


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("hsl.losses", "import hsl.process"),
        ("hsl.losses", "from hsl import process"),
        ("hsl.losses", "from hsl.process import reverse"),
        ("hsl.losses", "from .process import reverse"),
        ("hsl.data.toyfaces.renderer", "from ...process import reverse"),
        ("hsl.losses", "def f():\n    from hsl.process import reverse"),
        ("hsl.losses", "if TYPE_CHECKING:\n    from hsl.process import Step"),
        ("hsl.losses", "importlib.import_module('hsl.process')"),
        ("hsl.errors", "from hsl.losses import identity_loss"),
        ("hsl.losses", "from hsl.metrics import Effect"),
        ("hsl.methods.asyrp", "from hsl.train import main"),
        ("hsl.train", "from hsl.edit import main"),
        ("hsl.process", "from hsl import __version__"),
        ("hsl.process", "from hsl.data.__main__ import main"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_caught(module: str, text: str) -> None:
    others = dict.fromkeys(("hsl", "hsl.process", "hsl.losses", "hsl.metrics", "hsl.train"), "")
    assert len(faults(parse({**others, module: text}))) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("hsl.process", "from hsl import losses"),
        ("hsl.assets", "from hsl.errors import HslError"),
        ("hsl.methods.asyrp", "from hsl.methods.base import Method"),
        ("hsl.train", "from hsl.callbacks import Grids"),
        ("hsl.store", "if __name__ == '__main__':\n    from hsl.callbacks import Grids"),
        ("hsl.data.__main__", "from hsl.callbacks import Grids"),
        ("hsl.process", "import torch, hslib"),
    ],
)
def test_an_import_that_points_down_is_let_through(module: str, text: str) -> None:
    assert not faults(parse({"hsl": "", "hsl.losses": "", module: text}))


def test_a_module_without_a_floor_is_caught() -> None:
    assert faults(parse({"hsl.utils": ""})) == [
        "hsl.utils has no floor: add it to the table in ARCHITECTURE.md"
    ]


def test_a_ring_is_caught() -> None:
    ring = {"hsl.data.a": "from hsl.data.b import x", "hsl.data.b": "import hsl.data.a"}
    assert set(cycle(parse(ring))) == set(ring)


# Judges measure; they enter no loss, no method, and nothing that chooses.

#: Classes of judges, and where the names of the bundled ones stand (`hsl.bundled`).
JUDGES = {"Segmenter", "judge", "segmenter"}
#: Where losses, labels, intervals and strengths come from. (What a network's own file says of its
#: role is looked at when it is loaded: `require_guide`.)
CHOOSE = (
    "hsl.losses", "hsl.methods", "hsl.intervals", "hsl.study", "hsl.edit",
    "hsl.callbacks.intervals", "hsl.callbacks.strength", "hsl.callbacks.mixing",
)  # fmt: skip


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of the constants that stand alone as a statement."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def judges(tree: ast.Module) -> list[str]:
    """Where a module names a judge, or a network that is one, outside its docstrings."""
    found, texts = [], docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = node.value if "judge" in node.value.lower() and id(node) not in texts else ""
        elif isinstance(node, ast.alias):
            named = node.name.rpartition(".")[2]
            named = named if named in JUDGES else ""
        elif isinstance(node, ast.Attribute | ast.Name):
            named = node.attr if isinstance(node, ast.Attribute) else node.id
            named = named if named in JUDGES else ""
        else:
            continue
        if named:
            found.append(f"line {getattr(node, 'lineno', '?')}: {named}")
    return found


def test_no_judge_enters_a_loss_a_method_or_a_choice() -> None:
    choose = {name: tree for name, tree in sources().items() if name.startswith(CHOOSE)}
    assert all(any(name.startswith(part) for name in choose) for part in CHOOSE)
    assert not {name: found for name, tree in choose.items() if (found := judges(tree))}


def test_every_callback_and_command_that_loads_a_network_asks_for_its_role() -> None:
    """A network is named by the user, so that only its file can say whether it is a judge."""
    asked = {"require_guide", "require_judge"}
    loads = {"AttributeClassifier", "PerceptualDistance"}
    for name, tree in sources().items():
        if not name.startswith(("hsl.callbacks", "hsl.study")):
            continue
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        loaded = called & {f"{network}.load" for network in loads}
        assert called & asked or not loaded, f"{name} loads a network without a look at its role"


@pytest.mark.parametrize(
    "text",
    [
        "asset('toyfaces/judge')",
        "asset(f'toyfaces/{size}/clip-judge')",
        "from hsl.encoders import Segmenter",
        "from hsl.encoders import segmenter\nsegmenter.Segmenter()",
        "PerceptualDistance.load('toyfaces/judge')",
        "PerceptualDistance.load(BUNDLED.judge)",
    ],
)
def test_a_judge_in_a_loss_is_caught(text: str) -> None:
    assert judges(ast.parse(text))


def test_a_docstring_may_speak_of_judges() -> None:
    assert not judges(ast.parse('"""No judge."""\ndef f():\n    """Refuses a judge."""\n'))


# torch.load unpickles, and so runs, what a file says.


def unsafe_loads(tree: ast.Module) -> list[int]:
    """Lines that call torch.load without weights_only=True."""
    nodes = list(ast.walk(tree))
    torches = {"torch"} | {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "torch"
    }
    loads = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "torch"
        for alias in node.names
        if alias.name == "load"
    }
    lines = []
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        safe = "weights_only=True" in (ast.unparse(k) for k in node.keywords)
        if function in loads | {f"{name}.load" for name in torches} and not safe:
            lines.append(node.lineno)
    return lines


def test_every_torch_load_loads_weights_only() -> None:
    assert not {name: lines for name, tree in sources().items() if (lines := unsafe_loads(tree))}


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "import torch as t\nt.load(path)",
        "from torch import load\nload(path)",
    ],
)
def test_an_unsafe_load_is_caught(text: str) -> None:
    assert unsafe_loads(ast.parse(text))
    assert not unsafe_loads(ast.parse("torch.load(path, weights_only=True)"))
