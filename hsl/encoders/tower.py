"""The convolutional image tower of the small networks."""

from torch import Tensor, nn
from torch.nn.functional import interpolate

from hsl.errors import HslError

SIZE = 32


class Tower(nn.Module):
    """Four 3x3 or 4x4 convolutions with GroupNorm, then a linear layer: images
    ``[B, 3, S, S]`` in [-1, 1] -> ``[B, out]``, with S = 32. Other sizes are refused, or, with
    ``resize``, made 32.

    The linear layer sees all 4x4 places: small parts (a goatee, a tie) are told by where they
    are, which an average over places would lose.

    Args:
        width: channels of the first layer, a multiple of 8; then 2x, 4x, and 128.
        out: number of outputs.
    """

    resize = False

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for i, channels in enumerate((width, 2 * width, 4 * width, 128)):
            kernel, stride = (4, 2) if i else (3, 1)
            layers += [nn.Conv2d(before, channels, kernel, stride, padding=1)]
            layers += [nn.GroupNorm(8, channels), nn.SiLU()]
            before = channels
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * (SIZE // 8) ** 2, out))

    def forward(self, images: Tensor) -> Tensor:
        """``[B, out]``, differentiable with respect to ``images``."""
        like = next(self.parameters())  # which a trainer's precision may have cast
        features: Tensor = self.layers(to_size(images, self.resize).to(like))
        return features


def to_size(images: Tensor, resize: bool) -> Tensor:
    """Images of 32x32 pixels as they are; others, if they are to be resized, with antialiasing.

    Raises:
        HslError: images of another size that are not to be resized.
    """
    height, width = images.shape[-2:]
    if (height, width) == (SIZE, SIZE):
        return images
    if not resize:
        raise HslError(f"this network is for images of {SIZE} pixels, and these have {height} x "
                       f"{width}: take another, or, for such images of another size, load it with "
                       "resize")  # fmt: skip
    # the CPU has no antialiasing in bfloat16
    resized = interpolate(images.float(), (SIZE, SIZE), mode="bilinear", antialias=True)
    return resized.to(images)
