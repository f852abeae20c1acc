"""Boundaries that were fitted: how well they tell other images apart, and edits across them."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from hsl import ranks
from hsl.directions import Boundary, Space, build
from hsl.errors import HslError
from hsl.methods.checkpoint import about_of
from hsl.methods.collecting import Collecting
from hsl.methods.features import Sample
from hsl.process import Edit
from hsl.solvers import Figures, figures
from hsl.types import Batch

SPACES: tuple[Space, ...] = ("x", "h")


class Crossing(Collecting):
    """A method whose directions are boundaries, crossed in one step at the mixing step.

    Attributes:
        spaces: in which there are hyperplanes.
        data_hash: identifies the images and labels of the fit.
        others: samples of validation images, while validation lasts.
    """

    spaces: list[Space]
    data_hash: str | None
    others: list[Sample]

    @property
    def data(self) -> Any:
        """The trainer's data module; None: it has none."""
        return getattr(self.trainer, "datamodule", None)

    def measure(self, batches: Iterable[Batch], data: Any) -> None:
        """Put the figures of the boundaries on other images, in batches, into ``figures``."""
        samples = [sample for batch in batches for sample in self.collect(batch, data)]
        self.figures = self.held_out(self.everyones(samples))

    @torch.no_grad()
    def held_out(self, samples: list[Sample]) -> dict[tuple[Space, int], Figures]:
        """Accuracy, balanced accuracy and AUC of the boundaries on other images, with intervals, by
        space and timestep."""
        labels = self.labels(samples)

        def measured(place: tuple[Space, int]) -> Figures:
            by_block = []
            for block in self.blocks(samples, *place):
                distances = [b.distance(block, *place) for b in self.boundaries()]
                by_block.append(torch.stack(distances, dim=1).cpu())
            return figures(torch.cat(by_block).double(), labels)

        places = [(space, t) for space in self.spaces for t in self.timesteps]
        return ranks.shared(places, measured)

    def boundaries(self) -> Iterator[Boundary]:
        """The boundary of each attribute, in order."""
        for boundary in self.directions.values():
            assert isinstance(boundary, Boundary)
            yield boundary

    def on_validation_epoch_start(self) -> None:
        """Begin anew."""
        self.others = []

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, dict[str, Tensor]] | None:
        """Keep a batch's features and labels; edit it where there is a mixing step. (Within a fit
        the boundaries are still blank.)"""
        self.others += self.collect(batch, self.data)
        if self.t is None or self.trainer.state.fn != TrainerFn.VALIDATING:
            return None
        return self.test_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Measure the boundaries; the `Mixing` callback prints the table. (Within a fit there are
        none yet: the callback lets them be measured at its end.)"""
        if self.trainer.state.fn == TrainerFn.VALIDATING:
            self.figures = self.held_out(self.everyones(self.others))
        self.others = []

    def on_validation_start(self) -> None:
        """Refuse to go on without boundaries, before anything is computed."""
        self._require_boundaries()

    def on_test_start(self) -> None:
        """Refuse to go on without boundaries, before anything is computed."""
        self._require_boundaries()

    def _require_boundaries(self) -> None:
        if not self.directions:
            raise HslError("there are no boundaries yet: fit, or give --ckpt_path CHECKPOINT")

    def mix_at(self, t: int) -> None:
        """Take ``t`` for the mixing step: latents are inverted up to it, and edited there.

        Raises:
            HslError: no hyperplanes were fitted there.
        """
        if t not in self.timesteps:
            raise HslError(f"no hyperplane at t={t}; there are {self.timesteps}")
        self.t = t
        self.grid = [g for g in self.inversion if g <= t]
        for boundary in self.boundaries():
            boundary.t = t

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As of every method, and what the boundaries were fitted on."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["hsl"] |= {
            "grid": self.inversion,
            "t": self.t,
            "data_hash": self.data_hash,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make boundaries of the shapes in the checkpoint; take the grid and timesteps that those
        were fitted on and, unless one is given, their mixing step.

        Raises:
            HslError: as of every method; another method's checkpoint, or no hyperplanes at t.
        """
        super().on_load_checkpoint(checkpoint)
        configs = checkpoint["hsl"].get("directions", {})
        if not configs or any(config["kind"] != Boundary.kind for config in configs.values()):
            raise HslError("this checkpoint holds no boundaries: give one of a linear method")
        about = about_of(checkpoint, ["grid", "t", "data_hash"])
        boundaries = {name: build(config) for name, config in configs.items()}
        self.directions = nn.ModuleDict(boundaries).to(self.device)
        self.wanted, self.data_hash = list(boundaries), about["data_hash"]
        first = next(self.boundaries())
        self.inversion, self.timesteps = about["grid"], first.timesteps
        self.spaces = [space for space in SPACES if space in first.normals]
        self.t = about["t"] if self.t is None else self.t
        if self.t is not None:
            self.mix_at(self.t)

    def edit(self, name: str, strength: float | Tensor | None = None) -> Edit:
        """One step across the boundary of ``name``.

        Raises:
            HslError: no such direction, or no mixing step yet.
        """
        if self.t is None:
            raise HslError("no mixing step: give t, or use the Mixing callback")
        if self.grid[-1] != self.t:
            self.mix_at(self.t)
        edit = super().edit(name, strength)
        return Edit(edit.direction, edit.strength, self.t, self.t_boost or 0, self.t, "symmetric")

    @property
    def step_factor(self) -> float:
        """A boundary is crossed once, in however many steps."""
        return 1.0
