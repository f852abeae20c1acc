"""Do the tests notice when the code is changed? (No part of CI.)

    python experiments/mutation/run.py lines --lines lines.json
    python experiments/mutation/run.py run --lines lines.json --out mutation.jsonl
    python experiments/mutation/run.py report mutation.jsonl
    python experiments/mutation/run.py try hsl/process/loops.py 't < t_boost' 't <= t_boost' TESTS

``lines`` runs the test files that concern each module of `CONCERNED` once, and notes which lines
each test runs and how long it takes. ``run`` draws mutants (`mutants`) of those modules from a
seed and tries each against the tests that run its line, quick ones first, up to the first
failure. A result is a line of the file, so that a run that was stopped goes on by the same
command. Libraries and tests are imported once, and each mutant is tried in a fork: its code is put
into the functions that are there, or, where it is no function's, `hsl` is imported anew. ``try``
does the same with one replacement of text.
"""

import argparse
import ast
import contextlib
import gc
import importlib.machinery
import inspect
import json
import os
import random
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mutants import Mutant, mutants, mutated

ROOT = Path(__file__).resolve().parents[2]
#: By the beginning of a module's path, the test files that concern it; "{name}" stands for the
#: module's own name.
CONCERNED = {
    "hsl/process/": ["tests/process/test_process.py", "tests/edit/test_records.py",
                       "tests/test_asyrp_golden.py", "tests/released/test_boundary_diffusion.py",
                       "tests/backbones/test_families.py"],
    "hsl/metrics/": ["tests/metrics", "tests/callbacks/test_evaluate.py"],
    "hsl/methods/": ["tests/methods", "tests/callbacks/test_mixing.py"],
    "hsl/solvers/": ["tests/solvers"],
    "hsl/callbacks/": ["tests/callbacks"],
    "hsl/train/": ["tests/train", "tests/files/test_checkpoints.py"],
}  # fmt: skip
#: Tests of other processes, which see no mutant.
OTHERS = "not two and not ranks and not processes"
HEAVY = ("torch", "lightning.pytorch", "diffusers", "torchvision", "torchmetrics", "open_clip",
         "matplotlib.figure", "scipy.special", "sklearn.svm", "lpips", "PIL.Image", "pytest",
         "datasets", "jsonargparse", "wandb", "hsl.train", "hsl.edit", "hsl.study")  # fmt: skip


def modules() -> dict[Path, list[Path]]:
    """Each module under test, and the test files that concern it."""
    found = {}
    for begin, tests in CONCERNED.items():
        for path in _files(ROOT / begin, "*.py"):
            if path.name != "__init__.py":
                found[path] = [file for test in tests for file in _files(ROOT / test, "test_*.py")]
    return found


def _files(path: Path, pattern: str) -> list[Path]:
    return sorted(path.glob(pattern)) if path.is_dir() else [path]


def sampled(every: int, seed: int, only: str) -> list[Mutant]:
    """One of ``every`` mutants of each module, drawn without replacement; of modules whose path
    begins with ``only``."""
    drawn = []
    for path in modules():
        found = mutants(path, ROOT)
        if found and found[0].file.startswith(only):
            n = max(round(len(found) / every), 1)
            drawn += random.Random(f"{seed} {found[0].file}").sample(found, min(n, len(found)))
    return drawn


def tests_of(mutant: Mutant, lines: dict, most: float) -> list[str]:
    """The tests that run a mutant's line, or, of a line that runs when its module is imported, its
    function's or class's; quick ones first, together no longer than ``most`` seconds."""
    concerned = [str(path.relative_to(ROOT)) for path in modules()[ROOT / mutant.file]]
    known = {k: v for k, v in lines.items() if k.partition("::")[0] in concerned}
    there = {mutant.line}
    found = {k for k, v in known.items() if there & set(v["lines"].get(mutant.file, ()))}
    if not found:
        there = _scope(ROOT / mutant.file, mutant.line)
        found = {k for k, v in known.items() if there & set(v["lines"].get(mutant.file, ()))}
    files = Counter[str]()
    for test in found:
        files[test.partition("::")[0]] += known[test]["seconds"]

    def order(test: str) -> tuple:  # a file's tests together: they share what they stand on
        file = test.partition("::")[0]
        return files[file], file, known[test]["seconds"]

    chosen, total = [], 0.0
    for test in sorted(found, key=order):
        total += known[test]["seconds"]
        if total > most:
            break
        chosen.append(test)
    return chosen


def _scope(file: Path, line: int) -> set[int]:
    """The lines of the innermost function, class or module around a line that has a body."""
    tree = ast.parse(file.read_text())
    around = [tree] + [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and node.lineno <= line <= (node.end_lineno or 0)
    ]
    inner = around[-1]
    return set(range(inner.body[0].lineno, (inner.body[-1].end_lineno or 0) + 1))


