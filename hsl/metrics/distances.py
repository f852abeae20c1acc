"""How far images are from what they should be: the true counterfactual, the source."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from hsl.confidence import of_quantile
from hsl.encoders.roles import Role
from hsl.metrics.attributes import AttributeJudge
from hsl.metrics.base import PerSample, check_images, on_device, unregistered


class DistanceJudge(Protocol):
    """A perceptual distance with role judge."""

    role: Role

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances ``[B]`` of images ``[B, 3, S, S]`` in [-1, 1]."""


class CounterfactualError(PerSample):
    """Distance of an edit to the truth: the same face, drawn with the target.

    No edit can come nearer than the model's own reconstruction of the truth does: the floor.

    Args:
        distance: perceptual distance with role judge.

    Raises:
        HslError: a guide.
    """

    def __init__(self, distance: DistanceJudge, **kwargs: Any) -> None:
        super().__init__(columns=3, **kwargs)
        self._distance = unregistered(distance, type(self).__name__)

    def update(
        self,
        source: Tensor,
        edited: Tensor,
        counterfactual: Tensor,
        counterfactual_reconstruction: Tensor,
        index: Tensor,
    ) -> None:
        """Measure images ``[B, 3, S, S]``, float in [-1, 1], of faces ``index [B]``."""
        source, edited, truth, floor = check_images(
            "CounterfactualError",
            source=source,
            edited=edited,
            counterfactual=counterfactual,
            counterfactual_reconstruction=counterfactual_reconstruction,
        )
        distance = on_device(self._distance[0], source.device)
        distances = [distance(image, truth).flatten() for image in (source, edited, floor)]
        self.add(index, torch.stack(distances, dim=1))

    def each(self, values: Tensor) -> Mapping[str, Tensor]:
        """``counterfactual_error_before`` of the source, ``counterfactual_error_after`` of the
        edit, ``counterfactual_floor`` of the reconstructed truth."""
        before, after, floor = values.unbind(1)
        return {
            "counterfactual_error_before": before,
            "counterfactual_error_after": after,
            "counterfactual_floor": floor,
        }

    def statistics(self, values: Tensor) -> Mapping[str, Tensor]:
        """``closed`` = (before - after) / (before - floor), of the means: 1 where the edit is as
        good as the model can draw; NaN where the source is not above the floor."""
        before, after, floor = values.mean(0)
        gap = before - floor
        return {"closed": torch.where(gap > 0, (before - after) / gap, torch.nan)}


class Reconstruction(PerSample):
    """What inversion and reconstruction lose.

    Args:
        judge: attribute classifier with role judge; without one there is no ``kept``.

    Raises:
        HslError: a guide.
    """

    def __init__(self, judge: AttributeJudge | None = None, **kwargs: Any) -> None:
        super().__init__(columns=1 if judge is None else 2, **kwargs)
        self._judge = [] if judge is None else unregistered(judge, type(self).__name__)

    def update(self, source: Tensor, reconstruction: Tensor, index: Tensor) -> None:
        """Measure images ``[B, 3, S, S]``, float in [-1, 1], numbered ``index [B]``."""
        source, reconstruction = check_images(
            "Reconstruction", source=source, reconstruction=reconstruction
        )
        columns = [psnr(source, reconstruction)]
        for judge in self._judge:
            network = on_device(judge, source.device)
            was = network.probabilities(source) >= 0.5
            now = network.probabilities(reconstruction) >= 0.5
            columns.append((was == now).all(1).to(source.dtype))
        self.add(index, torch.stack(columns, dim=1))

    def each(self, values: Tensor) -> Mapping[str, Tensor]:
        """With a judge, ``kept``: whether every attribute stays on its side of 0.5."""
        return {"kept": values[:, 1] > 0} if self._judge else {}

    def table(self) -> dict[str, Tensor]:
        """Also ``psnr``, in dB."""
        with self.sync_context():
            psnrs = self.samples()[1][:, 0]
        return super().table() | {"psnr": psnrs}

    def compute(self) -> dict[str, Any]:
        """Also ``psnr``: the median in dB; ``psnr_p5``: its 5th percentile; their intervals are
        those of quantiles."""
        figures, psnrs = super().compute(), self.samples()[1][:, 0]
        for name, q in (("psnr", 0.5), ("psnr_p5", 0.05)):
            figures |= {name: psnrs.quantile(q).item(), f"{name}_ci": of_quantile(psnrs, q)}
        return figures


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio ``[B]`` in dB of images ``[B, 3, S, S]`` in [-1, 1] (data range
    2): 10 log10(4 / MSE); at most 106 dB, which equal images get."""
    mse = (x - y).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / mse.clamp(min=1e-10))
