"""What every part of hsl passes around."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """A batch of any data set.

    ``image [B, 3, S, S]`` float in [-1, 1]; ``labels [B, A]`` float in {0, 1} (A may be 0);
    ``index [B]`` int64, unique within the data set, so that a metric can drop what a distributed
    sampler repeats; ``path``: where each image came from, one string an image.
    """

    image: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]  # tuple has a method of that name
    path: list[str]
