"""What the ranks of a run share out between them, and put together again."""

from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def world() -> tuple[int, int]:
    """This process's rank and their number: 0 and 1 outside a distributed run."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def everyones(mine: T) -> list[T]:
    """What each rank gives, by rank, on all ranks; all of them must call this."""
    ranks = world()[1]
    if ranks == 1:
        return [mine]
    found: list[T] = [mine] * ranks
    dist.all_gather_object(found, mine)
    return found
