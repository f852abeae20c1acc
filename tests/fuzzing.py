"""Damage of every kind to all that the commands read, and a check of how they take it.

An input has a number, and is the same whenever it is made: ``python tests/fuzzing.py 17 18`` tries
two and prints what their commands said. `attempt` runs a command in this process and returns what
is wrong with it: a traceback, a hang, another exit status than 0, 1 and 2, a refusal that is not
one line, a file that is not whole, or was the user's.
"""

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from safetensors import safe_open

from hsl.files.leftovers import is_temporary

#: Seconds that no tiny input needs; bytes beyond what the process has that none needs either.
LONGEST, LARGEST = 120, 6 << 30

Command = Callable[[list[str]], int]


class Case(NamedTuple):
    """A command line, and the folder with its inputs; it writes elsewhere."""

    program: str
    main: Command
    arguments: list[str]
    inputs: Path
    fixed: bool = True  # whether the inputs are to stay as they are

    def __str__(self) -> str:
        return f"{self.program} {' '.join(map(ascii, self.arguments))[:600]}"


class Outcome(NamedTuple):
    """How a case ended; ``faults``: what is wrong about that."""

    status: int | None
    error: str
    faults: list[str]


class Hang(BaseException):
    """No Exception, so that nobody takes it for an error of his own."""


def attempt(case: Case, work: Path) -> Outcome:
    """Run a case in the folder ``work``, which holds nothing but its inputs."""
    before, faults = contents(case.inputs), []
    out, err, status = io.StringIO(), io.StringIO(), None
    try:
        with (
            limited(),
            contextlib.chdir(work),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = case.main(case.arguments)
    except Hang as hang:
        faults.append(f"no end after {LONGEST} s: {last_line(hang)}")
    except BaseException as error:
        faults.append(f"traceback: {type(error).__name__}: {last_line(error)}")
    said = err.getvalue()
    if status not in (0, 1, 2, None):
        faults.append(f"exit status {status!r}")
    if "Traceback" in said:
        faults.append("prints a traceback")
    if status == 2:
        lines = said.splitlines()
        if len(lines) != 1 or not lines[0].startswith(f"{case.program}: ") or len(lines[0]) > 2000:
            faults.append(f"not one line: {lines[:3]}")
        elif not lines[0].isprintable():
            faults.append(f"control characters: {lines[0]!a}")
    if case.fixed and contents(case.inputs) != before:
        faults.append("an input is not what it was")
    for path in written(work, case.inputs):
        if status == 2 and case.program != "hsl.study":  # whose tables, once measured, stay
            faults.append(f"refused, but wrote {path.relative_to(work)!a}")
        elif not whole(path):
            faults.append(f"not whole: {path.relative_to(work)!a}")
    return Outcome(status, said, faults)


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """An alarm, and no more memory than a tiny input may ask for."""

    def ring(*_: object) -> None:
        raise Hang

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LONGEST)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LARGEST, hard))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def last_line(error: BaseException) -> str:
    """What an error says, and where it was."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/hsl/" in f.filename] or frames
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
    return f"{' '.join(str(error).split())[:300]} ({where})"


def contents(folder: Path) -> dict[str, bytes]:
    """All regular files of a folder."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def written(work: Path, inputs: Path) -> list[Path]:
    """Files that a command left."""
    return [p for p in work.rglob("*") if p.is_file() and not p.is_relative_to(inputs)]


def whole(path: Path) -> bool:
    """Whether a file can be read to its end."""
    if is_temporary(path.name):
        return False
    try:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118
                    file.get_tensor(key)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".csv", ".tsv"):
            return path.read_text().endswith("\n")
    except Exception:
        return False
    return True


# Damage

