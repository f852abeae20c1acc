"""Chooses each direction's strength on validation images, by a guide."""

from collections.abc import Sequence

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn

from hsl.callbacks.common import first_faces, in_pieces, method_of
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.roles import require_guide
from hsl.errors import HslError
from hsl.progress import track
from hsl.ranks import everyones, world
from hsl.report import print_table
from hsl.types import attribute_and_value


class Strength(L.Callback):
    """Takes the smallest strength at which a guide sees the target on enough validation images;
    if none gets there, the one that gets furthest.

    Args:
        guide: name for `AttributeClassifier.load`; None takes the only one of ``strengths``, or
            leaves every strength at 1 if there are several.
        strengths: what is tried, ascending.
        share: of validation images that must show the target.
        images: how many validation images are edited, of those that do not show the target by
            their labels, where there are some.
        batch: edits that run at once.
    """

    def __init__(
        self,
        guide: str | None = "toyfaces/guide",
        strengths: Sequence[float] = (0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.15, 1.3, 1.5),
        share: float = 0.95,
        images: int = 32,
        batch: int = 64,
    ) -> None:
        if not strengths or sorted(strengths) != list(strengths):
            raise HslError(f"strengths: want ascending numbers, not {list(strengths)}")
        self.guide = AttributeClassifier.load(guide) if guide else None
        if self.guide is not None:
            require_guide(self.guide, "choice of the strength")
        self.strengths, self.share = list(strengths), share
        self.images, self.batch = images, batch

    @torch.no_grad()
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Try every strength; the ranks share the images, and all come to the same choice."""
        method = method_of(pl_module)
        if self.guide is None:
            if len(self.strengths) == 1:
                method.strengths = dict.fromkeys(method.directions, self.strengths[0])
            return
        guide = self.guide.to(method.device)
        rank, ranks = world()
        for name in method.directions:
            attribute, value = attribute_and_value(name)
            if attribute not in guide.names:
                rank_zero_warn(f"the guide does not know {name}: its strength stays 1")
                continue
            faces = first_faces(trainer, "validation", self.images, method.device, lacking=name)
            images, index = faces.image[rank::ranks], faces.index[rank::ranks]
            pieces = list(in_pieces(len(images), self.batch))
            column, shares = guide.names.index(attribute), dict[float, float]()
            for strength in track(self.strengths, f"strength of {name}", len(self.strengths)):
                hits = 0
                for piece in pieces:
                    edited = method.sweep(images[piece], index[piece], name, [strength])
                    seen = guide.probabilities(edited[0])[:, column] >= 0.5
                    hits += int((seen == bool(value)).sum())
                shares[strength] = sum(everyones(hits)) / len(faces.image)
                if shares[strength] >= self.share:
                    break  # a larger one would not be chosen
            chosen = (
                strength if shares[strength] >= self.share else max(shares, key=shares.__getitem__)
            )
            method.strengths[name] = chosen
            if trainer.is_global_zero:
                rows = [{"strength": s, f"{name} by the guide": share}
                        for s, share in shares.items()]  # fmt: skip
                print_table(f"chosen strength: {method.strengths[name]}", rows)
