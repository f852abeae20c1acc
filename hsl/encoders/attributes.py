"""Attribute classifiers: one logit an attribute."""

from typing import Self

from torch import Tensor, nn

from hsl.encoders.roles import Role
from hsl.encoders.tower import Tower
from hsl.encoders.weights import build, freeze, locate, read, suits

KIND = "attributes"


class AttributeClassifier(nn.Module):
    """Independent binary attributes of a face.

    ``names``: the attribute of each output; ``role``: guide or judge; ``domain`` and ``size``: the
    images that it is for (`hsl.encoders.roles`). Cards of the bundled
    ones name the script that trained them.
    """

    domain: str | None = None
    size: int | None = None

    def __init__(self, names: tuple[str, ...], role: Role, width: int) -> None:
        super().__init__()
        self.names = names
        self.role: Role = role
        self.tower = Tower(width, len(names))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, A]`` of images ``[B, 3, S, S]`` in [-1, 1]."""
        logits: Tensor = self.tower(images)
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Probabilities ``[B, A]`` in [0, 1] of images ``[B, 3, S, S]`` in [-1, 1]."""
        return self(images).sigmoid()

    @classmethod
    def load(cls, name: str, resize: bool = False) -> Self:
        """A frozen classifier in eval mode: a bundled one (`hsl.bundled`) or the path of a
        ``.safetensors`` file. ``resize``: take images of other sizes than its own, resized.

        Raises:
            HslError: nothing of that name, or a damaged file.
        """
        path = locate(name, KIND)
        config, tensors = read(path, KIND)
        network = build(
            path, lambda: cls(tuple(config["names"]), config["role"], config["width"]), tensors
        )
        network.domain, network.size = suits(config)
        freeze(network, tensors, path, resize)
        return network
