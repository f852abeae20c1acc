"""Chooses each direction's strength on validation images, by a guide."""

from collections.abc import Mapping, Sequence

import lightning as L
import torch
from torch import nn

from hsl.bundled import BUNDLED
from hsl.callbacks.common import first_faces, in_pieces, method_of
from hsl.callbacks.validation import Validation
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.roles import fingerprint
from hsl.errors import HslError
from hsl.methods.base import Method
from hsl.options import checks
from hsl.options.checks import at_least_one, factors, require
from hsl.progress import track
from hsl.ranks import everyones, warn, world
from hsl.tables import print_table
from hsl.types import attribute_and_value


class Strength(Validation):
    """Takes the smallest strength at which a guide sees the target on enough validation images;
    if none gets there, the one that gets furthest, the largest of several that get as far, and
    says so.

    `Directions` saves what was chosen whatever the order of the two callbacks. Other callbacks and
    loggers get it as ``strength/NAME``. By the same guide it measures validation (`Validation`).

    Args:
        guide: name for `AttributeClassifier.load`; None takes the only one of ``strengths``, or
            leaves every strength at 1 if there are several, and measures nothing.
        strengths: what is tried, ascending.
        share: of validation images that must show the target.
        images: how many validation images are edited, of those that do not show the target by
            their labels, where there are some.
        batch: edits that run at once.
        resize: let a guide that is for images of one size alone look at others, resized to its own.
            What a guide is not for it does not choose: the strength stays 1.

    Raises:
        HslError: strengths that do not ascend, a judge.
    """

    def __init__(
        self,
        guide: str | None = BUNDLED.guide,
        strengths: Sequence[float] = (0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.15, 1.3, 1.5),
        share: float = 0.95,
        images: int = 32,
        batch: int = 64,
        resize: bool = False,
    ) -> None:
        require(
            "strength",
            strengths=(strengths, factors),
            share=(share, checks.share),
            images=(images, at_least_one),
            batch=(batch, at_least_one),
        )
        if sorted(strengths) != list(strengths):
            raise HslError(f"strengths: want ascending numbers, not {list(strengths)}")
        super().__init__(guide, resize)
        self.strengths, self.share = list(strengths), share
        self.images, self.batch = images, batch

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Choose, and give the choice to callbacks and loggers. (`LightningModule.log` is not
        allowed here: what it gathers is passed on at the end of an epoch, and none follows.)"""
        method = method_of(pl_module)
        self._choose(trainer, method)
        if not method.strengths:
            return
        figures = {f"strength/{name}": value for name, value in method.strengths.items()}
        trainer.callback_metrics.update({k: torch.tensor(v) for k, v in figures.items()})
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.fit_loop.total_batch_idx + 1)
            logger.save()

    @torch.no_grad()
    def _choose(self, trainer: L.Trainer, method: Method) -> None:
        """Try every strength; the ranks share the images, and all come to the same choice."""
        if self.guide is None:
            if len(self.strengths) == 1:
                method.strengths = dict.fromkeys(method.directions, self.strengths[0])
            return
        if reason := self.why_not(trainer, method):
            warn(f"strengths were not chosen and stay 1: {reason}")
            return
        guide = self.guide.to(method.device)
        if isinstance(guide, nn.Module):
            method.guides[fingerprint(guide)] = f"{self.name} chose the strengths"
        for name in method.directions:
            if attribute_and_value(name)[0] not in guide.names:
                warn(f"the guide does not know {name}: its strength stays 1")
                continue
            shares = self._shares(trainer, method, name, guide)
            method.strengths[name], reached = chosen(shares, self.share)
            title = f"{name}: chosen strength {method.strengths[name]:g}"
            if not reached:
                title += f", though none reached {self.share:g} of the validation images"
                warn(f"{name}: no strength up to {max(shares):g} reached {self.share:g} "
                               f"of the validation images; took {method.strengths[name]:g}, which "
                               f"{max(shares.values()):.3g} of them show")  # fmt: skip
            if trainer.is_global_zero:
                print_table(title, [{"strength": s, "seen": share} for s, share in shares.items()])

    def _shares(
        self, trainer: L.Trainer, method: Method, name: str, guide: AttributeClassifier
    ) -> dict[float, float]:
        """The share of validation images that show the target at each strength, up to the first
        that is enough."""
        attribute, value = attribute_and_value(name)
        rank, ranks = world()
        faces = first_faces(trainer, "validation", self.images, method.device, lacking=name)
        images, index = faces.image[rank::ranks], faces.index[rank::ranks]
        pieces = list(in_pieces(len(images), self.batch))
        column, shares = guide.names.index(attribute), dict[float, float]()
        for strength in track(self.strengths, f"strength of {name}", len(self.strengths)):
            hits = 0
            for piece in pieces:
                edited = method.sweep(images[piece], index[piece], name, [strength])
                shows_it = guide.probabilities(edited[0])[:, column] >= 0.5
                hits += int((shows_it == bool(value)).sum())
            shares[strength] = sum(everyones(hits)) / len(faces.image)
            if shares[strength] >= self.share:
                break  # a larger one would not be chosen
        return shares


def chosen(shares: Mapping[float, float], least: float) -> tuple[float, bool]:
    """The smallest strength whose share is at ``least`` this, and True. If there is none: the one
    with the highest share, of equal ones the largest (the smallest would hide that nothing is seen
    to happen), and False."""
    enough = [strength for strength, share in shares.items() if share >= least]
    if enough:
        return min(enough), True
    return max(shares, key=lambda strength: (shares[strength], strength)), False
