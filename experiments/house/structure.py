"""How the code of a checkout is built, as numbers: read as text, nothing of it is run."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

#: A function of more lines does not fit a screen.
SCREEN = 40
#: So many lines of code that are the same elsewhere make a repeated place.
ALIKE = 5
ROOM = "data/toyfaces"


def modules(root: Path) -> dict[str, str]:
    """The text of every module of the package in a checkout, by its path below ``hsl/``."""
    hsl = root / "hsl"
    return {p.relative_to(hsl).as_posix(): p.read_text("utf-8") for p in sorted(hsl.rglob("*.py"))}


def structure(root: Path) -> dict[str, int | str]:
    """The figures of a checkout."""
    texts = modules(root)
    lengths = {name: text.count("\n") for name, text in texts.items()}
    longest = max(lengths, key=lengths.__getitem__)
    functions = [n for text in texts.values() for n in function_lengths(text)]
    return {
        "modules": len(texts),
        "modules at the root of hsl/": sum("/" not in name for name in texts),
        "longest file (lines)": f"{lengths[longest]} ({longest})",
        "files of more than 300 lines": sum(n > 300 for n in lengths.values()),
        "functions": len(functions),
        f"functions of more than {SCREEN} lines": sum(n > SCREEN for n in functions),
        "modules outside its room that name ToyFaces": len(knowing(texts)),
        f"repeated places (the same {ALIKE} lines of code)": len(repeats(texts)),
    }


def function_lengths(text: str) -> Iterator[int]:
    """Lines of each function, without its decorators and its docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            said = ast.get_docstring(node) is not None
            assert node.end_lineno is not None and first.end_lineno is not None
            yield (
                node.end_lineno
                - node.lineno
                + 1
                - (first.end_lineno - first.lineno + 1 if said else 0)
            )


def knowing(texts: dict[str, str]) -> list[str]:
    """Modules outside its room that name ToyFaces, in code, comments or docstrings."""
    named = re.compile(r"toy\s?faces", re.IGNORECASE)
    return [n for n, text in texts.items() if not n.startswith(ROOM) and named.search(text)]


def repeats(texts: dict[str, str]) -> list[tuple[str, str]]:
    """Pairs of places, ``file:line``, that share a run of `ALIKE` lines: a longer run counts
    once."""
    windows: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    codes = {name: list(code_lines(text)) for name, text in texts.items()}
    for name, lines in codes.items():
        for i in range(len(lines) - ALIKE + 1):
            windows[tuple(code for _, code in lines[i : i + ALIKE])].append((name, i))
    pairs = {
        (one, two)
        for places in windows.values()
        for k, one in enumerate(places)
        for two in places[k + 1 :]
        if one[0] != two[0] or two[1] - one[1] >= ALIKE
    }
    starts = [
        (one, two)
        for one, two in pairs
        if ((one[0], one[1] - 1), (two[0], two[1] - 1)) not in pairs
    ]
    line = {name: [n for n, _ in lines] for name, lines in codes.items()}
    return sorted((f"{a}:{line[a][i]}", f"{b}:{line[b][j]}") for (a, i), (b, j) in starts)


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbers and text of the lines of a module in which something is done."""
    tree, skipped = ast.parse(text), set[int]()
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            assert isinstance(node, ast.stmt) and node.end_lineno is not None
            skipped.update(range(node.lineno, node.end_lineno + 1))
    for number, line in enumerate(text.splitlines(), 1):
        code = line.partition("#")[0].strip()
        if number in skipped or not re.search(r"[(=:]|return|yield|raise", code):
            continue  # of lists of names nothing is repeated
        yield number, code
