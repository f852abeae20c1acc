"""A run's progress where no bar can move: a line an epoch, and one now and then within."""

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import lightning as L

from hsl.progress import EVERY, Lines, duration, is_silent, is_terminal


class EpochLines(L.Callback):
    """Prints ``training: epoch 2/7, 3 min 10 s left`` where an epoch begins, and the batch in
    epochs that take longer than `hsl.progress.EVERY` seconds; of the other stages how many batches
    are done. Says nothing in a terminal, where Lightning's bar moves."""

    def __init__(self) -> None:
        #: By the clock, when the training began, and when the last line was printed.
        self.began = self.printed = 0.0
        #: Batches of the training that this process has done, and of the other stage at work.
        self.trained = self.done = 0
        #: The other stage at work, where lines are printed.
        self.stage: Lines | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The time left is estimated from this process, not from the run that it resumes."""
        self.began, self.trained = time.monotonic(), 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A line an epoch."""
        self._say(trainer, 0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        """A line now and then."""
        self.trained += 1
        if time.monotonic() - self.printed >= EVERY:
            self._say(trainer, batch_idx + 1)

    def _say(self, trainer: L.Trainer, batch: int) -> None:
        """Where the training stands: ``batch`` batches of its epoch are done."""
        if is_silent() or is_terminal():
            return
        self.printed = time.monotonic()
        epochs = trainer.max_epochs or -1
        line = f"training: epoch {trainer.current_epoch + 1}" + (f"/{epochs}" if epochs > 0 else "")
        if batch:
            line += f", batch {batch}/{trainer.num_training_batches}"
        left = _batches_left(trainer, batch)
        if self.trained and math.isfinite(left):
            line += f", {duration((self.printed - self.began) / self.trained * left)} left"
        print(line, file=sys.stderr, flush=True)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The stage begins."""
        self._begin("validating", trainer.num_val_batches)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The stage begins."""
        self._begin("testing", trainer.num_test_batches)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The stage begins."""
        self._begin("predicting", trainer.num_predict_batches)

    def on_validation_batch_end(self, *arguments: Any, **options: Any) -> None:
        """One more."""
        self._count()

    def on_test_batch_end(self, *arguments: Any, **options: Any) -> None:
        """One more."""
        self._count()

    def on_predict_batch_end(self, *arguments: Any, **options: Any) -> None:
        """One more."""
        self._count()

    def _begin(self, stage: str, batches: Sequence[int | float]) -> None:
        total = sum(batches)
        self.done, self.stage = 0, None
        if not is_silent() and not is_terminal():
            self.stage = Lines(stage, int(total) if math.isfinite(total) else None)

    def _count(self) -> None:
        self.done += 1
        if self.stage is not None:
            self.stage.at(self.done)


def _batches_left(trainer: L.Trainer, batch: int) -> float:
    """Batches until the training ends by epochs or by steps, whichever is first; infinite where
    neither says."""
    left = math.inf
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        left = (trainer.max_epochs - trainer.current_epoch) * trainer.num_training_batches - batch
    if trainer.max_steps > 0:
        steps = trainer.max_steps - trainer.global_step
        left = min(left, steps * trainer.accumulate_grad_batches)
    return left
