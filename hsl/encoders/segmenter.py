"""A face segmenter: which region each pixel belongs to."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hsl.bundled import BUNDLED
from hsl.encoders.roles import Role
from hsl.encoders.tower import to_size
from hsl.encoders.weights import build, freeze, locate, read, suits

KIND = "segmenter"


class Segmenter(nn.Module):
    """A small U-Net with three levels. A judge: it measures and enters no loss.

    ``regions``: the name of each class; ``domain`` and ``size``: the images that it is for
    (`hsl.encoders.roles`). The bundled one's card names the script that trained it.

    Args:
        regions: names of the classes.
        width: channels at full size, a multiple of 8; 2x and 4x below.
    """

    role: Role = "judge"
    domain: str | None = None
    size: int | None = None
    resize = False

    def __init__(self, regions: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.regions = regions
        self.top = _block(3, width)
        self.middle = _block(width, 2 * width, stride=2)
        self.bottom = nn.Sequential(
            _block(2 * width, 4 * width, stride=2), _block(4 * width, 4 * width)
        )
        self.up_middle = _block(6 * width, 2 * width)
        self.up_top = _block(3 * width, width)
        self.head = nn.Conv2d(width, len(regions), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, regions, S, S]`` of images ``[B, 3, S, S]`` in [-1, 1]."""
        top = self.top(to_size(images, self.resize))
        middle = self.middle(top)
        x = self.up_middle(torch.cat([_doubled(self.bottom(middle)), middle], dim=1))
        logits: Tensor = self.head(self.up_top(torch.cat([_doubled(x), top], dim=1)))
        if images.shape[-2:] != logits.shape[-2:]:
            return interpolate(logits, images.shape[-2:], mode="bilinear")
        return logits

    @classmethod
    def load(cls, name: str = BUNDLED.segmenter, resize: bool = False) -> Self:
        """A frozen segmenter in eval mode: the bundled one, or the path of a ``.safetensors`` file.
        ``resize``: take images of other sizes than its own, resized on the way in and out.

        Raises:
            HslError: nothing of that name, or a damaged file.
        """
        path = locate(name, KIND)
        config, tensors = read(path, KIND)
        network = build(path, lambda: cls(tuple(config["regions"]), config["width"]), tensors)
        network.domain, network.size = suits(config)
        freeze(network, tensors, path, resize)
        return network


def _block(before: int, channels: int, stride: int = 1) -> nn.Sequential:
    """Convolution, GroupNorm, SiLU."""
    kernel = 4 if stride == 2 else 3
    convolution = nn.Conv2d(before, channels, kernel, stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(8, channels), nn.SiLU())


def _doubled(x: Tensor) -> Tensor:
    """Twice as high and wide."""
    return interpolate(x, scale_factor=2.0, mode="nearest")
