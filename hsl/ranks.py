"""What the ranks of a run share out between them, and put together again; what the first one alone
says. Light: a command that has one rank need not wait for Lightning to learn so."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

K = TypeVar("K")
T = TypeVar("T")
#: Variables of launchers that say a process's rank, in the order in which Lightning reads them.
_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def rank() -> int:
    """This process's rank: its process group's, if there is one, else its launcher's, else 0."""
    if (dist := _distributed()) is not None:
        return int(dist.get_rank())
    return next((int(os.environ[name]) for name in _VARIABLES if name in os.environ), 0)


def warn(message: str) -> None:
    """Warn, on the first rank alone, from the line that calls this."""
    if rank() == 0:
        warnings.warn(message, stacklevel=2)


def world() -> tuple[int, int]:
    """This process's rank and their number: 0 and 1 outside a distributed run."""
    dist = _distributed()
    return (0, 1) if dist is None else (dist.get_rank(), dist.get_world_size())


def everyones(mine: T) -> list[T]:
    """What each rank gives, by rank, on all ranks; all of them must call this. Tensors arrive on
    the CPU: a GPU's would be unpickled on the GPU of the rank that sent them."""
    dist, ranks = _distributed(), world()[1]
    if dist is None or ranks == 1:
        return [mine]
    gathered: list[T] = [mine] * ranks
    dist.all_gather_object(gathered, on_cpu(mine))
    return gathered


def shared(tasks: Sequence[K], work: Callable[[K], T]) -> dict[K, T]:
    """What ``work`` makes of each task, in their order, on all ranks: of R ranks, rank r does every
    R-th task from the r-th on. All of them must call this, with the same tasks."""
    mine, ranks = world()
    parts = everyones({task: work(task) for task in tasks[mine::ranks]})
    return {task: parts[i % ranks][task] for i, task in enumerate(tasks)}


def add_up(tensors: "Iterable[Tensor]") -> None:
    """Put into each tensor its sum over the ranks; all of them must call this."""
    dist = _distributed()
    if dist is not None and dist.get_world_size() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor.data)


def of_first(compute: Callable[[], T]) -> T:
    """What the first rank computes, on all ranks; all of them must call this."""
    dist, (mine, ranks) = _distributed(), world()
    if dist is None or ranks == 1:
        return compute()
    told: list[Any] = [on_cpu(compute()) if mine == 0 else None]
    dist.broadcast_object_list(told, src=0)
    result: T = told[0]
    return result


def on_cpu(value: Any) -> Any:
    """``value`` with every tensor in its dictionaries, lists and tuples on the CPU."""
    from torch import Tensor  # which what has one rank may do without

    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: on_cpu(part) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(on_cpu, value))
    return type(value)(map(on_cpu, value)) if isinstance(value, list | tuple) else value


def _distributed() -> Any:
    """PyTorch's module of process groups, where this process is in one; None: it is not."""
    dist = sys.modules.get("torch.distributed")  # what nobody imported, nobody initialised
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return None
    return dist
