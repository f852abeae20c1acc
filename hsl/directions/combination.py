"""Directions made of others."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from hsl.backbones import Bottleneck
from hsl.directions.algebra import made_for, project_out
from hsl.directions.base import Direction, build
from hsl.errors import HslError
from hsl.schema import Rule, anything, listed, number


@final
class Combination(Direction):
    """A weighted sum of directions of one space, minus its components along others.

    Args:
        directions: what is summed.
        weights: one factor each.
        removed: directions whose span is projected away from the sum.
    """

    kind = "combination"
    rules: ClassVar[dict[str, Rule]] = {
        "directions": listed(anything()),  # `build` checks each
        "weights": listed(number()),
        "removed": listed(anything()),
    }

    def __init__(
        self,
        directions: Sequence[Direction],
        weights: Sequence[float],
        removed: Sequence[Direction] = (),
    ) -> None:
        spaces = {d.space for d in (*directions, *removed)}
        if any(d.crossed for d in (*directions, *removed)):
            raise HslError("a boundary, crossed in one step, combines with other boundaries only")
        if len(spaces) != 1:
            raise HslError(f"cannot combine directions in {' and '.join(sorted(spaces))}")
        if len(directions) != len(weights):
            raise HslError(f"Combination: {len(directions)} directions, {len(weights)} weights")
        super().__init__(directions[0].space)
        self.directions = nn.ModuleList(directions)
        self.weights = [float(w) for w in weights]
        self.removed = nn.ModuleList(removed)
        self.about = made_for(*directions, *removed)

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        shapes = [d.h_shape for d in (*self.directions, *self.removed)]
        return max((s for s in shapes if isinstance(s, tuple)), key=len, default=None)

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        terms = [w * d(b, x, t) for w, d in zip(self.weights, self.directions, strict=True)]
        total = torch.stack(torch.broadcast_tensors(*terms)).sum(0)
        if not self.removed:
            return total
        others = torch.broadcast_tensors(total, *(d(b, x, t) for d in self.removed))[1:]
        rows = torch.stack([other.flatten(1) for other in others], dim=1)
        return project_out(total.flatten(1).expand(len(rows), -1), rows).view_as(others[0])

    def outline(self) -> str:
        terms = [
            f"{weight:g} {part.called()}"  # type: ignore[operator]  # a Direction
            for weight, part in zip(self.weights, self.directions, strict=True)
        ]
        removed = [part.called() for part in self.removed]  # type: ignore[operator]
        without = f" without {', '.join(removed)}" if removed else ""
        return f"{' + '.join(terms)}{without} in {self.space}"

    def config(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "directions": [d.config() for d in self.directions],  # type: ignore[operator]
            "weights": self.weights,
            "removed": [d.config() for d in self.removed],  # type: ignore[operator]
        }

    @classmethod
    def from_config(cls, **arguments: Any) -> "Combination":
        directions = [build(c) for c in arguments["directions"]]
        removed = [build(c) for c in arguments["removed"]]
        return cls(directions, arguments["weights"], removed)
