"""Inversion and reconstruction of images, computed once for each and kept."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from hsl.backbones import Backbone, Speed, Tap, load
from hsl.errors import HslError
from hsl.process import invert, last, reverse
from hsl.store import Store, key_of


class Inverting(L.LightningModule):
    """A frozen backbone, the timesteps of its process, and what was computed of each image.

    Args:
        backbone, steps, invert_steps, refine, cache, tap, speed: see `Method`.

    Raises:
        HslError: the backbone cannot be loaded, or was loaded with another tap, or too many steps.
    """

    def __init__(
        self,
        backbone: str | Backbone,
        steps: int,
        invert_steps: int | None,
        refine: int,
        cache: str | None,
        tap: Tap,
        speed: Speed,
    ) -> None:
        super().__init__()
        self.backbone = _loaded(backbone, tap).run_with(speed)
        try:
            self.grid = self.backbone.schedule.grid(steps)
            inversion = None if invert_steps is None else self.backbone.schedule.grid(invert_steps)
        except ValueError as error:
            raise HslError(f"steps: {error}") from error
        self._inversion_grid = inversion
        self.refine = refine
        self.store = Store(cache)

    @property
    def inversion_grid(self) -> list[int]:
        """The grid of the inversion."""
        return self.grid if self._inversion_grid is None else self._inversion_grid

    def record_about(self, kind: str) -> dict[str, Any]:
        """What a record of this kind says of itself in the store, as JSON values."""
        return {
            "kind": kind,
            "backbone": self.backbone.hash,
            "tap": self.backbone.tap,
            "grid": self.inversion_grid if kind == "x_T" else self.grid,
            "refine": self.refine,
            "made_by": type(self).__name__,
        }

    def x_T(self, images: Tensor) -> Tensor:
        """Inverted latents ``[B, C, s, s]`` of images ``[B, 3, S, S]`` in [-1, 1], cached."""
        return self._cached("x_T", images, self._inverted)

    def _inverted(self, images: Tensor) -> Tensor:
        x_0 = self.backbone.x_0(images)
        return last(invert(self.backbone, x_0, self.inversion_grid, self.refine))

    def rebuilt(self, images: Tensor) -> Tensor:
        """X_0 ``[B, C, s, s]`` of the unedited, deterministic process from the images' x_T,
        cached."""
        return self._cached("x_0", images, self._rebuilt)

    def _rebuilt(self, images: Tensor) -> Tensor:
        return last(reverse(self.backbone, self.x_T(images), self.grid))

    def _cached(self, kind: str, images: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``compute`` makes of images ``[B, 3, S, S]``, of those that are not cached."""
        records = self.store.many(
            self._keys(kind, images),
            lambda rows: [{kind: row} for row in compute(images[rows])],
            self.record_about(kind),
            {kind: self.backbone.x_shape},
        )
        return torch.stack([record[kind] for record in records]).to(images.device)

    def _keys(self, kind: str, images: Tensor) -> list[str]:
        return [key_of(kind, *self.path_of(kind), image) for image in images]

    def path_of(self, kind: str) -> list[Any]:
        """What x_T, or any other ``kind`` of unedited result, depends on besides the image."""
        upwards = [self.backbone.key, self.inversion_grid, self.refine]
        return upwards if kind == "x_T" else [*upwards, self.grid]

    def know_x_T(self, images: Tensor, x_T: Tensor) -> None:
        """Cache the latents ``[B, C, s, s]`` that images ``[B, 3, S, S]`` were sampled from, so
        that they need no inversion."""
        self.store.ensure(
            self._keys("x_T", images),
            lambda rows: [{"x_T": x_T[row]} for row in rows],
            self.record_about("x_T"),
            {"x_T": self.backbone.x_shape},
        )


def _loaded(backbone: str | Backbone, tap: Tap) -> Backbone:
    """A backbone by its name, or as it is."""
    if isinstance(backbone, str):
        return load(backbone, tap)
    if tap not in ("after", backbone.tap):
        raise HslError(f"tap {tap}: {backbone.name} was loaded with tap {backbone.tap}")
    return backbone
