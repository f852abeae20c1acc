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


def check(numbers: range, world: World, work: Path) -> None:
    """Each input ends as it should; of many, some of each kind are taken, and some refused."""
    wrong, statuses = [], defaultdict[str, list[int | None]](list)
    for number in numbers:
        case = case_of(number, world, work / str(number))
        outcome = attempt(case, work / str(number))
        statuses[kind_of(number)].append(outcome.status)
        if outcome.faults:
            wrong.append(f"input {number}: {case}\n    {outcome.error.strip()[-600:]}\n    "
                         + "\n    ".join(outcome.faults))  # fmt: skip
        shutil.rmtree(work / str(number))
    assert not wrong, f"{len(wrong)} of {len(numbers)}:\n" + "\n".join(wrong)
    if len(numbers) > 10 * len(KINDS):
        one_sided = {kind: set(seen) for kind, seen in statuses.items() if not {0, 2} <= set(seen)}
        assert not one_sided, one_sided


@pytest.mark.parametrize("first", range(0, 200, PIECE))
def test_200_inputs(first: int, world: World, tmp_path: Path) -> None:
    check(range(first, first + PIECE), world, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(200, 3200, 200))
def test_3000_more_inputs(first: int, world: World, tmp_path: Path) -> None:
    check(range(first, first + 200), world, tmp_path)
