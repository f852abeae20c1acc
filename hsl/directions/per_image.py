"""Directions whose weights are each image's own."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from hsl.backbones import Bottleneck
from hsl.directions.base import Direction, build
from hsl.directions.combination import Combination
from hsl.errors import HslError
from hsl.schema import Rule, anything, listed, whole


@final
class PerImage(Direction):
    """A weighted sum of directions of one space, with weights of its own for each image: a grid of
    strengths of several directions is one batch.

    Args:
        directions: the K that are summed.
        weights: ``[N, K]``, a row for each image of the batch that it will see.

    Raises:
        HslError: weights of another shape, or directions that do not combine.
    """

    kind = "per_image"
    rules: ClassVar[dict[str, Rule]] = {
        "directions": listed(anything()),  # `build` checks each
        "images": whole(1),
    }

    def __init__(self, directions: Sequence[Direction], weights: Tensor) -> None:
        total = Combination(directions, [1.0] * len(directions))  # refuses what does not combine
        if weights.ndim != 2 or weights.shape[1] != len(directions):
            raise HslError(f"PerImage: {len(directions)} directions, weights of shape "
                           f"{list(weights.shape)}; want [N, {len(directions)}]")  # fmt: skip
        super().__init__(total.space)
        self.directions = nn.ModuleList(directions)
        self.weights: Tensor
        self.register_buffer("weights", weights.detach().clone().float())
        self.about = total.about

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        return Combination(list(self.directions), [1.0] * len(self.directions)).h_shape  # type: ignore[arg-type]

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        if len(x) != len(self.weights):
            raise HslError(f"PerImage: weights for {len(self.weights)} images, a batch of {len(x)}")
        columns = self.weights.to(x).T[..., None, None, None]
        terms = [w * d(b, x, t) for w, d in zip(columns, self.directions, strict=True)]
        return torch.stack(terms).sum(0)

    def of(self, rows: slice) -> "PerImage":
        """The same for some of the images."""
        return PerImage(list(self.directions), self.weights[rows])  # type: ignore[arg-type]

    def outline(self) -> str:
        names = [part.called() for part in self.directions]  # type: ignore[operator]
        return f"{', '.join(names)} with weights for {len(self.weights)} images, in {self.space}"

    def config(self) -> dict[str, Any]:
        configs = [d.config() for d in self.directions]  # type: ignore[operator]
        return {"kind": self.kind, "directions": configs, "images": len(self.weights)}

    @classmethod
    def from_config(cls, **arguments: Any) -> "PerImage":
        directions = [build(c) for c in arguments["directions"]]
        return cls(directions, torch.zeros(arguments["images"], len(directions)))
