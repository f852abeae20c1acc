"""What a method asks of a trainer: the callbacks around it, and ranks that each have all of it."""

import multiprocessing
from collections.abc import Sequence

import lightning as L
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
)

from hsl.encoders.roles import unsuited
from hsl.errors import HslError

_SPLITTING = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)
#: The reason for which ranks have to be processes of their own.
SPAWNED = ("trainer: ranks that are started by multiprocessing (ddp_spawn, ddp_fork, ddp_notebook) "
           "keep what they find to themselves: give strategy ddp")  # fmt: skip


def brought(
    trainer: L.Trainer, kinds: Sequence[type[L.Callback]], by_default: bool = True
) -> list[L.Callback]:
    """For `LightningModule.configure_callbacks`: callbacks of each kind, in the order of ``kinds``;
    the trainer's own where it has some, which are taken out of its list, else one with default
    options. Lightning adds them to those that are left, which keep their order, and puts what
    saves checkpoints last.

    Args:
        trainer: that is about to run.
        kinds: classes whose arguments all have defaults.
        by_default: whether to add one of each kind of which the trainer has none.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    by_kind = {kind: [c for c in callbacks if isinstance(c, kind)] for kind in kinds}
    others = [c for c in callbacks if not isinstance(c, tuple(kinds))]
    trainer.callbacks = others  # type: ignore[attr-defined]
    return [
        c for kind, theirs in by_kind.items() for c in theirs or ([kind()] if by_default else [])
    ]


def require_strategy(trainer: L.Trainer) -> None:
    """Refuse a trainer that splits the method over its ranks, or whose ranks keep to themselves
    what they find.

    Raises:
        HslError: it does.
    """
    strategy = trainer.strategy
    if isinstance(strategy, _SPLITTING):
        raise HslError(f"trainer: {type(strategy).__name__} spreads a network over GPUs, and what "
                       "is trained is small: give strategy ddp")  # fmt: skip
    spawned = multiprocessing.parent_process() is not None
    if isinstance(strategy, DDPStrategy) and strategy.launcher is not None and spawned:
        raise HslError(SPAWNED)


def why_unsuited(network: object, trainer: L.Trainer, size: int | None) -> str | None:
    """Why a guide or judge is not for the images of a trainer's data, which have ``size`` pixels
    (None: of no matter); None if it is."""
    data = getattr(trainer, "datamodule", None)
    return unsuited(network, getattr(data, "domain", None), size)


def require_suited(network: object, name: str, trainer: L.Trainer) -> None:
    """Refuse a CLIP that is not for the images of a trainer's data.

    Raises:
        HslError: it is for others.
    """
    if reason := why_unsuited(network, trainer, None):
        raise HslError(f"clip {name} {reason}: give --model.init_args.clip, such as "
                       "ViT-B-16-quickgelu/openai")  # fmt: skip
