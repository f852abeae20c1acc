"""Damaged files and odd options end in 0, 1 or 2, and a refusal is one line; never a traceback, a
hang, a half file or a changed input. ``python tests/fuzzing.py N`` tries input N alone."""

import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from fuzz_inputs import KINDS, World, case_of, kind_of, made_world
from fuzzing import attempt

pytestmark = pytest.mark.usefixtures("quiet")
#: How many inputs one test tries.
PIECE = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return made_world(tmp_path_factory.mktemp("world"))


def check(numbers: range, world: World, work: Path) -> dict[str, set[int | None]]:
    """Each input ends as it should; the exit statuses that there were, by kind."""
    wrong, statuses = [], defaultdict[str, set[int | None]](set)
    for number in numbers:
        case = case_of(number, world, work / str(number))
        outcome = attempt(case, work / str(number))
        statuses[kind_of(number)].add(outcome.status)
        if outcome.faults:
            wrong.append(f"input {number}: {case}\n    {outcome.error.strip()[-600:]}\n    "
                         + "\n    ".join(outcome.faults))  # fmt: skip
        shutil.rmtree(work / str(number))
    assert not wrong, f"{len(wrong)} of {len(numbers)}:\n" + "\n".join(wrong)
    return statuses


@pytest.mark.parametrize("first", range(0, 200, PIECE))
def test_200_inputs(first: int, world: World, tmp_path: Path) -> None:
    check(range(first, first + PIECE), world, tmp_path)


@pytest.fixture(scope="module")
def seen() -> defaultdict[str, set[int | None]]:
    """The exit statuses of the many, by kind."""
    return defaultdict(set)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(200, 3200, 200))
def test_3000_more_inputs(first: int, world: World, tmp_path: Path, seen) -> None:
    """None ends otherwise; of all together some of each kind are taken, and some refused (of 200
    it may be chance that none is)."""
    for kind, statuses in check(range(first, first + 200), world, tmp_path).items():
        seen[kind] |= statuses
    if first + 200 == 3200 and len(seen) == len(KINDS):
        one_sided = {kind: found for kind, found in seen.items() if not {0, 2} <= found}
        assert not one_sided, one_sided
