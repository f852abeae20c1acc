"""What ranks share: who does what, what comes back, and that no GPU's tensor is pickled."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

from hsl import ranks


class Pair(NamedTuple):
    name: str
    value: Any


class OnGpu(torch.Tensor):
    """A tensor that says, until it is moved, that it is on a GPU."""

    is_cuda = True

    def cpu(self):
        return torch.tensor(self.tolist())


def a_gpus(*values: float) -> torch.Tensor:
    return torch.tensor(values).as_subclass(OnGpu)


@pytest.fixture
def second_of_three(monkeypatch) -> list[Any]:
    """This process as rank 1 of 3, of which the others send the same; what was sent."""
    sent: list[Any] = []

    def gather(into: list[Any], mine: Any) -> None:
        sent.append(mine)
        into[:] = [mine] * len(into)

    group = SimpleNamespace(all_gather_object=gather)
    monkeypatch.setattr(ranks, "_distributed", lambda: group)
    monkeypatch.setattr(ranks, "world", lambda: (1, 3))
    return sent


def types_in(value: Any) -> set[type]:
    if isinstance(value, dict):
        return types_in(list(value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(types_in, value))
    return {type(value)}


def test_no_tensor_of_a_gpu_is_sent(second_of_three: list[Any]) -> None:
    mine = {"a": a_gpus(1.0), "b": [Pair("x", a_gpus(2.0))], "c": (3, a_gpus(4.0)), "d": None}
    assert OnGpu in types_in(mine)
    back = ranks.everyones(mine)
    assert types_in(second_of_three) == {torch.Tensor, str, int, type(None)}
    assert len(back) == 3 and isinstance(back[0]["b"][0], Pair)
    assert float(back[2]["c"][1]) == 4.0


def test_each_rank_does_its_share(monkeypatch) -> None:
    """Three ranks one after the other: together they do every task once, and all see all."""
    tasks, done = list("abcdefgh"), []
    parts: list[Any] = []
    monkeypatch.setattr(ranks, "everyones", lambda mine: parts.append(mine) or [mine] * 3)
    for rank in range(3):
        monkeypatch.setattr(ranks, "world", lambda rank=rank: (rank, 3))
        with pytest.raises(KeyError):  # of the other ranks' tasks, which these do not send
            ranks.shared(tasks, lambda task: done.append(task) or task.upper())
    assert sorted(done) == tasks and [len(part) for part in parts] == [3, 3, 2]
    monkeypatch.setattr(ranks, "world", lambda: (2, 3))
    monkeypatch.setattr(ranks, "everyones", lambda _: parts)
    back = ranks.shared(tasks, str.upper)
    assert list(back) == tasks and list(back.values()) == [task.upper() for task in tasks]


def test_alone_nothing_is_sent() -> None:
    tensor = a_gpus(1.0)
    assert ranks.everyones(tensor) == [tensor] and ranks.of_first(lambda: tensor) is tensor
    ranks.add_up([tensor])
    assert ranks.shared([1, 2], lambda n: n + 1) == {1: 2, 2: 3}


def test_only_the_first_rank_computes(monkeypatch) -> None:
    monkeypatch.setattr(ranks, "world", lambda: (1, 2))
    group = SimpleNamespace(
        broadcast_object_list=lambda told, src: told.__setitem__(0, "of rank 0")
    )
    monkeypatch.setattr(ranks, "_distributed", lambda: group)

    def compute() -> str:
        raise AssertionError

    assert ranks.of_first(compute) == "of rank 0"
