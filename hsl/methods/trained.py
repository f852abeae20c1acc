"""Methods that are trained by gradient steps: their optimiser, its learning rate and schedule."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Unpack

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hsl.directions import Shift
from hsl.errors import HslError
from hsl.methods.base import Method, ProcessOptions
from hsl.options.checks import above_zero, require
from hsl.schema import optional

#: At most so many steps of a schedule are tried.
_TRIED = 1000


class Trained(Method):
    """A method whose directions are trained by steps that it takes itself, with one step of the
    learning rate's schedule an epoch.

    Args:
        optimizer: of the directions' parameters.
        lr: its learning rate; None: the optimiser's own.
        lr_scheduler: stepped once per epoch. One with an argument ``epochs`` gets the number of the
            training's.
        t_start: see `Method`.
        options: see `Method`.

    Raises:
        HslError: a learning rate that is not positive; what `Method` raises.
    """

    def __init__(
        self,
        *,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable,
        lr: float | None = None,
        t_start: int | None = None,
        **options: Unpack[ProcessOptions],
    ) -> None:
        require("model", lr=(lr, optional(above_zero)))
        super().__init__(t_start=t_start, **options)
        self.automatic_optimization = False
        self.make_optimizer, self.make_scheduler, self.lr = optimizer, lr_scheduler, lr
        #: Of directions with a tensor for each timestep, these tensors: views of ``delta``.
        self._rows: dict[str, list[nn.Parameter]] = {}

    def try_optimizer(self, epochs: int | None) -> None:
        """Make the optimiser and its schedule for one parameter that stays where it is, and take
        the steps of ``epochs`` epochs, so that values that they refuse are noticed before any work.

        Raises:
            HslError: one of them refuses.
        """
        parameter = nn.Parameter(torch.zeros(2, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer = self._optimizer([parameter])
            parameter.grad = torch.zeros_like(parameter)
            with _saying("optimizer"):
                optimizer.step()
            if not self._is_as_long_as_the_training:
                scheduler = self.schedule_of(optimizer)
                with _saying("lr_scheduler"):
                    for _ in range(min(max(epochs or 0, 1), _TRIED)):
                        scheduler.step()

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """The optimiser of the directions' parameters and its schedule.

        Raises:
            HslError: a schedule that waits for a metric, of which there is none, or one that is as
                long as a training without a number of epochs.
        """
        self._rows, parameters = {}, []
        for name, direction in self.directions.items():
            if isinstance(direction, Shift) and direction.timesteps is not None:
                self._rows[name] = [nn.Parameter(row) for row in direction.delta.data]
                parameters += self._rows[name]
            else:
                parameters += direction.parameters()
        optimizer = self._optimizer(parameters)
        return [optimizer], [self.schedule_of(optimizer)]

    def _optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        with _saying("optimizer"):
            optimizer = self.make_optimizer(parameters)
            if self.lr is not None:
                for group in optimizer.param_groups:
                    group["lr"] = self.lr
            return optimizer

    def schedule_of(self, optimizer: Optimizer) -> Any:
        """The schedule of an optimiser's learning rate, as long as the training is.

        Raises:
            HslError: a training without a number of epochs, a schedule that waits for a metric, or
                one that refuses its values.
        """
        if not self._is_as_long_as_the_training:
            with _saying("lr_scheduler"):
                scheduler = self.make_scheduler(optimizer)
            if isinstance(scheduler, ReduceLROnPlateau):
                raise HslError("lr_scheduler: ReduceLROnPlateau waits for a metric; take another")
            return scheduler
        epochs = self.trainer.max_epochs or 0
        if epochs < 1:
            raise HslError("lr_scheduler: falls as long as the training is: give max_epochs, or "
                           "another schedule")  # fmt: skip
        make: Callable[..., LRScheduler] = self.make_scheduler
        return make(optimizer, epochs=epochs)

    @property
    def _is_as_long_as_the_training(self) -> bool:
        return "epochs" in inspect.signature(self.make_scheduler).parameters

    def _backward(self, losses: Iterable[Tensor]) -> None:
        """Gradients of one step's losses, averaged over the ranks once. Each loss's graph is freed
        before the next is built. A direction without a loss gets no gradient, so that no optimiser
        moves it."""
        if len(self.directions) == 1 or self.trainer.world_size == 1:
            for loss in losses:
                self.manual_backward(loss)
            return
        with self.trainer.strategy.block_backward_sync():  # type: ignore[attr-defined]
            for loss in losses:
                self.manual_backward(loss)
        idle = [p for p in self.directions.parameters() if p.grad is None]
        # DDP averages once every parameter has been through a backward pass
        parameters = [p.flatten() for p in self.directions.parameters()]
        self.manual_backward(0.0 * torch.cat(parameters).sum())
        for parameter in idle:
            parameter.grad = None

    def hand_over(self, t: int) -> None:
        """Give the gradients at ``t`` to the tensors of that timestep, and none to the others: each
        is a parameter of its own, which momentum does not move while it is not in use."""
        for name, rows in self._rows.items():
            shift = self.directions[name]
            assert isinstance(shift, Shift)
            for row in rows:
                row.grad = None
            if shift.delta.grad is not None:
                rows[shift.row(t)].grad = shift.delta.grad[shift.row(t)]

    def on_train_epoch_end(self) -> None:
        """One step of the learning rate's schedule, unless the training has diverged.

        Raises:
            HslError: it has diverged.
        """
        for name, direction in self.directions.items():
            if not all(p.isfinite().all() for p in direction.parameters()):
                raise HslError(f"{name}: the training has diverged, to NaN or infinite values; "
                               "give a smaller learning rate, or a wider precision")  # fmt: skip
        scheduler = self.lr_schedulers()
        assert scheduler is not None and not isinstance(scheduler, list)
        with _saying("lr_scheduler"):
            scheduler.step()


@contextmanager
def _saying(option: str) -> Iterator[None]:
    """Turn what a class that the user chose raises within this block, as it refuses its values,
    into one line.

    Raises:
        HslError: that line.
    """
    try:
        yield
    except HslError:
        raise
    except Exception as error:  # whatever PyTorch's and others' classes raise
        words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise HslError(f"{option}: {words}; give it other values, or take another") from error
