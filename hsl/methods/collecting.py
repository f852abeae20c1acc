"""Features of images along their inversion, and labels, of all ranks: hyperplanes are fitted on
them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hsl import ranks
from hsl.directions import Space
from hsl.errors import HslError
from hsl.losses import DirectionalClipLoss
from hsl.methods.features import Blocks, Sample
from hsl.methods.mixed import Mixed
from hsl.names import meant
from hsl.process import invert
from hsl.store import Record, key_of
from hsl.types import Batch


class Collecting(Mixed):
    """A method that keeps x_t and h of every image at some timesteps of its inversion.

    Attributes:
        inversion: ascending timesteps of the inversion.
        timesteps: those at which features are kept.
        wanted: the attributes to fit; None: all that the data, or the texts, have.
        texts: source and target text of each attribute, where labels come from CLIP.
        readers: what scores images by these texts.
        certain: the share of images that is labelled from either end of the scores.
        labelled: what the columns of the samples' labels are.
    """

    inversion: list[int]
    timesteps: list[int]
    wanted: list[str] | None
    texts: Mapping[str, tuple[str, str]]
    readers: Mapping[str, DirectionalClipLoss]
    certain: float
    labelled: list[str]

    def names(self, data: Any) -> list[str]:
        """The attributes to fit.

        Raises:
            HslError: the data has no such labels, or torch no place for the name.
        """
        available = list(self.texts) if self.texts else list(data.names)
        names = available if self.wanted is None else list(dict.fromkeys(self.wanted))
        unknown = [name for name in names if name not in available]
        if unknown or not names:
            raise HslError(f"no labels for {', '.join(unknown) or 'anything'} in these data; "
                           f"there are: {', '.join(available) or 'none'}"
                           f"{''.join(meant(n, available) for n in unknown[:1])}")  # fmt: skip
        for name in names:
            if not name or hasattr(nn.ModuleDict(), name) or set(name) & set("./"):
                raise HslError(f"{name!r} cannot be the name of a direction: rename the attribute")
        return names

    @torch.no_grad()
    def collect(self, batch: Batch, data: Any) -> list[Sample]:
        """Put the features of a batch of ``data`` into the store; return its samples."""
        keys, names = self._keep(batch.image), self.names(data)
        self.labelled = names
        if self.texts:  # scores: `labels` makes labels of them, when it has those of all images
            readers = [self.readers[name].to(batch.image.device) for name in names]
            columns = [r.features(batch.image) @ torch.as_tensor(r.direction) for r in readers]
            labels = torch.stack(columns, dim=1)
        else:
            truth = batch.labels[:, [list(data.names).index(name) for name in names]]
            labels = torch.where(truth.isnan(), 0, 2 * truth - 1)
        rows = zip(batch.index.tolist(), labels.cpu(), keys, strict=True)
        return [Sample(*row) for row in rows]

    def _keep(self, images: Tensor) -> list[str]:
        """Put the features of images ``[B, 3, S, S]`` into the store; return their keys."""
        made_by = ("linear", self.backbone.key, self.inversion, self.refine, self.timesteps)
        keys = [key_of(*made_by, image) for image in images]
        about = self.record_about("features")
        shapes = {"x": self.backbone.x_shape, "h": self.backbone.h_shape}
        expected = {
            f"{space}.{t}": shape for space, shape in shapes.items() for t in self.timesteps
        }
        self.store.ensure(keys, lambda rows: self._features(images[rows]), about, expected)
        return keys

    def _features(self, images: Tensor) -> list[Record]:
        """x_t, and h at x_t, of images ``[B, 3, S, S]`` at each timestep."""
        rows: list[Record] = [{} for _ in images]
        for step in invert(self.backbone, self.backbone.x_0(images), self.inversion, self.refine):
            if step.t_next not in self.timesteps:
                continue
            h = self.backbone.encode(step.x_next, step.t_next).h
            for row, x, bottleneck in zip(rows, step.x_next.cpu(), h.cpu(), strict=True):
                row[f"x.{step.t_next}"], row[f"h.{step.t_next}"] = x, bottleneck
            if step.t_next == self.timesteps[-1]:
                break
        return rows

    def everyones(self, samples: list[Sample]) -> list[Sample]:
        """The samples of all ranks, each image once, by rising index.

        Raises:
            HslError: there is none.
        """
        unique = {sample.index: sample for mine in ranks.everyones(samples) for sample in mine}
        if not unique:
            raise HslError("no images: is the data set empty?")
        return [unique[index] for index in sorted(unique)]

    def blocks(self, samples: list[Sample], space: Space, t: int) -> Blocks:
        """The features of samples, in their order."""
        # the solvers take float64, which Metal lacks
        device = torch.device("cpu") if self.device.type == "mps" else self.device
        return Blocks(self.store, [s.key for s in samples], f"{space}.{t}", device)

    def labels(self, samples: list[Sample]) -> Tensor:
        """Labels ``[N, A]`` in {+1, -1, 0} of the directions' attributes; by text, those of the
        most certain images."""
        columns = [self.labelled.index(name) for name in self.directions]
        labels = torch.stack([s.labels for s in samples]).double()[:, columns]
        if not self.texts:
            return labels
        low, high = labels.quantile(torch.tensor([self.certain, 1 - self.certain]).double(), dim=0)
        return (labels >= high).double() - (labels <= low).double()

    def precompute(self, images: Tensor) -> None:
        """Put the features of images ``[B, 3, S, S]`` into the cache."""
        self._keep(images)
