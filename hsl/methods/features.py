"""Features of many images, kept in the store and read back block by block."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.store import Store

_AT_ONCE = 512  # images of which features are in memory together


class Sample(NamedTuple):
    """What is kept of an image besides its features: ``index``, ``labels [A]`` in {+1, -1, 0 not
    known}, and ``key``, under which the store has the features."""

    index: int  # type: ignore[assignment]  # tuple has a method of that name
    labels: Tensor
    key: str


class Blocks(Sequence[Tensor]):
    """Features of one space and timestep as blocks ``[n_i, ...]``, read from the store when asked
    for.

    Raises:
        HslError: the store has lost some.
    """

    def __init__(self, store: Store, keys: Sequence[str], name: str, device: torch.device) -> None:
        self.store, self.name, self.device = store, name, device
        self.parts = [keys[i : i + _AT_ONCE] for i in range(0, len(keys), _AT_ONCE)]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, i: Any) -> Any:
        try:
            rows = [self.store.tensor(key, self.name) for key in self.parts[i]]
        except KeyError as error:
            raise HslError(f"{self.store.folder}: features are missing or damaged ({error}): run "
                           "again, with a folder that all ranks share") from error  # fmt: skip
        return torch.stack(rows).to(self.device)
