"""What every data set gives, and how it is split and batched: one contract for all of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler

from hsl.errors import HslError
from hsl.options.checks import at_least_one, require
from hsl.schema import optional, whole
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


class Order(DistributedSampler[int]):
    """The order of an epoch's images on one rank, which depends on ``seed`` and the epoch alone:
    of R ranks, rank r has every R-th image from the r-th on. Where they do not divide, the first
    images of the order come a second time.

    Args:
        images: what is ordered.
        ranks, rank: their number, and which this is.
        seed: of the order.
        begin: an epoch, and how many of its images on each rank were seen before this run of it.
    """

    def __init__(
        self,
        images: ImageSet,
        ranks: int = 1,
        rank: int = 0,
        seed: int = 0,
        begin: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(images, ranks, rank, seed=seed)
        self.epoch, _ = self.begin = begin

    def order(self) -> list[int]:
        """The positions of all images, as `DistributedSampler` shuffles them."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return torch.randperm(len(self.dataset), generator=generator).tolist()  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        order = self.order()
        mine = [order[i % len(order)] for i in range(self.rank, self.total_size, self.num_replicas)]
        epoch, seen = self.begin
        return iter(mine[seen:] if self.epoch == epoch else mine)


class DataModule(LightningDataModule):
    """Three sets of images as loaders of `Batch`; what is in them, `dataset` says.

    Validation, test and predict go through the images in order; predict takes all three sets.
    Training images come in an order that depends on ``seed`` and the epoch alone: R ranks with
    batches of B see, step by step, what one rank sees with batches of R * B.

    Args:
        batch_size: images in a batch, on each rank.
        num_workers: worker processes of each loader.
        seed: of the order of the training images.
        size: height and width of images in pixels; None: what the backbone of the trainer's model
            takes (`suit`) or, without one, `usual_size`.

    Raises:
        HslError: a number out of range.
    """

    #: The columns of ``Batch.labels``.
    names: tuple[str, ...] = ()
    #: What the images are of, as a judge may want to know (`hsl.encoders.roles`); None: not known.
    domain: str | None = None
    #: How training images are ordered.
    order: type[Order] = Order
    #: Height and width of images where nobody says another.
    usual_size: ClassVar[int] = 256
    #: How many images of each split are asked for; None: all.
    counts: Mapping[Split, int | None]
    #: The labels whose `counterfactual` is known.
    counterfactuals: tuple[str, ...] = ()

    def __init__(
        self, batch_size: int = 1, num_workers: int = 0, seed: int = 0, size: int | None = None
    ) -> None:
        super().__init__()
        require(
            "data",
            batch_size=(batch_size, at_least_one),
            num_workers=(num_workers, whole(0, 10_000)),
            seed=(seed, whole()),
            size=(size, optional(whole(1, 100_000))),
        )
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.size, self._told = size or self.usual_size, size is not None

    def suit(self, size: int) -> None:
        """Make images of ``size`` pixels, as a backbone takes them, unless a size was given.

        Raises:
            HslError: another size was given.
        """
        if self._told and self.size != size:
            raise HslError(f"data: size is {self.size}, and the backbone takes images of {size} "
                           "pixels: leave size out")  # fmt: skip
        if self.size != size:
            self.size = size
            self.forget()

    def forget(self) -> None:
        """Drop images that were made in another size."""

    @classmethod
    def options_for(cls, images: Mapping[str, int], attribute: str | None) -> dict[str, Any]:
        """Values of options that were left out (None), for a method that asks for so many
        ``images`` of each split, and that edits ``attribute`` alone (None: not one alone). Here
        none: images that are there already are taken as they are."""
        return {}

    def follow(self, options: Mapping[str, Any]) -> None:
        """Take the values of `options_for` for options that were not given. A data module whose
        `options_for` has any implements it."""

    def counterfactual(
        self, indices: Tensor | Sequence[int], split: str, **attributes: int
    ) -> Tensor:
        """The truth that an edit aims at: the images ``indices`` (``batch.index``) of a split with
        ``attributes`` (some of `counterfactuals`) set to 0 or 1 and all else as it was,
        ``[B, 3, S, S]`` in [-1, 1].

        Raises:
            HslError: it is not known.
        """
        raise HslError(f"{type(self).__name__}: knows no image's counterfactual")

    def prepare_data(self) -> None:
        """Suit the model that the trainer has, a method of hsl's."""
        self._suit_the_model()

    def setup(self, stage: str) -> None:
        """The same, on every rank."""
        self._suit_the_model()

    def _suit_the_model(self) -> None:
        model = getattr(self.trainer, "lightning_module", None)
        if (backbone := getattr(model, "backbone", None)) is None:
            return
        self.suit(int(backbone.image_size))
        self.follow(
            self.options_for(getattr(model, "faces", {}), getattr(model, "attribute", None))
        )

    def dataset(self, split: Split) -> ImageSet:
        """The images of a split."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Item]:
        """Training images in an order of their own for each epoch. A resumed run goes on after
        the last batch that its checkpoint counts."""
        images, ranks, begin = self.dataset("train"), (1, 0), (0, 0)
        if self.trainer is not None:
            ranks, loop = (self.trainer.world_size, self.trainer.global_rank), self.trainer.fit_loop
            epochs: Any = loop.epoch_progress.current
            batches: Any = loop.epoch_loop.batch_progress.current
            within = epochs.ready > epochs.processed
            begin = (epochs.processed, batches.processed * self.batch_size if within else 0)
        sampler = self.order(images, *ranks, seed=self.seed, begin=begin)
        # a generator of its own: whether a loader is begun once or twice changes no other numbers
        return self.loader(images, sampler=sampler, generator=torch.Generator().manual_seed(0))

    def val_dataloader(self) -> DataLoader[Item]:
        """Validation images, in order."""
        # a generator of its own: a training with validation draws the numbers of one without
        generator = torch.Generator().manual_seed(0)
        return self.loader(self.dataset("validation"), generator=generator)

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
