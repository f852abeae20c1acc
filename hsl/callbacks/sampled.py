"""Renders the images of `hsl.data.sampled` by the backbone that is edited."""

import lightning as L
import torch
from torch import Tensor

from hsl.callbacks.common import in_pieces, method_of
from hsl.data.sampled import SampledDataModule
from hsl.methods.base import Method
from hsl.options.checks import at_least_one, require
from hsl.process import SeededNoise, last, reverse
from hsl.progress import track
from hsl.store import key_of


class Sampled(L.Callback):
    """Lets a `SampledDataModule` sample its images, when it is asked for them: by the method's
    backbone and grid, deterministically (eta 0), and each once where the method has a cache. The
    method is told their x_T, and need not invert them.

    Does nothing with other data.

    Args:
        batch: images that are sampled at once.

    Raises:
        HslError: no image at once.
    """

    def __init__(self, batch: int = 16) -> None:
        require("sampled", batch=(batch, at_least_one))
        self.batch = batch

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Tell the data module how to sample. It samples later, with the backbone on its device."""
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, SampledDataModule):
            method = method_of(pl_module)
            data.domain = method.backbone.domain
            data.render = lambda seeds: render(method, seeds, self.batch)


@torch.no_grad()
def render(method: Method, seeds: Tensor, batch: int = 16) -> Tensor:
    """The images of ``seeds [N]``, ``[N, 3, S, S]`` in [-1, 1] on the CPU."""
    backbone, grid = method.backbone, method.grid
    keys = [key_of("sampled, x_T", backbone.key, grid, seed) for seed in seeds.tolist()]

    def compute(rows: list[int]) -> list[dict[str, Tensor]]:
        samples: list[dict[str, Tensor]] = []
        pieces = list(in_pieces(len(rows), batch))
        for piece in track(pieces, "sampling", len(pieces)):
            like = torch.zeros(len(rows[piece]), *backbone.x_shape, device=backbone.device)
            x_T = SeededNoise(seeds[rows[piece]]).x_T(like)
            images = backbone.image(last(reverse(backbone, x_T, grid))).clamp(-1, 1)
            samples += [{"image": i, "x_T": x} for i, x in zip(images, x_T, strict=True)]
        return samples

    size = backbone.image_size
    shapes = {"image": (3, size, size), "x_T": backbone.x_shape}
    records = method.store.many(keys, compute, method.record_about("sampled"), shapes)
    images, x_T = (torch.stack([record[key] for record in records]) for key in ("image", "x_T"))
    method.know_x_T(images, x_T)
    return images
