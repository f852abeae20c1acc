"""Checkpoints from which a killed run goes on as if it had not been killed."""

import math
import os
import random
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from hsl.callbacks.common import method_of, run_folder
from hsl.data.items import DataModule, Order
from hsl.errors import HslError
from hsl.files import checkpoints, replacing
from hsl.methods.base import Method
from hsl.options.checks import at_least_one, require
from hsl.progress import track
from hsl.ranks import everyones
from hsl.schema import optional
from hsl.train.inside_lightning import add_sums, due, sums
from hsl.train.resume import LAST


class Checkpoints(Checkpoint):
    """Keeps ``checkpoints/last.ckpt`` in the run folder: weights, optimiser, schedule, place in the
    data, random numbers of every rank, and the means of the epoch so far.

    A closed form has no optimiser and no such checkpoints: what it has computed of each image is
    in its method's cache.

    Args:
        every_n_epochs: save at the end of each so many epochs, and of the last.
        every_n_batches: save also after each so many batches of the run; None: at the end of
            epochs alone.

    Raises:
        HslError: a number below 1.
    """

    def __init__(self, every_n_epochs: int = 1, every_n_batches: int | None = None) -> None:
        require(
            "checkpoints",
            every_n_epochs=(every_n_epochs, at_least_one),
            every_n_batches=(every_n_batches, optional(at_least_one)),
        )
        self.every_n_epochs, self.every_n_batches = every_n_epochs, every_n_batches
        self._state: dict[str, Any] = {}
        self._sums: dict[str, dict[str, torch.Tensor]] = {}
        #: The epoch in which the run began: above 0 where it began with another run's checkpoint.
        self._first = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore what the checkpoint holds, after all that draws random numbers before a batch.

        Raises:
            HslError: the run had another number of ranks.
        """
        state, self._state = self._state, {}
        if not state:
            self._first = trainer.current_epoch
            return
        if len(state["ranks"]) != trainer.world_size:
            raise HslError(f"this run had {len(state['ranks'])} ranks, not {trainer.world_size}: "
                           "resume it with as many")  # fmt: skip
        self._first = state.get("first", 0)
        _prepare(trainer, method_of(pl_module), self._first)
        mine = state["ranks"][trainer.global_rank]
        _set_random(mine["random"])
        self._sums = mine["sums"]
        if state[
            "row"
        ]:  # the loggers were to write it when the checkpoint was made, and may not have
            for logger in trainer.loggers:
                logger.log_metrics(state["row"], step=state["steps"] - 1)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save, if it is time; the last batch of an epoch is left to the epoch's end."""
        add_sums(trainer, self._sums)
        loop, every = trainer.fit_loop, self.every_n_batches
        is_time = every is not None and (loop.total_batch_idx + 1) % every == 0
        if is_time and not loop.epoch_loop.batch_progress.is_last_batch:
            self._save(trainer, within=True)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, if it is time; Lightning calls this after the method's own hook."""
        epochs = trainer.current_epoch + 1
        if epochs % self.every_n_epochs == 0 or epochs == trainer.max_epochs:
            self._save(trainer, within=False)

    def state_dict(self) -> dict[str, Any]:
        """What was gathered when the checkpoint was begun."""
        return self._state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until training starts."""
        self._state = state_dict

    def _save(self, trainer: L.Trainer, within: bool) -> None:
        if trainer.fast_dev_run or not trainer.optimizers:  # type: ignore[attr-defined]
            return
        steps = trainer.fit_loop.total_batch_idx + 1
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        logged = not within or trainer.should_stop or (every > 0 and steps % every == 0)
        row = due(trainer, on_step=within) if logged else {}
        self._state = {
            "ranks": everyones({"random": _random(), "sums": sums(trainer) if within else {}}),
            "first": self._first,
            "steps": steps,
            "row": row | ({"epoch": trainer.current_epoch} if row else {}),
        }
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(run_folder(trainer) / LAST, weights_only=False)
        self._state = {}


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces: a kill leaves the one or the other."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write, and wait until it is on the disk, before the file gets its name."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint as any other file: nothing in it is run, and checksums are compared.

        Raises:
            HslError: no such file, or a damaged one.
        """
        checkpoint: dict[str, Any] = checkpoints.read(path)
        return checkpoint


def _prepare(trainer: L.Trainer, method: Method, first: int) -> None:
    """Let a method whose store is in memory compute again what it had stored of the images since
    its ``first`` epoch: in the same batches, as the last digits of a result depend on the other
    images of its batch."""
    data = getattr(trainer, "datamodule", None)
    if method.store.folder is not None or not isinstance(data, DataModule):
        return
    loader = data.train_dataloader()
    sampler, limit = loader.sampler, int(min(len(loader), trainer.num_training_batches))
    if not isinstance(sampler, Order):  # a data module of the user's own
        return
    epoch, seen = sampler.begin
    counts = [limit] * (epoch - first) + [math.ceil(seen / data.batch_size)]
    if limit == len(loader) and sampler.num_replicas == 1:
        counts = counts[:1]  # the first epoch sees all images
    sampler.begin = (0, 0)
    for sampler.epoch, count in enumerate(counts, first):
        for batch in track(islice(loader, count), "taking up", count):
            method.prepare(method.transfer_batch_to_device(batch, method.device, 0).image)


def _random() -> dict[str, Any]:
    """The states of all random number generators, as what is safe to unpickle."""
    numpy: Any = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        "python": random.getstate(),
        "numpy": (numpy[0], numpy[1].tolist(), *numpy[2:]),
    }


def _set_random(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
