"""What every part of hsl passes around."""

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # what commands' options may be is read without PyTorch
    from torch import Tensor

#: How a direction is put in: see `hsl.process.edit.Edit`.
Injection = Literal["asymmetric", "symmetric", "replaced", "slerp"]
INJECTIONS: tuple[Injection, ...] = ("asymmetric", "symmetric", "replaced", "slerp")


class Batch(NamedTuple):
    """A batch of any data set.

    ``image [B, 3, S, S]`` float in [-1, 1]; ``labels [B, A]`` float in {0, 1} (A may be 0);
    ``index [B]`` int64, unique within the data set, so that a metric can drop what a distributed
    sampler repeats; ``path``: where each image came from, one string an image.
    """

    image: "Tensor"
    labels: "Tensor"
    index: "Tensor"  # type: ignore[assignment]  # tuple has a method of that name
    path: list[str]


def attribute_and_value(name: str) -> tuple[str, int]:
    """The attribute that a direction of this name is about, and what it sets it to: ``Smiling`` to
    1, ``Not_Young`` (which takes Young away) to 0."""
    return (name.removeprefix("Not_"), 0) if name.startswith("Not_") else (name, 1)
