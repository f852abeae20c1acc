"""The noise of stochastic steps."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Noise(Protocol):
    """Gives the z of a stochastic step."""

    def __call__(self, t: int, like: Tensor) -> Tensor:
        """Standard normal noise of timestep ``t``, shaped like ``like [B, C, s, s]``."""
        ...


#: The stream of `SeededNoise.x_T`; no timestep's.
_X_T = 1002


@dataclass(frozen=True)
class SeededNoise:
    """Noise that depends on the seed, the image's own index and the step alone.

    So a result does not depend on the batch size, the order or the number of ranks.
    """

    index: Tensor  # [B] int64
    seed: int = 0

    def __call__(self, t: int, like: Tensor) -> Tensor:
        return self._draw(t + 2 + (t + 2 >= _X_T), like)  # that stream is x_T's

    def _draw(self, stream: int, like: Tensor) -> Tensor:
        rows = []
        for index in self.index.tolist():
            # three numbers mixed by distinct odd constants: the low bits of a seed matter most
            mixed = (self.seed * 0x9E3779B1 + index * 0x85EBCA77 + stream * 0xC2B2AE3D) % 2**63
            generator = torch.Generator().manual_seed(mixed)
            rows.append(torch.randn(like.shape[1:], generator=generator))
        return torch.stack(rows).to(like)

    def x_T(self, like: Tensor) -> Tensor:
        """The noise that a sample begins with, shaped like ``like [B, C, s, s]``: a seed gives the
        same wherever it is sampled."""
        return self._draw(_X_T, like)
