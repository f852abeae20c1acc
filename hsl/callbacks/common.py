"""What callbacks share: the method behind a trainer, its run folder, its data."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch

from hsl.errors import HslError
from hsl.methods.base import Method
from hsl.types import Batch, attribute_and_value

#: Figures that differ between two runs of the same work.
_COSTS = ("seconds", "peak_memory_mb")


def method_of(module: L.LightningModule) -> Method:
    """The module as a `Method`.

    Raises:
        HslError: it is none.
    """
    if not isinstance(module, Method):
        raise HslError(f"hsl's callbacks need a Method, not a {type(module).__name__}")
    return module


def run_folder(trainer: L.Trainer) -> Path:
    """Where this run writes: the trainer's ``default_root_dir``. (Its ``log_dir`` is a collective
    call, which must not be made on the first rank alone.)"""
    folder = Path(trainer.default_root_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log_figures(
    module: L.LightningModule, stage: str, results: Mapping[str, Mapping[str, Any]], several: bool
) -> None:
    """Log each direction's figures for callbacks, loggers and what the trainer returns:
    ``test/effect``, or ``test/NAME/effect`` of ``several`` directions. What is no number, such as
    an interval, and what the measuring cost is left out. All ranks must call this, with the same
    figures."""
    for name, figures in results.items():
        prefix = f"{stage}/{name}/" if several else f"{stage}/"
        numbers = {
            prefix + key: float(value)
            for key, value in figures.items()
            if isinstance(value, int | float) and key not in _COSTS
        }
        module.log_dict(numbers, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)


def first_faces(
    trainer: L.Trainer, split: str, n: int, device: torch.device, lacking: str | None = None
) -> Batch:
    """The first ``n`` images of a split (``train``, ``validation``, ``test``) in the order of its
    data set, the same on every rank; only those not labelled to be already what the direction
    ``lacking`` makes of them.

    Raises:
        HslError: the trainer has no data module, or there is no such image.
    """
    data = getattr(trainer, "datamodule", None)
    if data is None:
        raise HslError("give the trainer a data module")
    loaders = {
        "train": data.train_dataloader,
        "validation": data.val_dataloader,
        "test": data.test_dataloader,
    }
    loader = loaders[split]()
    items = (loader.dataset[i] for i in range(len(loader.dataset)))
    attribute, value = attribute_and_value(lacking or "")
    if attribute in getattr(data, "names", ()):
        column = list(data.names).index(attribute)
        items = (item for item in items if float(item.labels[column]) != value)
    first = list(islice(items, n))
    if not first:
        lack = f" without {lacking}" if lacking and len(loader.dataset) else ""
        raise HslError(f"the {split} set has no images{lack}: give it some")
    batch: Batch = loader.collate_fn(first)
    image, labels, index = (t.to(device) for t in batch[:3])
    return Batch(image, labels, index, batch.path)


def lacking(trainer: L.Trainer, batch: Batch, name: str) -> torch.Tensor:
    """Which images ``[B]`` are not labelled to be already what the edit makes of them."""
    names = list(getattr(getattr(trainer, "datamodule", None), "names", ()))
    target, value = attribute_and_value(name)
    if target not in names:
        return torch.ones(len(batch.index), dtype=torch.bool, device=batch.index.device)
    return batch.labels[:, names.index(target)] != value


def in_pieces(n: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``range(n)``."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
