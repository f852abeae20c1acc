"""From a decoded image to the square that a backbone takes, as each paper did it."""

import math
import random
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hsl.errors import HslError

Fit = Literal["crop", "stretch", "random"]
Resampling = Literal["lanczos", "bicubic", "bilinear", "box+bicubic"]
_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box+bicubic": Image.Resampling.BICUBIC,
}
_RANDOM = 1.25  # longest short side of a random crop, in units of the size (guided-diffusion)


@dataclass(frozen=True)
class Transform:
    """RGB image -> ``[3, size, size]`` float32 in [-1, 1].

    Args:
        size: height and width in pixels.
        fit: ``crop``: the short side is resized to ``size``, and the centre cut out; ``stretch``:
            both sides are, so that the aspect changes; ``random``: a window of the image whose
            short side is 1 to 1.25 times ``size``, drawn from ``seed`` and the image's number.
        resampling: filter, always with antialiasing; ``box+bicubic`` halves by means of 2 x 2
            pixels as long as the image is at least twice too large (guided-diffusion).
        seed: of the random windows.
        box: left, top, right, bottom in pixels: what is cut out of each image first.

    Raises:
        HslError: ``size`` below 1, an unknown ``fit`` or ``resampling``, an impossible ``box``, or
            an image that does not reach as far.
    """

    size: int
    fit: Fit = "crop"
    resampling: Resampling = "lanczos"
    seed: int = 0
    box: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise HslError(f"size={self.size}: images need at least 1 pixel")
        for value, kind in ((self.fit, Fit), (self.resampling, Resampling)):
            if value not in get_args(kind):
                raise HslError(f"{value!r}: want one of {', '.join(get_args(kind))}")
        if self.box is not None:
            ordered = len(self.box) == 4 and all(map(int.__lt__, self.box[:2], self.box[2:]))
            if not ordered or min(self.box) < 0:
                raise HslError(f"box={self.box}: want left, top, right, bottom in pixels")

    def __call__(self, image: Image.Image, number: int = 0) -> Tensor:
        if self.box is not None:
            left, top, right, bottom = self.box
            if image.width < right or image.height < bottom:
                raise HslError(
                    f"box={self.box}: an image has {image.width} x {image.height} pixels"
                )
            image = image.crop((left, top, right, bottom))
        if self.resampling == "box+bicubic":
            while min(image.size) >= 2 * self.size:
                half = (image.width // 2, image.height // 2)
                image = image.resize(half, Image.Resampling.BOX)
        window = None if self.fit == "stretch" else self._window(image, number)
        square = image.resize((self.size, self.size), _FILTERS[self.resampling], box=window)
        pixels = torch.from_numpy(np.array(square, dtype=np.float32))
        return pixels.permute(2, 0, 1).contiguous() / 127.5 - 1

    def _window(self, image: Image.Image, number: int) -> tuple[float, float, float, float]:
        """What is cut out, in pixels of the image. Resizing a window gives what resizing the whole
        and cropping at whole pixels gives, without the memory that a very long image would take.
        """
        sides, size = image.size, self.size
        draw = random.Random(f"{self.seed} {number}")
        short = size if self.fit == "crop" else draw.randint(size, math.ceil(_RANDOM * size))
        resized = [short if side == min(sides) else short * side // min(sides) for side in sides]
        room = [side - size for side in resized]
        start = [round(r / 2) if self.fit == "crop" else draw.randint(0, r) for r in room]
        scale = [side / whole for side, whole in zip(sides, resized, strict=True)]
        left, top = (s * f for s, f in zip(start, scale, strict=True))
        right, bottom = (
            min((s + size) * f, side) for s, f, side in zip(start, scale, sides, strict=True)
        )
        return left, top, right, bottom
