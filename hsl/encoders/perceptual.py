"""LPIPS-style distances between images (Zhang et al. 2018, eq. 1)."""

import warnings
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hsl.bundled import BUNDLED
from hsl.encoders.roles import Role
from hsl.encoders.tower import to_size
from hsl.encoders.weights import build, freeze, locate, read, suits
from hsl.errors import HslError
from hsl.hub import limited

KIND = "perceptual"
NETS = ("alex", "vgg", "squeeze")


class Thresholds(NamedTuple):
    """Where t_edit and t_boost lie on a network's curves (Kwon et al. 2023, section 3.3): of the
    distance of P_t, which the cosine of the texts multiplies, and of that of x_t."""

    edit: float
    boost: float


#: LPIPS(x_0, P at t_edit) = 0.33 x the cosine of the texts, and LPIPS(x_0, x at t_boost) = 1.2,
#: both with the AlexNet LPIPS at 256 pixels.
PAPER = Thresholds(0.33, 1.2)


class PerceptualDistance(nn.Module):
    """Distance between two images as a network sees them.

    The scale of the bundled judge: 0.02 is noise of 0.1; 0.04 a smile; 0.1 a shift by one pixel,
    or eyeglasses; 0.25 a hat, or noise of 0.4; 0.5 another hair colour; 1 the mean of two unrelated
    faces. Its model card has more.

    ``role``: a guide chooses editing intervals, a judge measures; ``thresholds``: the guide's, None
    if it has none; ``domain`` and ``size``: the images that it is for (`hsl.encoders.roles`).

    Args:
        network: (x, y) -> distances of B elements in any shape.
        role: guide or judge.
        thresholds: see above.
    """

    domain: str | None = None
    size: int | None = None

    def __init__(
        self, network: nn.Module, role: Role = "judge", thresholds: Thresholds | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.role: Role = role
        self.thresholds = thresholds

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances ``[B]``, >= 0, of images ``[B, 3, S, S]`` in [-1, 1]."""
        distance: Tensor = self.network(x, y)
        return distance.flatten()

    @classmethod
    def load(cls, name: str, role: Role = "judge", resize: bool = False) -> Self:
        """A frozen distance in eval mode.

        Args:
            name: that of the bundled guide or judge (which need no download), the path of a
                ``.safetensors`` file, or ``lpips/alex``, ``lpips/vgg``, ``lpips/squeeze`` of the
                ``lpips`` package.
            role: of one of that package, which so is not used for both; the others have their own.
            resize: let one that is for images of one size alone take others, resized.

        Raises:
            HslError: nothing of that name, a damaged file, or no network to download from.
        """
        package, _, net = name.partition("/")
        if package == "lpips":
            return cls(_lpips(net), role, PAPER if net == "alex" else None).eval()
        path = locate(name, KIND)
        config, tensors = read(path, KIND)
        network = build(path, lambda: LayerDistance(config["width"]), tensors)
        freeze(network, tensors, path, resize)
        limits = config.get("thresholds")
        distance = cls(network, config["role"], Thresholds(**limits) if limits else None)
        distance.domain, distance.size = suits(config)
        return distance.eval()


class LayerDistance(nn.Module):
    """sum_l w_l mean_hw |u(f_l(x)) - u(f_l(y))|^2, with u to unit length over channels.

    Four convolutions without normalisation layers, so that a feature depends on its surroundings
    alone. ``weights [4]``, >= 0, are calibrated by the script that trains the network.

    Args:
        width: channels of the first layer; 2x, 4x and 4x below.
    """

    weights: Tensor
    resize = False

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = (3, width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 4 if i else 3, 2 if i else 1, padding=1)
            for i in range(4)
        )
        self.register_buffer("weights", torch.ones(4))

    def features(self, images: Tensor) -> list[Tensor]:
        """The four layers' features of images ``[B, 3, S, S]`` in [-1, 1], at 32, 16, 8, 4 px."""
        x, features = to_size(images, self.resize), []
        for layer in self.layers:
            x = nn.functional.silu(layer(x))
            features.append(x)
        return features

    def by_layer(self, x: Tensor, y: Tensor) -> Tensor:
        """Unweighted distances ``[B, 4]``."""
        pairs = zip(self.features(x), self.features(y), strict=True)
        gaps = [(normalize(a, dim=1) - normalize(b, dim=1)).square().sum(1) for a, b in pairs]
        return torch.stack([gap.mean((1, 2)) for gap in gaps], dim=1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances ``[B]``."""
        return self.by_layer(x, y) @ self.weights


def _lpips(net: str) -> nn.Module:
    """The lpips package's distance for images in [-1, 1]."""
    if net not in NETS:
        raise HslError(f"lpips/{net}: unknown network; there are lpips/{', lpips/'.join(NETS)}")
    import lpips  # slow to import, and only needed here

    try:
        with warnings.catch_warnings(), limited():
            warnings.simplefilter("ignore")  # it calls torchvision as torchvision 0.12 was called
            distance: nn.Module = lpips.LPIPS(net=net, verbose=False)
    except (OSError, RuntimeError) as error:
        raise HslError(
            f"lpips/{net}: the weights of its network could not be downloaded; run once with "
            f"network, or use {BUNDLED.guide} or {BUNDLED.judge}"
        ) from error
    return distance.eval().requires_grad_(False)
