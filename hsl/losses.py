"""The directional CLIP loss and what Asyrp makes of it (Kwon et al. 2023, eq. 5-6)."""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from hsl.encoders.roles import Role, require_guide
from hsl.errors import HslError
from hsl.ranks import everyones, world


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
        as_released: compare all images of a batch with the source of its last one, as Asyrp's
            training does (``diffusion_latent.py``, 264 and 343); right is each with its own. Of a
            batch of one they are the same.

    Raises:
        HslError: a judge is given, the texts are alike, or their cosine is not positive.
    """

    def __init__(
        self,
        clip: ImageTextEncoder,
        source: str,
        target: str,
        templates: Sequence[str] = ("{}",),
        as_released: bool = False,
    ) -> None:
        super().__init__()
        self.as_released = as_released
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
        source_features = source_features[-1:] if self.as_released else source_features
        change = self.features(images) - source_features
        change = change / (change.norm(dim=1, keepdim=True) + 1e-7)
        return 1 - cosine_similarity(change, self.direction[None], dim=1, eps=1e-8)  # type: ignore[index]


def log_directional(l_dir: Tensor) -> Tensor:
    """Asyrp's L_clip = -log((2 - mean L_dir) / 2), a scalar: infinite slope at the worst image,
    flat at the best."""
    return -torch.log((2 - l_dir.mean()) / 2)


def identity_loss(embed: nn.Module, images: Tensor, sources: Tensor) -> Tensor:
    """1 - cos of the embeddings of each image and of its source, ``[B]`` in [0, 2], with a gradient
    in ``images``. (Asyrp's released code swaps the two, and so has none: ``id_loss.py``, 24-27.)

    Args:
        embed: frozen; images in [-1, 1] -> features ``[B, ...]``.
        images: edited, ``[B, 3, S, S]``.
        sources: the same unedited.
    """
    with torch.no_grad():
        target = embed(sources).flatten(1).float()
    return 1 - cosine_similarity(embed(images).flatten(1).float(), target, dim=1)


class BatchMean:
    """Means over a batch that is spread over ranks, in which repeated images weigh nothing.

    A loss that is no mean itself, such as `log_directional`, must see the mean of the whole batch;
    and a sampler gives every rank as many images, some a second time where they do not divide.

    Args:
        index: of this rank's images, ``[B]``.
        seen: indices of the epoch's images so far; those of the batch are added.
    """

    def __init__(self, index: Tensor, seen: set[int]) -> None:
        this_rank, self.ranks = world()
        self.rows: list[int] | None = None
        self.count = len(index)
        if self.ranks == 1:
            return
        self.count = 0
        for rank, batch in enumerate(everyones(index.tolist())):
            rows = []
            for i, image in enumerate(batch):
                if image not in seen:
                    rows.append(i)
                seen.add(image)
            self.count += len(rows)
            if rank == this_rank:
                self.rows = rows

    def __call__(self, values: Tensor) -> Tensor:
        """The mean of ``values [B, ...]``, the same on all ranks. The average of the ranks'
        gradients, which DDP takes, is its gradient."""
        if self.rows is None:
            return values.mean()
        local = values[self.rows].sum()
        total = local.detach().clone()
        dist.all_reduce(total)
        # the value of the sum over ranks, with this rank's gradient, which averaging divides
        total = total + self.ranks * (local - local.detach())
        return total / (max(self.count, 1) * values[0].numel())
