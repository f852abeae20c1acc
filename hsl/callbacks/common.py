"""What callbacks share: the method behind a trainer, its run folder, its data."""

from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.methods.base import Method
from hsl.types import Batch


def method_of(module: L.LightningModule) -> Method:
    """The module as a `Method`.

    Raises:
        HslError: it is none.
    """
    if not isinstance(module, Method):
        raise HslError(f"hsl's callbacks need a Method, not a {type(module).__name__}")
    return module


def run_folder(trainer: L.Trainer) -> Path:
    """Where this run writes: the first logger's folder, else the trainer's."""
    folder = Path(trainer.log_dir or trainer.default_root_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def first_faces(trainer: L.Trainer, split: str, n: int, device: torch.device) -> Batch:
    """The first ``n`` images of a split (``train``, ``validation``, ``test``), in order of index,
    the same on every rank.

    Raises:
        HslError: the trainer has no data module, or the split is empty.
    """
    data = getattr(trainer, "datamodule", None)
    if data is None:
        raise HslError("give the trainer a data module")
    loaders = {
        "train": data.train_dataloader,
        "validation": data.val_dataloader,
        "test": data.test_dataloader,
    }
    parts, have = [], 0
    for batch in _batches(loaders[split]()):
        parts.append(batch)
        have += len(batch.image)
        if have >= n and split != "train":
            break
    if not parts:
        raise HslError(f"the {split} set is empty")
    order = torch.cat([b.index for b in parts]).argsort(stable=True)[:n]
    paths = [path for b in parts for path in b.path]
    image, label, index = (torch.cat(t)[order] for t in _columns(parts))
    return Batch(
        image.to(device), label.to(device), index.to(device), [paths[i] for i in order.tolist()]
    )


def in_pieces(n: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``range(n)``."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _batches(loader: object) -> Iterator[Batch]:
    for batch in loader:  # type: ignore[attr-defined]
        yield Batch(*batch)


def _columns(parts: list[Batch]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    return [b.image for b in parts], [b.labels for b in parts], [b.index for b in parts]
