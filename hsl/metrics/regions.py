"""Where an edit changes the image."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hsl.encoders.roles import Role
from hsl.errors import HslError
from hsl.metrics.base import PerSample, check_images, on_device, unregistered


class SegmenterJudge(Protocol):
    """A segmenter with role judge, as `hsl.encoders.segmenter.Segmenter`."""

    role: Role
    regions: Sequence[str]

    def __call__(self, images: Tensor) -> Tensor:
        """Logits ``[B, regions, S, S]`` of images ``[B, 3, S, S]`` in [-1, 1]."""


class RegionChange(PerSample):
    """Change of the pixels inside some regions of the face, and outside.

    A pixel is inside if it belongs to one of the regions before or after the edit: what a smile
    uncovers counts to the mouth.

    Args:
        segmenter: segmenter with role judge.
        regions: names of the regions where the edit should act, e.g. ``["mouth"]``.

    Raises:
        HslError: a guide; no region, or one that the segmenter does not know.
    """

    def __init__(self, segmenter: SegmenterJudge, regions: Collection[str], **kwargs: Any) -> None:
        super().__init__(columns=3, **kwargs)
        self._segmenter = unregistered(segmenter, type(self).__name__)
        known = list(segmenter.regions)
        if not regions or not set(regions) <= set(known):
            raise HslError(f"regions {', '.join(regions)}: want some of {', '.join(known)}")
        self.columns_inside = [known.index(name) for name in regions]

    def update(self, before: Tensor, after: Tensor, index: Tensor) -> None:
        """Compare source images and edited images ``[B, 3, S, S]``, float in [-1, 1], numbered
        ``index [B]``."""
        before, after = check_images("RegionChange", before=before, after=after)
        segmenter = on_device(self._segmenter[0], before.device)
        columns = torch.tensor(self.columns_inside, device=before.device)
        inside = torch.zeros_like(before[:, 0], dtype=torch.bool)
        for images in (before, after):
            inside |= torch.isin(segmenter(images).argmax(1), columns)
        change = (after - before).abs().mean(1)
        sums = [(change * inside).sum((1, 2)), (change * ~inside).sum((1, 2))]
        counts = [inside.sum((1, 2)), (~inside).sum((1, 2))]
        share = sums[0] / (sums[0] + sums[1])  # NaN where nothing changed
        means = [total / count for total, count in zip(sums, counts, strict=True)]
        self.add(index, torch.stack([*means, share], dim=1))

    def each(self, values: Tensor) -> Mapping[str, Tensor]:
        """``change_inside``, ``change_outside``: mean absolute change of a pixel, 0 to 2;
        ``change_share_inside``: the share of all change that lies inside. Images that do not
        have the region, or have nothing else, or did not change, do not count where there is
        nothing to average."""
        inside, outside, share = values.unbind(1)
        return {"change_inside": inside, "change_outside": outside, "change_share_inside": share}
