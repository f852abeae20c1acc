"""What every data set gives, and how it is split and batched: one contract for all of them."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler

from hsl.errors import HslError
from hsl.types import Batch

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Item(NamedTuple):
    """An image ``[3, S, S]`` float in [-1, 1], its ``labels [A]`` float in {0, 1}, its index, which
    no other image of its split has, and where it came from."""

    image: Tensor
    labels: Tensor
    index: int  # type: ignore[assignment]  # tuple has a method of that name
    path: str


class ImageSet(Dataset[Item]):
    """Images of one split, with their labels known before any image is made or decoded."""

    #: ``[N, A]`` float in {0, 1}.
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def collate(items: Sequence[Item]) -> Batch:
    """Stack items into a batch."""
    images, labels, indices, paths = zip(*items, strict=True)
    index = torch.tensor(indices, dtype=torch.long)
    return Batch(torch.stack(images), torch.stack(labels), index, list(paths))


def check_split(split: str) -> Split:
    """A split by its name.

    Raises:
        HslError: there is no such split.
    """
    for name in SPLITS:
        if name == split:
            return name
    raise HslError(f"split {split!r}: want one of {', '.join(SPLITS)}")


class DataModule(LightningDataModule):
    """Three sets of images as loaders of `Batch`; what is in them, `dataset` says.

    Validation, test and predict go through the images in order; predict takes all three sets.
    Training images come in an order that depends on ``seed`` and the epoch alone: R ranks with
    batches of B see, step by step, what one rank sees with batches of R * B.

    Args:
        batch_size: images in a batch, on each rank.
        num_workers: worker processes of each loader.
        seed: of the order of the training images.
    """

    #: The columns of ``Batch.labels``.
    names: tuple[str, ...] = ()

    def __init__(self, batch_size: int = 1, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise HslError(
                f"batch_size={batch_size}, num_workers={num_workers}: want at least 1 and 0"
            )
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed

    def dataset(self, split: Split) -> ImageSet:
        """The images of a split."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Item]:
        """Training images in an order of their own for each epoch."""
        images = self.dataset("train")
        world = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        return self.loader(images, sampler=DistributedSampler(images, *world, seed=self.seed))

    def val_dataloader(self) -> DataLoader[Item]:
        """Validation images, in order."""
        return self.loader(self.dataset("validation"))

    def test_dataloader(self) -> DataLoader[Item]:
        """Test images, in order."""
        return self.loader(self.dataset("test"))

    def predict_dataloader(self) -> DataLoader[Item]:
        """All images: training, validation, test, in order."""
        return self.loader(ConcatDataset([self.dataset(split) for split in SPLITS]))

    def loader(self, images: Dataset[Item], **order: Any) -> DataLoader[Item]:
        """A loader of images in their order, unless ``order`` (of `DataLoader`) says another."""
        return DataLoader(
            images,
            batch_size=self.batch_size,  # by name: Lightning builds loaders anew
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            **order,
        )
