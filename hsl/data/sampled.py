"""Images that a backbone samples, by seed."""

from collections.abc import Callable

import torch
from torch import Tensor

from hsl.data.items import SPLITS, DataModule, ImageSet, Item, Split
from hsl.errors import HslError
from hsl.options.checks import require
from hsl.schema import whole

#: The seed of each split's first image.
FIRST: dict[Split, int] = {"train": 0, "validation": 1_000_000, "test": 2_000_000}
_LIMIT = 1_000_000
#: Makes images ``[N, 3, S, S]`` in [-1, 1] from seeds ``[N]`` int64.
Render = Callable[[Tensor], Tensor]


class SampledImages(ImageSet):
    """Seeds, and the images that they become when the first is asked for.

    Args:
        module: knows how to render.
        seeds: ``[N]`` int64.
    """

    def __init__(self, module: "SampledDataModule", seeds: Tensor) -> None:
        self.module, self.seeds = module, seeds
        self.labels = torch.zeros(len(seeds), 0)
        self._images: Tensor | None = None

    def __getitem__(self, i: int) -> Item:
        if self._images is None:
            if self.module.render is None:
                raise HslError(
                    "sampled images need a backbone that renders them: add "
                    "--trainer.callbacks+=hsl.callbacks.sampled.Sampled"
                )
            self._images = self.module.render(self.seeds)
        seed = int(self.seeds[i])
        return Item(self._images[i], self.labels[i], seed, f"seed/{seed}")


class SampledDataModule(DataModule):
    """Images sampled from the backbone that is edited: no photographs are needed, and inversion
    has nothing to lose on them. Seed s is the image of ``python -m hsl.edit --seeds s``.

    The index of an image is its seed; `FIRST` has the first of each split. The images are rendered
    by the callback `hsl.callbacks.sampled.Sampled`.

    Args:
        train, validation, test: number of images, up to a million.
        batch_size: images in a batch.
        seed: of the order of the training images.

    Raises:
        HslError: a number out of range.
    """

    #: How to render; the callback says it.
    render: Render | None = None

    def __init__(
        self,
        train: int = 100,
        validation: int = 16,
        test: int = 64,
        batch_size: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, 0, seed)  # what is rendered lies in this process's memory
        counts = dict(zip(SPLITS, (train, validation, test), strict=True))
        require("data", **{split: (n, whole(0, _LIMIT)) for split, n in counts.items()})
        self.counts = counts
        self._sets = {
            split: SampledImages(self, torch.arange(FIRST[split], FIRST[split] + n))
            for split, n in counts.items()
        }

    def dataset(self, split: Split) -> SampledImages:
        """The images of a split."""
        return self._sets[split]
