"""What methods share that cross a boundary in one step, the mixing step."""

from collections.abc import Iterable
from typing import Any

from hsl.directions import Space
from hsl.methods.base import Method
from hsl.solvers import Figures
from hsl.types import Batch


class Mixed(Method):
    """A method whose directions have a hyperplane at each of several timesteps, of which edits
    cross that at the mixing step ``t`` (None: the `Mixing` callback chooses it).

    Attributes:
        figures: how well the hyperplanes tell other images apart, by space and timestep.
        left_out: the same of the images of the fit, each by the fit without it, where wanted.
    """

    t: int | None
    figures: dict[tuple[Space, int], Figures]
    left_out: dict[tuple[Space, int], Figures]

    def measure(self, batches: Iterable[Batch], data: Any) -> None:
        """Measure the hyperplanes on this rank's ``batches`` of a data module's images, and on
        those of the other ranks, which must all call this."""
        raise NotImplementedError

    def mix_at(self, t: int) -> None:
        """Take ``t`` for the mixing step."""
        raise NotImplementedError
