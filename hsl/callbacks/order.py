"""The callbacks that a method brings, in the order in which they work on each other's results."""

from collections.abc import Sequence

import lightning as L


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
        by_default: whether to add what the trainer has not.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    own = {kind: [each for each in callbacks if isinstance(each, kind)] for kind in kinds}
    left = [each for each in callbacks if not isinstance(each, tuple(kinds))]
    trainer.callbacks = left  # type: ignore[attr-defined]
    return [
        each for kind, theirs in own.items() for each in theirs or ([kind()] if by_default else [])
    ]
