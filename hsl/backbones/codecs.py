"""Image codecs: what stands between an image and the tensor that a denoiser sees."""

from typing import Protocol

from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


class Codec(Protocol):
    """Maps images ``[B, 3, S, S]`` in [-1, 1] to the denoiser's x_0 ``[B, C, s, s]`` and back."""

    def encode(self, image: Tensor) -> Tensor:
        """Image to x_0."""
        ...

    def decode(self, x: Tensor) -> Tensor:
        """X_0 to image."""
        ...


class Identity:
    """Pixel-space diffusion: x_0 is the image."""

    def encode(self, image: Tensor) -> Tensor:
        """Return the image."""
        return image

    def decode(self, x: Tensor) -> Tensor:
        """Return x_0."""
        return x


class SpaceToDepth:
    """Folds ``factor x factor`` pixels into channels: lossless, for small images."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def encode(self, image: Tensor) -> Tensor:
        """``[B, 3, S, S]`` to ``[B, 3 f^2, S/f, S/f]``."""
        return pixel_unshuffle(image, self.factor)

    def decode(self, x: Tensor) -> Tensor:
        """``[B, 3 f^2, s, s]`` to ``[B, 3, s f, s f]``."""
        return pixel_shuffle(x, self.factor)
