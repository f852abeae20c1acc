"""What a direction must be: f_t, a tensor for each timestep, one tensor, or a shift of eps.

Effect against optimiser steps, on Smiling, in the main job's setting. The paper's comparison (Kwon
et al. 2023, section 5.3): only its h-space functions train fast and well.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch

from hsl.data.toyfaces import ToyFacesDataModule
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.perceptual import PerceptualDistance
from hsl.methods.asyrp import Asyrp
from hsl.methods.kinds import KINDS, Kind
from hsl.metrics import AttributeChange, CounterfactualError
from hsl.progress import track
from hsl.tables import write_json

NAME, T_EDIT, T_BOOST = "Smiling", 537, 179
#: Tried on validation faces, by the guide, after `SHORT` epochs. A tensor has no layers that would
#: scale its gradient: the good rate is another.
RATES: dict[Kind, tuple[float, ...]] = {
    "implicit": (6e-4, 2e-3),
    "shift": (3e-2, 1e-1),
    "global": (1e-2, 3e-2),
    "eps": (3e-3, 1e-2),
}
SHORT, EPOCHS, TEST, VALIDATION = 1, 7, 64, 24
MEASURED = (20, 60, 120, 240, 420)  # optimiser steps; 60 are an epoch


class Watch(L.Callback):
    """Measures the edits of test faces, at strength 1, after so many optimiser steps."""

    def __init__(self) -> None:
        self.judge = AttributeClassifier.load("toyfaces/judge")
        self.distance = PerceptualDistance.load("toyfaces/judge")
        self.rows: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        """After a batch: ten optimiser steps, one at each edited timestep."""
        if trainer.global_step in MEASURED:
            figures = measure(module, trainer.datamodule, self.judge, self.distance)
            self.rows.append({"steps": trainer.global_step} | figures)


def faces() -> ToyFacesDataModule:
    """The main job's training faces, and others without a smile."""
    lacking = {NAME: 0}
    where = {"validation": lacking, "test": lacking}
    return ToyFacesDataModule(train=96, validation=VALIDATION, test=TEST, where=where)


def method(kind: Kind, rate: float, epochs: int, cache: Path) -> Asyrp:
    """The main job with another kind of direction."""
    return Asyrp(
        attribute=NAME,
        direction=kind,
        t_edit=T_EDIT,
        t_boost=T_BOOST,
        cache=str(cache),
        optimizer=partial(torch.optim.Adam, lr=rate),
        lr_scheduler=partial(
            torch.optim.lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.1, total_iters=epochs
        ),
    )


def trained(
    made: Asyrp, epochs: int, *callbacks: L.Callback, data: ToyFacesDataModule | None = None
) -> Asyrp:
    """Train quietly; all on the same images in the same order, unless ``data`` is given."""
    made.brings_callbacks = False
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, callbacks=list(callbacks), logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(made, datamodule=data or faces())
    return made


@torch.no_grad()
def measure(
    made: Asyrp, data: ToyFacesDataModule, judge: AttributeClassifier, distance: PerceptualDistance
) -> dict[str, Any]:
    """Judges' figures on test faces at strength 1."""
    test = data.faces("test")
    change, truth = AttributeChange(judge, NAME), CounterfactualError(distance)
    for rows in torch.arange(len(test)).split(32):
        images, index = test.images[rows], test.index[rows]
        edited = made.edit_images(images, index, made.edit(NAME, 1.0))
        change.update(images, edited, index)
        true = data.counterfactual(index, "test", **{NAME: 1})
        truth.update(images, edited, true, made.edit_images(true, index), index)
    keys = ("target_after", "effect", "leakage", "leakage_worst", "counterfactual_error_after",
            "counterfactual_error_before", "counterfactual_floor", "closed")  # fmt: skip
    figures = change.compute() | truth.compute()
    return {k: v for k, v in figures.items() if k.removesuffix("_ci") in keys}


@torch.no_grad()
def seen(made: Asyrp, data: ToyFacesDataModule) -> float:
    """What the guide makes of validation faces edited at strength 1: the mean change of the
    target's probability, less four times that of the others."""
    guide, other = AttributeClassifier.load("toyfaces/guide"), data.faces("validation")
    edited = made.edit_images(other.images, other.index, made.edit(NAME, 1.0))
    change = guide.probabilities(edited) - guide.probabilities(other.images)
    column = guide.names.index(NAME)
    rest = torch.cat([change[:, :column], change[:, column + 1 :]], dim=1)
    return float(change[:, column].mean() - 4 * rest.abs().mean())


def kinds(cache: Path = Path("runs/asyrp/cache")) -> dict[str, Any]:
    """Choose each kind's learning rate on validation faces, then train and measure."""
    found: dict[str, Any] = {}
    for kind in track(KINDS, "kinds of direction", len(KINDS)):
        done = cache.parent / f"kind_{kind}.json"
        if done.exists():
            found[kind] = json.loads(done.read_text())
            continue
        scores = {}
        for rate in RATES[kind]:
            torch.manual_seed(0)
            scores[rate] = seen(trained(method(kind, rate, SHORT, cache), SHORT), faces())
        rate = max(scores, key=scores.__getitem__)
        torch.manual_seed(0)
        watch = Watch()
        trained(method(kind, rate, EPOCHS, cache), EPOCHS, watch)
        found[kind] = {"rate": rate, "scores": scores, "rows": watch.rows}
        write_json(done, found[kind])
    return found
