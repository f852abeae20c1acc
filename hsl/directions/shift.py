"""Directions that are tensors."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from hsl.backbones import Backbone, Bottleneck
from hsl.directions.algebra import made_for, project_out, require_steps
from hsl.directions.base import SPACES, Direction, Space
from hsl.errors import HslError
from hsl.names import by
from hsl.schema import Rule, grid, listed, one_of, optional, whole


@final
class Shift(Direction):
    """The same change for every image: one tensor, or one per timestep.

    Args:
        delta: ``[K, s, s]``, or ``[n, K, s, s]`` with ``timesteps``.
        timesteps: the n timesteps that ``delta``'s rows belong to; at another t the nearest
            one's row is used, so that a direction survives another number of steps.
        space: what the tensor is added to.
    """

    kind = "shift"
    rules: ClassVar[dict[str, Rule]] = {
        "shape": listed(whole(1), (3, 4)),
        "timesteps": optional(grid),
        "space": one_of(*SPACES),
    }

    def __init__(
        self, delta: Tensor, timesteps: Sequence[int] | None = None, space: Space = "h"
    ) -> None:
        super().__init__(space)
        if delta.ndim != (3 if timesteps is None else 4):
            raise HslError("Shift: want [K, s, s], or [n, K, s, s] with n timesteps")
        if timesteps is not None and len(timesteps) != len(delta):
            raise HslError(f"Shift: {len(delta)} tensors for {len(timesteps)} timesteps")
        self.delta = nn.Parameter(delta.detach().clone())
        self.timesteps = None if timesteps is None else [int(t) for t in timesteps]

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        if self.timesteps is None:
            return self.delta[None]
        return self.delta[self.row(t)][None]

    def row(self, t: int) -> int:
        """Which of the tensors is used at timestep ``t``: the nearest timestep's."""
        timesteps = self.timesteps or [t]
        return min(range(len(timesteps)), key=lambda i: abs(timesteps[i] - t))

    def outline(self) -> str:
        shape = f"{self.space} {by(self.delta.shape[-3:])}"
        return shape if self.timesteps is None else f"{shape} at {len(self.timesteps)} timesteps"

    def config(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "shape": list(self.delta.shape),
            "timesteps": self.timesteps,
            "space": self.space,
        }

    @classmethod
    def from_config(cls, **arguments: Any) -> "Shift":
        return cls(torch.zeros(arguments.pop("shape")), **arguments)

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        return tuple(self.delta.shape[-3:]) if self.space == "h" else None

    def check_part(self, backbone: Backbone) -> None:
        shape = tuple(self.delta.shape[-3:])
        if self.space != "h" and shape != backbone.x_shape:
            raise HslError(f"this direction is for {self.space} of shape {shape}, but that of "
                           f"{backbone.name} is {backbone.x_shape}: load another backbone, or fit "
                           "it anew")  # fmt: skip
        require_steps(self.timesteps or (), backbone)

    def _like(self, delta: Tensor, *others: Direction) -> "Shift":
        new = Shift(delta, self.timesteps, self.space)
        new.about = made_for(self, *others)
        return new

    def _joins(self, other: Direction) -> bool:
        return (
            isinstance(other, Shift)
            and other.space == self.space
            and other.timesteps == self.timesteps
            and other.delta.shape == self.delta.shape
        )

    def __add__(self, other: Direction) -> Direction:
        if isinstance(other, Shift) and self._joins(other):
            return self._like(self.delta + other.delta, other)
        return super().__add__(other)

    def __sub__(self, other: Direction) -> Direction:
        return self + (-other)

    def __mul__(self, factor: float) -> Direction:
        return self._like(self.delta * factor)

    __rmul__ = __mul__

    def without(self, *others: Direction) -> Direction:
        if not others or not all(self._joins(other) for other in others):
            return super().without(*others)
        shifts = [other for other in others if isinstance(other, Shift)]
        rows = torch.stack([other.delta.flatten() for other in shifts])
        residue = project_out(self.delta.flatten()[None], rows[None])
        return self._like(residue.view_as(self.delta), *others)
