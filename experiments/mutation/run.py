"""Do the tests notice when the code is changed? (No part of CI.)

    python experiments/mutation/run.py run --out mutation.jsonl
    python experiments/mutation/run.py report mutation.jsonl
    python experiments/mutation/run.py try hsl/process.py 't < t_boost' 't <= t_boost' TESTS

``run`` draws mutants (`mutants`) of the modules in `CONCERNED` from a seed and tries each against
the test files that concern its module, in their order, up to the first failure. A result is a
line of the file, so that a run that was stopped goes on by the same command. The libraries are
imported once: each mutant is tried in a fork, where only `hsl` is imported anew. ``try`` does the
same with one replacement of text.
"""

import argparse
import ast
import contextlib
import importlib.machinery
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from mutants import Mutant, mutants, mutated

ROOT = Path(__file__).resolve().parents[2]
#: By the beginning of a module's path, the test files that concern it, fast ones first; "{name}"
#: stands for the module's own name.
CONCERNED = {
    "hsl/process.py": ["tests/test_process.py", "tests/test_records.py",
                       "tests/test_asyrp_golden.py", "tests/methods/test_released.py"],
    "hsl/injection.py": ["tests/test_process.py", "tests/test_boundary.py",
                         "tests/test_asyrp_golden.py", "tests/methods/test_base.py"],
    "hsl/metrics/": ["tests/metrics/test_metrics.py", "tests/callbacks/test_evaluate.py"],
    "hsl/methods/asyrp.py": ["tests/methods/test_asyrp.py", "tests/methods/test_asyrp_golden.py",
                             "tests/methods/test_base.py"],
    "hsl/methods/base.py": ["tests/methods/test_base.py", "tests/methods/test_asyrp.py",
                            "tests/methods/test_linear.py"],
    "hsl/methods/features.py": ["tests/methods/test_linear.py"],
    "hsl/methods/linear.py": ["tests/methods/test_linear.py", "tests/callbacks/test_mixing.py"],
    "hsl/methods/released.py": ["tests/methods/test_released.py"],
    "hsl/solvers/": ["tests/solvers/test_{name}.py", "tests/solvers/test_solvers.py",
                     "tests/solvers/test_regressions.py", "tests/solvers/test_scores.py",
                     "tests/solvers/test_products.py", "tests/solvers/test_svm.py",
                     "tests/solvers/test_golden.py", "tests/methods/test_linear.py"],
    "hsl/callbacks/": ["tests/callbacks/test_{name}.py", "tests/callbacks",
                       "tests/test_checkpoints.py", "tests/test_smoke.py"],
}  # fmt: skip
HEAVY = ("torch", "lightning.pytorch", "diffusers", "torchvision", "torchmetrics", "open_clip",
         "matplotlib.figure", "scipy.special", "sklearn.svm", "lpips", "PIL.Image", "pytest",
         "datasets", "jsonargparse", "wandb")  # fmt: skip


def modules() -> dict[Path, list[str]]:
    """Each module under test, and its test files."""
    found = {}
    for begin, tests in CONCERNED.items():
        under = ROOT / begin
        for path in sorted(under.glob("*.py")) if under.is_dir() else [under]:
            if path.name != "__init__.py":
                named = dict.fromkeys(test.format(name=path.stem) for test in tests)
                found[path] = [test for test in named if (ROOT / test).exists()]
    return found


def sampled(n: int, seed: int) -> list[tuple[Mutant, list[str]]]:
    """``n`` mutants of all modules, drawn without replacement."""
    every = [(m, tests) for path, tests in modules().items() for m in mutants(path, ROOT)]
    return random.Random(seed).sample(every, n)


def outcome(file: Path, tree: ast.Module | None, tests: list[str], limit: int) -> str:
    """What the tests say of a file with that tree: ``killed``, ``survived`` or ``timeout``."""
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.alarm(limit)  # ends the process: nobody catches it
        _in_child(file, tree, tests)
    try:
        _, status = os.waitpid(child, 0)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) == signal.SIGALRM else "killed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


def _in_child(file: Path, tree: ast.Module | None, tests: list[str]) -> None:
    import pytest

    code = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: importlib.machinery.SourceFileLoader, name: str) -> object:
        if tree is not None and Path(loader.path) == file:
            return compile(tree, loader.path, "exec")
        return code(loader, name)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    if os.environ.get("MUTATION_SHOWS") != "1":
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
    status = 1
    for test in tests:
        status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", test]))
        if status not in (0, 5):
            break
        status = 0
    os._exit(status)


def run(out: Path, n: int, seed: int, limit: int, until: float) -> None:
    """Try what has not been tried yet, until a time."""
    done = {tuple(json.loads(line)["mutant"][:2]) for line in _lines(out)}
    for mutant, tests in sampled(n, seed):
        if mutant[:2] in done:
            continue
        if time.time() > until:
            print("time is up: the same command goes on")
            return
        began, file = time.perf_counter(), ROOT / mutant.file
        said = outcome(file, mutated(file, mutant.number), tests, limit)
        row = {"mutant": mutant, "outcome": said, "seconds": round(time.perf_counter() - began, 1)}
        with out.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        print(f"{said:9} {mutant.file}:{mutant.line} {mutant.what}", flush=True)


def report(out: Path) -> None:
    """Print the counts, and the survivors."""
    rows = [json.loads(line) for line in _lines(out)]
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


def _lines(out: Path) -> list[str]:
    return out.read_text().splitlines() if out.exists() else []


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["run", "report", "try", "clean"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--out", default="mutation.jsonl")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=300, help="seconds a mutant")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no mutant after these")
    options = parser.parse_args()
    if options.verb == "report":
        report(Path(options.rest[0]))
        return
    sys.dont_write_bytecode = True
    for name in HEAVY:
        importlib.import_module(name)
    if options.verb == "try":
        file, old, new, *tests = options.rest
        print(attempt(ROOT / file, old, new, tests, options.limit))
    elif options.verb == "clean":  # how long the tests take, and whether they pass as they are
        for file, tests in modules().items():
            began = time.perf_counter()
            said = outcome(file, None, tests, 10 * options.limit)
            print(f"{said} {time.perf_counter() - began:.0f} s {file.name} {tests}", flush=True)
    else:
        until = time.time() + 60 * options.minutes
        run(Path(options.out), options.n, options.seed, options.limit, until)


if __name__ == "__main__":
    main()