NASTY: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 1.5, -0.0, 1e308, -1e308, float("nan"), float("inf"), 10**9,
    10**30, 2**63, "", " ", "x", "nan", "1", "-1", "x" * 300, "\u0000", "a\nb", "\x1b[31m",
    "$x^{$", "$\\alpha$", "é", "e\u0301", "漢字", "\U0001f600", "..", "/dev/null", "~nobody/x",
    [], {}, [[]], [1], [-1], [None], ["x"], [1e400], {"x": 1}, {"": None}, "torch.nn.Linear",
    "os.system",
]  # fmt: skip
NUMBERS = ["0", "1", "-1", "2", "3", "7", "0.5", "1.5", "-0.5", "999", "1000", "nan", "inf", "1e9"]
WORDS = [
    "", " ", "1000000000000000000000", "-1e9", "1e309", "-inf", "0x10", "1_0", "１", "1,5", "x",
    "null", "true", "[]", "{}", "[1", "0.5", "1:2", "-1:1:3", "0:0:0", "1:0:2", "a=b", "=", "=1",
    "Smile=", "Smile=nan", "Smile=1e99", "$x$", "%s", "\x00", "\x1b[1m", "é", "\ud800", ".", "..",
    "/dev/null", "/dev/zero", "/proc/self/mem", "~", "~nobody", "x" * 300, "x/" * 200, "*", "?",
    "-", "--", "cuda", "cpu", "meta", "cuda:99",
]  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The bytes of a file, a few of them changed."""
    kind, n = rng.randrange(9), len(content)
    data = bytearray(content)
    if kind == 0 or not n:
        return bytes(data[: rng.randrange(n + 1)])
    if kind in (1, 2, 3):
        for _ in range(rng.choice([1, 1, 4, 32])):
            data[rng.randrange(n)] ^= 1 << rng.randrange(8)
    elif kind == 4:  # where headers are
        for _ in range(rng.choice([1, 4])):
            data[rng.randrange(min(n, 64))] = rng.randrange(256)
    elif kind == 5:
        at, length = rng.randrange(n), rng.randrange(1, 200)
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif kind == 6:
        at = rng.randrange(n)
        data[at:at] = rng.randbytes(rng.randrange(1, 100))
    elif kind == 7:
        at = rng.randrange(n)
        del data[at : at + rng.randrange(1, 100)]
    else:
        return rng.choice([b"", b"\0" * 64, b"{}", b"null", b"\xff" * 8 + b"{", rng.randbytes(200)])
    return bytes(data)


def damaged_json(value: Any, rng: random.Random) -> Any:
    """A JSON value, one of its parts another, gone, or twice."""
    value = json.loads(json.dumps(value))
    places = list(_places(value, []))
    if not places:
        return rng.choice(NASTY)
    *way, last = rng.choice(places)
    part = value
    for step in way:
        part = part[step]
    kind = rng.randrange(4)
    if kind == 0:
        del part[last]
    elif kind == 1 and isinstance(part, dict):
        part[rng.choice(["x", "", "\u0000", f"{last} "])] = part[last]
    else:
        part[last] = rng.choice(NASTY)
    return value


def _places(value: Any, way: list[Any]) -> Iterator[list[Any]]:
    steps = value if isinstance(value, dict) else range(len(value))
    for step in steps if isinstance(value, dict | list) else ():
        yield [*way, step]
        if isinstance(value[step], dict | list):
            yield from _places(value[step], [*way, step])


def damaged_tensors(
    tensors: dict[str, torch.Tensor], rng: random.Random
) -> dict[str, torch.Tensor]:
    """Tensors, one of them another, of another type or shape, gone, or under another name."""
    found = dict(tensors)
    name = rng.choice(sorted(found))
    value = found.pop(name)
    kind = rng.randrange(9)
    if kind < 3:
        wrong = [float("nan"), float("inf"), 1e38][kind]
        value = value.clone().float()
        value.view(-1)[rng.randrange(value.numel())] = wrong
    elif kind == 3:
        types = [torch.int64, torch.bool, torch.uint8, torch.float64, torch.bfloat16, torch.half]
        value = value.to(rng.choice(types))
    elif kind == 4:
        value = value.reshape(-1)
    elif kind == 5:
        value = torch.cat([value, value]) if value.ndim else value.repeat(2)
    elif kind == 6:
        value = value[None]
    elif kind == 7:
        value = torch.zeros(0)
    else:
        return found or {"x": value}
    return found | {rng.choice([name, name, name, f"{name}.x"]): value.contiguous()}


def main(numbers: list[str]) -> None:
    """Try inputs by number, in a folder that stays."""
    from fuzz_inputs import case_of, made_world

    root = Path(tempfile.mkdtemp(prefix="fuzz"))
    world = made_world(root / "world")
    for number in map(int, numbers):
        work = root / str(number)
        shutil.rmtree(work, ignore_errors=True)
        case = case_of(number, world, work)
        print(f"{number}: {case}\n  in {work}")
        outcome = attempt(case, work)
        print(f"  {outcome.status} {outcome.error.strip()}\n  {outcome.faults}")


if __name__ == "__main__":
    main(sys.argv[1:])
