"""The convolutional image tower of the ToyFaces networks."""

from torch import Tensor, nn
from torch.nn.functional import interpolate

SIZE = 32


class Tower(nn.Module):
    """Four 3x3 or 4x4 convolutions with GroupNorm, then a linear layer: images
    ``[B, 3, S, S]`` in [-1, 1] -> ``[B, out]``. Other sizes are resized to 32 pixels.

    The linear layer sees all 4x4 places: small parts (a goatee, a tie) are told by where they
    are, which an average over places would lose.

    Args:
        width: channels of the first layer, a multiple of 8; then 2x, 4x, and 128.
        out: number of outputs.
    """

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
        features: Tensor = self.layers(to_size(images))
        return features


def to_size(images: Tensor) -> Tensor:
    """Images resized to 32x32 with antialiasing, if they are of another size."""
    if images.shape[-2:] == (SIZE, SIZE):
        return images
    return interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
