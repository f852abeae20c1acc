"""How hsl's trainers are set up, by the command line and from Python, unless told otherwise."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Options of `lightning.Trainer`. A fit validates only where it is asked to: strengths and mixing
#: steps are chosen on validation images by callbacks.
TRAINER: dict[str, Any] = {
    "max_epochs": 7,
    "limit_val_batches": 0,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 1,
    "enable_model_summary": False,
}
SEED = 0
#: Warnings that ask for what is meant to be so: frozen networks stay in evaluation mode, a few
#: hundred small images need no worker processes, a run may be continued in its folder, a closed
#: form takes no optimizer, our loaders go on within an epoch by themselves.
_NOT_NEEDED = (
    ".*in eval mode at the start of training.*",
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*treespec, LeafSpec.*",
    ".*have no `validation_step`.*",
    ".*will run with no optimizer.*",
    ".*your dataloader is not resumable.*",
)


def ignore_advice() -> None:
    """Ignore the warnings that are not needed, from now on."""
    for advice in _NOT_NEEDED:
        warnings.filterwarnings("ignore", advice)


@contextmanager
def without_advice() -> Iterator[None]:
    """Ignore them within a block."""
    with warnings.catch_warnings():
        ignore_advice()
        yield
