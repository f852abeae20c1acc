"""What hsl takes of Lightning that Lightning does not promise to keep, all of it, where nothing
that it promises does the same.

pyproject.toml therefore bounds Lightning's version from above; tests/train/test_inside_lightning.py
says of each name whether it is still there.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from torch import Tensor


class FitLoop(_FitLoop):
    """Lightning's, but a resumed run that has done all its epochs still calls ``on_train_end``, in
    which strengths are chosen and directions exported."""

    @property
    def skip(self) -> bool:
        """Whether there is nothing to do at all."""
        progress: Any = self.epoch_progress.total
        return super().skip and progress.processed == 0


class Signals(_SignalConnector):
    """Lightning's, with SLURM's requeueing, but SIGTERM is passed on to the ranks that this process
    started, and otherwise left to `hsl.commands.signals`: in a collective call within a handler
    ranks would wait for each other, and the exit status would be 0."""

    def _sigterm_notifier_fn(self, signum: Any, _: Any) -> None:
        for process in started(self.trainer):
            with contextlib.suppress(OSError):
                process.send_signal(signum)


def take_over(trainer: L.Trainer) -> None:
    """Give a trainer that has not run yet our loop and signals."""
    loop = FitLoop(trainer, trainer.min_epochs, trainer.max_epochs)
    loop.epoch_loop = trainer.fit_loop.epoch_loop
    trainer.fit_loop = loop
    trainer._signal_connector = Signals(trainer)


def started(trainer: L.Trainer) -> list[subprocess.Popen[bytes]]:
    """The processes that Lightning's launcher has started: the very list, which it watches."""
    processes: Any = getattr(trainer.strategy.launcher, "procs", None)
    return processes if isinstance(processes, list) else []


def spawns(trainer: L.Trainer) -> bool:
    """Whether the ranks are to be started by multiprocessing."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def due(trainer: L.Trainer, on_step: bool) -> dict[str, float]:
    """The figures that loggers get at a step, or at the end of the epoch."""
    assert trainer._results is not None
    figures: dict[str, Any] = trainer._results.metrics(on_step=on_step)["log"]
    return {name: float(value) for name, value in figures.items()}


def sums(trainer: L.Trainer) -> dict[str, dict[str, Tensor]]:
    """What the means of the epoch are computed from: by name, ``value``, the sum so far, and
    ``count``, of so many images."""
    return {
        name: {"value": metric.value.clone(), "count": metric.cumulated_batch_size.clone()}
        for name, metric in _metrics(trainer)
        if metric.is_tensor and metric.meta.on_epoch and metric.meta.is_mean_reduction
    }


def add_sums(trainer: L.Trainer, before: dict[str, dict[str, Tensor]]) -> None:
    """Add to each sum of the epoch that has begun its part in ``before``, and take it out there."""
    for name, metric in _metrics(trainer):
        if (sum_ := before.pop(name, None)) is not None:
            metric.value = metric.value + sum_["value"].to(metric.value)
            metric.cumulated_batch_size += sum_["count"].to(metric.cumulated_batch_size)


def _metrics(trainer: L.Trainer) -> Iterator[tuple[str, Any]]:
    """What has been logged in this epoch, by name."""
    yield from () if trainer._results is None else trainer._results.items()


def leave_out_anonymous(logger: WandbLogger) -> None:
    """Let a logger begin its run without the option ``anonymous``, which Lightning always gives
    and W&B warns of."""
    logger._wandb_init.pop("anonymous", None)
