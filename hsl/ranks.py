"""What the ranks of a run share out between them, and put together again."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

K = TypeVar("K")
T = TypeVar("T")


def world() -> tuple[int, int]:
    """This process's rank and their number: 0 and 1 outside a distributed run."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def everyones(mine: T) -> list[T]:
    """What each rank gives, by rank, on all ranks; all of them must call this. Tensors arrive on
    the CPU: a GPU's would be unpickled on the GPU of the rank that sent them."""
    ranks = world()[1]
    if ranks == 1:
        return [mine]
    gathered: list[T] = [mine] * ranks
    dist.all_gather_object(gathered, on_cpu(mine))
    return gathered


def shared(tasks: Sequence[K], work: Callable[[K], T]) -> dict[K, T]:
    """What ``work`` makes of each task, in their order, on all ranks: of R ranks, rank r does every
    R-th task from the r-th on. All of them must call this, with the same tasks."""
    rank, ranks = world()
    parts = everyones({task: work(task) for task in tasks[rank::ranks]})
    return {task: parts[i % ranks][task] for i, task in enumerate(tasks)}


def add_up(tensors: Iterable[Tensor]) -> None:
    """Put into each tensor its sum over the ranks; all of them must call this."""
    if world()[1] > 1:
        for tensor in tensors:
            dist.all_reduce(tensor.data)


def of_first(compute: Callable[[], T]) -> T:
    """What the first rank computes, on all ranks; all of them must call this."""
    rank, ranks = world()
    if ranks == 1:
        return compute()
    told: list[Any] = [on_cpu(compute()) if rank == 0 else None]
    dist.broadcast_object_list(told, src=0)
    result: T = told[0]
    return result


def on_cpu(value: Any) -> Any:
    """``value`` with every tensor in its dictionaries, lists and tuples on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: on_cpu(part) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(on_cpu, value))
    return type(value)(map(on_cpu, value)) if isinstance(value, list | tuple) else value
