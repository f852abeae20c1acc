"""Mutants of a module: the same source with one small thing changed.

A mutant is a place in the syntax tree and what is put there: a comparison, an operator, a number,
a truth value or a condition turned round, an argument or a statement left out. Texts, types,
docstrings and what is raised are left alone: no test needs to know their words.
"""

import ast
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip


class Mutant(NamedTuple):
    """The ``number``-th change of a file; ``line`` and ``what`` say where and which."""

    file: str
    number: int
    line: int
    what: str


def mutants(file: Path, root: Path) -> list[Mutant]:
    """All mutants of a file."""
    name = file.relative_to(root).as_posix()
    return [
        Mutant(name, number, line, what)
        for number, (line, what, _) in enumerate(_changes(ast.parse(file.read_text())))
    ]


def mutated(file: Path, number: int) -> ast.Module:
    """The tree of a file with one change made."""
    tree = ast.parse(file.read_text())
    for at, (_, _, change) in enumerate(_changes(tree)):
        if at == number:
            change()
            return ast.fix_missing_locations(tree)
    raise IndexError(f"{file} has no mutant {number}")


def _changes(tree: ast.Module) -> Iterator[tuple]:
    """Line, description and a function that makes the change, of each."""
    for node, parents in _walk(tree, ()):
        yield from _of_expression(node)
        yield from _of_statement(node, parents[-1] if parents else None)


def _walk(node: ast.AST, parents: tuple) -> Iterator[tuple[ast.AST, tuple]]:
    """Every node that runs, with those that it is in."""
    yield node, parents
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                continue
            yield from _walk(child, (*parents, node))


def _shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:70]


def _of_expression(node: ast.AST) -> Iterator[tuple]:
    def put(change: str, **fields: object) -> tuple:
        before, twin = _shown(node), copy.deepcopy(node)
        for key, value in fields.items():
            setattr(twin, key, value)
        return (
            node.lineno,
            f"{before} -> {change or _shown(twin)}",
            lambda: [setattr(node, key, value) for key, value in fields.items()],
        )

    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield put("", ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        text = isinstance(node, ast.BinOp) and any(_is_text(s) for s in (node.left, node.right))
        if not text:
            yield put("", op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield put("", op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield put("", op=ast.UAdd())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield put("", operand=ast.UnaryOp(ast.Not(), node.operand))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield put("", value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield put("", value=node.value + 1)
    elif isinstance(node, ast.IfExp):
        yield put("", body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield (
            node.target.lineno,
            f"if {_shown(node.ifs[0])} -> (none)",
            lambda: setattr(node, "ifs", node.ifs[1:]),
        )
    elif isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg and keyword.arg not in ("dtype", "device", "generator"):
                yield put(
                    f"without {keyword.arg}",
                    keywords=[k for k in node.keywords if k is not keyword],
                )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _of_statement(node: ast.AST, parent: ast.AST | None) -> Iterator[tuple]:
    branches = isinstance(node, ast.If | ast.While)
    if branches and (node.orelse or not all(isinstance(s, ast.Raise) for s in node.body)):
        yield (
            node.lineno,
            f"if {_shown(node.test)} -> if not ...",
            lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test)),
        )
    left_out = isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    )
    if left_out and parent is not None:
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and node in block:
                yield (
                    node.lineno,
                    f"{_shown(node)} -> (left out)",
                    lambda block=block: block.__setitem__(block.index(node), ast.Pass()),
                )
