"""What a guide sees of the edits of validation images: figures by which something may be chosen."""

from typing import Any

import lightning as L
from torch import nn

from hsl import ranks
from hsl.bundled import BUNDLED
from hsl.callbacks.common import lacking, log_figures, method_of
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.roles import fingerprint, require_guide
from hsl.methods.base import Method
from hsl.methods.surroundings import why_unsuited
from hsl.metrics import AttributeChange
from hsl.metrics.base import NothingMeasured
from hsl.types import Batch, attribute_and_value


class Validation(L.Callback):
    """Measures by a guide what edits do to validation images that do not show the target yet, in
    ``validate`` and, where ``limit_val_batches`` asks for it, within a fit. Callbacks and loggers
    get the means of the figures that `AttributeChange.each` describes, as ``val/effect``,
    ``val/leakage``, ..., with several directions as ``val/NAME/effect``.

    Args:
        guide: name for `AttributeClassifier.load`; None: nothing is measured.
        resize: let a guide look at images of other sizes than its own, resized to its.

    Raises:
        HslError: a judge.
    """

    def __init__(self, guide: str | None = BUNDLED.guide, resize: bool = False) -> None:
        self.guide = AttributeClassifier.load(guide, resize) if guide else None
        if self.guide is not None:
            require_guide(self.guide, "validation and choice of the strength")
        self.name, self.resize = guide, resize
        self._metrics: dict[str, AttributeChange] = {}

    def why_not(self, trainer: L.Trainer, method: Method) -> str | None:
        """Why the guide is not for the images, and what to do; None if it is, or there is none."""
        size = None if self.resize else method.backbone.image_size
        if reason := why_unsuited(self.guide, trainer, size):
            return f"{self.name} {reason}. Give a guide of such images by --strength.guide, or null"
        return None

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make a metric for each direction whose target the guide knows."""
        method, self._metrics = method_of(pl_module), {}
        if self.guide is None:
            return
        if reason := self.why_not(trainer, method):
            ranks.warn(f"validation measures no effect: {reason}")
            return
        if trainer.state.fn == "fit" and isinstance(self.guide, nn.Module):
            method.guides[fingerprint(self.guide)] = f"{self.name} validated the training"
        for name in method.directions:
            target, value = attribute_and_value(name)
            if target in self.guide.names:
                metric = AttributeChange(self.guide, target, value, role="guide")
                self._metrics[name] = metric.to(method.device)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at one batch of edits, if the method can edit yet."""
        for name, metric in self._metrics.items() if outputs else ():
            rows = lacking(trainer, batch, name)
            if bool(rows.any()):
                metric.update(batch.image[rows], outputs[name]["edited"][rows], batch.index[rows])

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the means, which are the same on all ranks."""
        results = {}
        for name, metric in self._metrics.items():
            try:
                table = metric.table()
            except NothingMeasured:  # on every rank
                continue
            figures = {k: v.double().nanmean().item() for k, v in table.items() if "." not in k}
            results[name] = figures | {"images": len(table["index"])}
            del results[name]["index"]
        log_figures(pl_module, "val", results, several=len(method_of(pl_module).directions) > 1)