class Lines:
    """A plugin of pytest: which lines of some files each test runs. What a file's fixtures run
    counts for all its tests, as the first of them sets up for the others."""

    def __init__(self, files: set[str]) -> None:
        self.files, self.found, self.current = files, {}, None
        self.shared: dict[str, set] = {}

    def pytest_runtest_setup(self, item) -> None:
        self.current = self.shared.setdefault(item.nodeid.partition("::")[0], set())
        sys.settrace(self._enter)

    def pytest_runtest_call(self, item) -> None:
        self.current = self.found[item.nodeid] = set()

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "teardown":
            sys.settrace(None)
        if report.when == "call":
            self.seconds = getattr(self, "seconds", {}) | {report.nodeid: report.duration}

    def _enter(self, frame, event, argument):
        if frame.f_code.co_filename not in self.files:
            return None
        return self._line(frame, event, argument)

    def _line(self, frame, event, argument):
        self.current.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def rows(self) -> dict:
        """For each test its seconds, and its lines by file."""
        rows = {}
        for test, seen in self.found.items():
            lines: dict[str, list[int]] = {}
            for file, line in sorted(seen | self.shared[test.partition("::")[0]]):
                lines.setdefault(str(Path(file).relative_to(ROOT)), []).append(line)
            rows[test] = {"seconds": self.seconds.get(test, 1e6), "lines": lines}
        return rows


def note_lines(out: Path, only: str) -> None:
    """Run every concerned test file in a fork, and note what its tests run."""
    known = json.loads(out.read_text()) if out.exists() else {}
    done = {test.partition("::")[0] for test in known}
    concerned = [tests for path, tests in modules().items()
                 if str(path.relative_to(ROOT)).startswith(only)]  # fmt: skip
    every = dict.fromkeys(file for tests in concerned for file in tests)
    for file in every:
        name = str(file.relative_to(ROOT))
        if name in done:
            continue
        part, began = out.with_suffix(".part"), time.perf_counter()
        if os.fork() == 0:
            _quiet()
            import pytest

            plugin = Lines({str(path) for path in modules()})
            os.chdir(ROOT)
            options = ["-q", "-p", "no:cacheprovider", "-k", OTHERS]
            pytest.main([*options, name], plugins=[plugin])
            part.write_text(json.dumps(plugin.rows()))
            os._exit(0)
        os.wait()
        known |= json.loads(part.read_text())
        part.unlink()
        out.write_text(json.dumps(known))
        print(f"{time.perf_counter() - began:.0f} s {name}", flush=True)


def outcome(file: Path, tree: ast.Module | None, tests: list[str], limit: int) -> str:
    """What the tests say of a file with that tree: ``killed``, ``survived`` or ``timeout``."""
    return _said(lambda: _in_child(file, tree, tests), limit)


def _said(work: Callable[[], int], limit: int) -> str:
    """The outcome of tests in a fork, by the status that they end with."""
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.alarm(limit)  # ends the process: nobody catches it
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)
    try:
        _, status = os.waitpid(child, 0)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) == signal.SIGALRM else "killed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


def _in_child(file: Path, tree: ast.Module | None, tests: list[str]) -> int:
    import pytest

    os.chdir(ROOT)
    if tree is not None and not patched(file, tree):
        code = importlib.machinery.SourceFileLoader.get_code

        def get_code(loader: importlib.machinery.SourceFileLoader, name: str) -> object:
            if Path(loader.path) == file:
                return compile(tree, loader.path, "exec")
            return code(loader, name)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
        for name in [name for name in sys.modules if name.partition(".")[0] == "hsl"]:
            del sys.modules[name]
    _quiet()
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))


class Trial:
    """A plugin of pytest that tries mutants once the tests are collected, in place of running
    them: so each costs no more than the tests that run its line."""

    def __init__(self, trees: dict[Mutant, ast.Module], tests: Callable, note: Callable,
                 limit: int) -> None:  # fmt: skip
        self.trees, self.tests, self.note, self.limit = trees, tests, note, limit
        self.failed = False

    def pytest_runtestloop(self, session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for mutant, tree in self.trees.items():
            wanted = [items[test] for test in self.tests(mutant) if test in items]
            began = time.perf_counter()
            said = _said(lambda m=mutant, t=tree, w=wanted: self._tried(m, t, w), self.limit)
            self.note(mutant, said, len(wanted), time.perf_counter() - began)
        return True

    def _tried(self, mutant: Mutant, tree: ast.Module, items: list) -> int:
        assert patched(ROOT / mutant.file, tree)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return 1
        return 0

    def pytest_runtest_logreport(self, report) -> None:
        self.failed |= report.failed


def patched(file: Path, tree: ast.Module) -> bool:
    """Put the changed code into the functions of an imported module; whether that does it."""
    changed = _changed(file, tree)
    for thing in gc.get_objects() if changed else ():
        if type(thing) is types.FunctionType and thing.__code__.co_filename == str(file):
            code = thing.__code__
            new = changed.get((code.co_qualname, code.co_firstlineno))
            if new is not None:
                thing.__code__ = new
    return bool(changed)


def _changed(file: Path, tree: ast.Module) -> dict:
    """The functions that a tree changes, by name and line; none if it changes what runs at import:
    constants, defaults, class bodies."""
    changed: dict[tuple[str, int], types.CodeType] = {}
    old = compile(ast.parse(file.read_text()), str(file), "exec")
    alone = _functions(old, compile(tree, str(file), "exec"), changed)
    return changed if alone else {}


def _functions(old: types.CodeType, new: types.CodeType, changed: dict) -> bool:
    """Collect the functions that differ; False if something else does."""
    is_function = bool(old.co_flags & inspect.CO_OPTIMIZED)
    if is_function and old != new:
        changed[old.co_qualname, old.co_firstlineno] = new
    inner = [[c for c in code.co_consts if isinstance(c, types.CodeType)] for code in (old, new)]
    if not is_function:
        rest = [[c for c in code.co_consts if not isinstance(c, types.CodeType)]
                for code in (old, new)]  # fmt: skip
        if (
            old.co_code != new.co_code
            or repr(rest[0]) != repr(rest[1])
            or len(inner[0]) != len(inner[1])
        ):
            return False
    return all([_functions(a, b, changed) for a, b in zip(*inner, strict=False)])


def _quiet() -> None:
    if os.environ.get("MUTATION_SHOWS") != "1":
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)


