"""Images of a folder, or of a data set on the Hub, for training, validation and test."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from datasets import Image as HubImage
from datasets import load_dataset
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hsl.data.images import image_files, load_image
from hsl.errors import HslError
from hsl.types import Batch

SPLITS = ("train", "validation", "test")
#: Reads image i, gives its file's bytes, and a name for each image.
Source = tuple[Callable[[int], Tensor], Callable[[int], bytes], list[str]]


class Item(NamedTuple):
    """An image ``[3, S, S]`` in [-1, 1], its number, and where it came from."""

    image: Tensor
    number: int
    path: str


class Images(Dataset[Item]):
    """Images that are read when they are asked for.

    Args:
        read: gives image ``i`` as ``[3, S, S]``.
        numbers: which images, by their numbers in the source.
        paths: a name for each image of the source.
    """

    def __init__(
        self, read: Callable[[int], Tensor], numbers: Sequence[int], paths: Sequence[str]
    ) -> None:
        self.read, self.numbers, self.paths = read, list(numbers), paths

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> Item:
        number = self.numbers[i]
        return Item(self.read(number), number, self.paths[number])


def collate(items: Sequence[Item]) -> Batch:
    """Stack images into a batch without labels."""
    images, numbers, paths = zip(*items, strict=True)
    labels = torch.zeros(len(items), 0)
    return Batch(torch.stack(images), labels, torch.tensor(numbers), list(paths))


class ImagesDataModule(LightningDataModule):
    """Unlabelled images, split by a hash of their content: 80% train, 10% validation, 10% test.

    So an image stays in its split when others are added, and copies of it do too.

    Args:
        source: a folder (searched with its subfolders), or a Hub id of a data set.
        size: height and width in pixels.
        train, validation, test: at most so many images of each split; None: all.
        batch_size: images in a batch.
        num_workers: worker processes of each loader.
        column: of a Hub data set, the one that holds the images.
        seed: seed of the order of the training images.

    Raises:
        HslError: no such folder or data set, no images, or a split that is left empty.
    """

    #: Images come without labels.
    names: tuple[str, ...] = ()

    def __init__(
        self,
        source: str,
        size: int = 256,
        train: int | None = 100,
        validation: int | None = 16,
        test: int | None = 64,
        batch_size: int = 1,
        num_workers: int = 4,
        column: str = "image",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source, self.size, self.column, self.seed = source, size, column, seed
        self.counts = dict(zip(SPLITS, (train, validation, test), strict=True))
        self.batch_size, self.num_workers = batch_size, num_workers
        self._sets: dict[str, Images] | None = None

    def sets(self) -> dict[str, Images]:
        """The data set of each split."""
        if self._sets is None:
            folder = Path(self.source).expanduser()
            read, contents, paths = self._folder(folder) if folder.exists() else self._hub()
            members: dict[str, list[int]] = {split: [] for split in SPLITS}
            for number in range(len(paths)):
                split = split_of(contents(number))
                wanted = self.counts[split]
                if wanted is None or len(members[split]) < wanted:
                    members[split].append(number)
                elif all(n is not None and len(members[s]) >= n for s, n in self.counts.items()):
                    break
            for split, numbers in members.items():
                if not numbers and self.counts[split] != 0:
                    raise HslError(
                        f"{self.source}: {len(paths)} images leave none for {split}; "
                        f"add images, or set {split} to 0"
                    )
            self._sets = {split: Images(read, n, paths) for split, n in members.items()}
        return self._sets

    def train_dataloader(self) -> DataLoader[Item]:
        """Training images, shuffled by ``seed``."""
        generator = torch.Generator().manual_seed(self.seed)
        return self._loader("train", shuffle=True, generator=generator)

    def val_dataloader(self) -> DataLoader[Item]:
        """Validation images, in order."""
        return self._loader("validation")

    def test_dataloader(self) -> DataLoader[Item]:
        """Test images, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Item]:
        """Training images, in order."""
        return self._loader("train")

    def _loader(
        self, split: str, shuffle: bool = False, generator: torch.Generator | None = None
    ) -> DataLoader[Item]:
        return DataLoader(
            self.sets()[split],
            batch_size=self.batch_size,  # by name: Lightning builds loaders anew
            shuffle=shuffle,
            num_workers=self.num_workers,
            collate_fn=collate,
            generator=generator,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )

    def _folder(self, folder: Path) -> Source:
        files = image_files(folder)

        def read(i: int) -> Tensor:
            return load_image(files[i], self.size)

        def contents(i: int) -> bytes:
            return files[i].read_bytes()

        return read, contents, [str(path) for path in files]

    def _hub(self) -> Source:
        try:
            rows = load_dataset(self.source, split="train")
        except Exception as error:  # the library raises its own, the Hub's and OS errors
            raise HslError(
                f"{self.source}: no such folder here, and the Hub could not be reached or has "
                f"no such data set ({type(error).__name__}); check the name and the network"
            ) from error
        if self.column not in rows.column_names:
            known = ", ".join(rows.column_names)
            raise HslError(f"{self.source}: no column {self.column!r}; there are {known}")
        raw = rows.cast_column(self.column, HubImage(decode=False))

        paths = [f"{self.source}/{i}" for i in range(len(rows))]

        def contents(i: int) -> bytes:
            row = raw[i][self.column]
            content: bytes = row["bytes"] or Path(row["path"]).read_bytes()
            return content

        def read(i: int) -> Tensor:
            return load_image(Path(paths[i]), self.size, contents(i))

        return read, contents, paths


def split_of(content: bytes) -> str:
    """The split of an image, from the SHA-256 of its file: 80%, 10%, 10%."""
    tenth = hashlib.sha256(content).digest()[0] * 10 // 256
    return SPLITS[max(tenth - 7, 0)]
