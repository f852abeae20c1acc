"""S_dir: does the image change as the text does?"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from hsl.encoders.roles import Role
from hsl.errors import HslError
from hsl.metrics.base import PerSample, check_images, on_device, unregistered


class ClipJudge(Protocol):
    """A CLIP with role judge."""

    role: Role

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``[B, D]`` of images ``[B, 3, S, S]`` in [-1, 1]."""

    def encode_text(self, texts: list[str]) -> Tensor:
        """Features ``[N, D]`` of texts."""


class DirectionalSimilarity(PerSample):
    """Directional CLIP similarity (Patashnik et al. 2021; Gal et al. 2022; Asyrp's S_dir):

        S_dir = cos(E_I(edited) - E_I(source), E_T(target text) - E_T(source text))

    of each image, then the mean. Features are normalised before the difference; the text
    features are means over templates.

    Figures are comparable only under the same CLIP and templates. Values of 0.8 to 1 published
    for Asyrp cannot be this cosine, which is near 0.1 for real CLIPs; ``s_dir_loss`` is
    1 - S_dir, which is on their scale.

    Args:
        clip: image and text encoder with role judge.
        source_text, target_text: e.g. "face" and "smiling face".
        templates: sentences with ``{}`` for the text.

    Raises:
        HslError: a guide; a template without ``{}``; texts that the CLIP does not tell apart.
    """

    text_direction: Tensor

    def __init__(
        self,
        clip: ClipJudge,
        source_text: str,
        target_text: str,
        templates: Sequence[str] = ("{}",),
        **kwargs: Any,
    ) -> None:
        super().__init__(columns=1, **kwargs)
        self._clip = unregistered(clip, type(self).__name__)
        if not templates or not all("{}" in template for template in templates):
            raise HslError("templates: want at least one, each with {} for the text")
        features = []
        with torch.no_grad():
            for text in (source_text, target_text):
                texts = [template.replace("{}", text) for template in templates]
                features.append(normalize(clip.encode_text(texts).float(), dim=1).mean(0))
        direction = features[1] - features[0]
        if float(direction.norm()) < 1e-6:
            raise HslError(f"{source_text!r} and {target_text!r} are one to this CLIP; reword one")
        self.register_buffer("text_direction", direction, persistent=False)

    def update(self, before: Tensor, after: Tensor, index: Tensor) -> None:
        """Compare source images and edited images ``[B, 3, S, S]``, float in [-1, 1], numbered
        ``index [B]``. An unchanged image scores 0."""
        before, after = check_images("DirectionalSimilarity", before=before, after=after)
        clip = on_device(self._clip[0], before.device)
        features = [normalize(clip.encode_image(x).float(), dim=1) for x in (before, after)]
        direction = self.text_direction.to(before.device)
        cosine = cosine_similarity(features[1] - features[0], direction[None], dim=1)
        self.add(index, cosine[:, None])

    def each(self, values: Tensor) -> Mapping[str, Tensor]:
        """``s_dir``: cosine; ``s_dir_loss``: 1 - ``s_dir``."""
        return {"s_dir": values[:, 0], "s_dir_loss": 1 - values[:, 0]}