def run(out: Path, lines: dict, options: argparse.Namespace) -> None:
    """Try what has not been tried yet, module by module."""
    done = {key for key, row in _rows(out).items()
            if not (options.again and row["outcome"] == "survived")}  # fmt: skip

    def note(mutant: Mutant, said: str, tests: int, seconds: float) -> None:
        row = {"mutant": mutant, "outcome": said, "tests": tests, "seconds": round(seconds, 1)}
        with out.open("a") as rows:
            rows.write(json.dumps(row) + "\n")

    def tests(mutant: Mutant) -> list[str]:
        return tests_of(mutant, lines, options.most)

    for file, files in modules().items():
        name = str(file.relative_to(ROOT))
        drawn = sampled(options.every, options.seed, name) if name.startswith(options.only) else []
        trees = {m: mutated(file, m.number) for m in drawn if m[:2] not in done}
        inside = {m: tree for m, tree in trees.items() if _changed(file, tree) and tests(m)}
        if inside:
            trial = Trial(inside, tests, note, options.limit)
            _said(lambda t=trial, f=files: _collect(t, f), 10**6)
        for mutant in trees.keys() - inside.keys():
            began, wanted = time.perf_counter(), tests(mutant)
            said = outcome(file, trees[mutant], wanted, options.limit) if wanted else "survived"
            note(mutant, said, len(wanted), time.perf_counter() - began)


def _collect(trial: Trial, files: list[Path]) -> int:
    import pytest

    os.chdir(ROOT)
    _quiet()
    return int(pytest.main(["-q", "-p", "no:cacheprovider", *map(str, files)], plugins=[trial]))


def report(out: Path) -> None:
    """Print the counts, and the survivors."""
    rows = list(_rows(out).values())
    counts = Counter(row["outcome"] for row in rows)
    print(f"{len(rows)} mutants: {dict(counts)}")
    for row in sorted(rows, key=lambda row: row["mutant"]):
        if row["outcome"] == "survived":
            file, _, line, what = row["mutant"]
            print(f"{file}:{line} {what}")


def attempt(file: Path, old: str, new: str, tests: list[str], limit: int) -> str:
    """The outcome of one replacement."""
    source = file.read_text()
    if source.count(old) != 1:
        raise SystemExit(f"{file} has {source.count(old)} times: {old}")
    return outcome(file, ast.parse(source.replace(old, new)), tests, limit)


def _rows(out: Path) -> dict[tuple, dict]:
    """The last result of each mutant."""
    lines = out.read_text().splitlines() if out.exists() else []
    return {tuple(row["mutant"][:2]): row for row in map(json.loads, lines)}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["lines", "run", "report", "try"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--lines", type=Path, default=Path("lines.json"))
    parser.add_argument("--out", type=Path, default=Path("mutation.jsonl"))
    parser.add_argument("--every", type=int, default=8, metavar="N", help="try one of N mutants")
    parser.add_argument("--only", default="", help="of modules whose path begins so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=300, help="seconds a mutant")
    parser.add_argument("--most", type=float, default=60, help="seconds of tests a mutant")
    parser.add_argument("--again", action="store_true", help="try survivors once more")
    options = parser.parse_args()
    if options.verb == "report":
        report(Path(options.rest[0]))
        return
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    for name in HEAVY:
        importlib.import_module(name)
    if options.verb == "try":
        file, old, new, *tests = options.rest
        print(attempt(ROOT / file, old, new, tests, options.limit))
    elif options.verb == "lines":
        note_lines(options.lines, options.only)
    else:
        run(options.out, json.loads(options.lines.read_text()), options)


if __name__ == "__main__":
    main()
