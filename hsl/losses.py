"""The directional CLIP loss and what Asyrp makes of it (Kwon et al. 2023, eq. 5-6)."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from hsl.encoders.roles import Role, require_guide
from hsl.errors import HslError


class ImageTextEncoder(Protocol):
    """What the loss needs of a CLIP."""

    role: Role

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``[B, E]`` of images ``[B, 3, S, S]`` in [-1, 1]."""
        ...

    def encode_text(self, texts: list[str]) -> Tensor:
        """Features ``[N, E]``."""
        ...


class DirectionalClipLoss(nn.Module):
    """1 - cos(change of the image's features, change of the text's), per image.

    The text's change is the mean over templates of the difference of unit features, normalised
    (Gal et al. 2022; StyleGAN-NADA). Features and directions are compared in float32.

    Args:
        clip: a guide; its weights are not touched.
        source: text of what is there, e.g. ``face``.
        target: text of what is wanted, e.g. ``smiling face``.
        templates: sentences with one ``{}``.

    Raises:
        HslError: a judge is given, the texts are alike, or their cosine is not positive.
    """

    def __init__(
        self, clip: ImageTextEncoder, source: str, target: str, templates: Sequence[str] = ("{}",)
    ) -> None:
        super().__init__()
        require_guide(clip, "directional CLIP loss")
        if not templates or not all("{}" in template for template in templates):
            raise HslError("templates: want at least one, each with {} for the text")
        # kept out of the module tree: a frozen network has no place in checkpoints
        self._clip = (clip,)
        with torch.no_grad():
            bare = clip.encode_text([source, target]).float()
            self.cosine = float(cosine_similarity(bare[:1], bare[1:], eps=1e-6))
            before = normalize(clip.encode_text([t.format(source) for t in templates]).float())
            after = normalize(clip.encode_text([t.format(target) for t in templates]).float())
            change = (after - before).mean(0)
        if self.cosine <= 0:
            raise HslError(
                f"texts {source!r} and {target!r} have cosine {self.cosine:.3f}; L1 and t_edit "
                "are weighed by it, so it must be positive: choose closer texts"
            )
        if float(change.norm()) < 1e-6:
            raise HslError(f"texts {source!r} and {target!r} look alike to CLIP: no direction")
        self.register_buffer("direction", normalize(change, dim=0), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Unit features ``[B, E]`` of images in [-1, 1]."""
        return normalize(self._clip[0].encode_image(images).float())

    def forward(self, images: Tensor, source_features: Tensor) -> Tensor:
        """L_dir of each image, ``[B]`` in [0, 2].

        Args:
            images: edited, ``[B, 3, S, S]`` in [-1, 1].
            source_features: `features` of each image's own source, ``[B, E]``.
        """
        change = self.features(images) - source_features
        change = change / (change.norm(dim=1, keepdim=True) + 1e-7)
        return 1 - cosine_similarity(change, self.direction[None], dim=1, eps=1e-8)  # type: ignore[index]


def log_directional(l_dir: Tensor) -> Tensor:
    """Asyrp's L_clip = -log((2 - mean L_dir) / 2), a scalar: infinite slope at the worst image,
    flat at the best."""
    return -torch.log((2 - l_dir.mean()) / 2)
