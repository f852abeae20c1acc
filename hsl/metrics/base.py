"""Metrics that keep one row of numbers per image.

The frozen networks in here are judges: they had no part in making the edit that they measure. A
metric takes a guide only where it is told to, for figures by which something is chosen.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from hsl.confidence import bca, of_share
from hsl.encoders.roles import HasRole, Role, require_guide, require_judge
from hsl.errors import HslError
from hsl.pixels import require_pixels
from hsl.ranks import of_first

Statistics = Callable[[Tensor], Mapping[str, Tensor]]
_LARGEST_INDEX = 2**24  # the state is float32, which holds integers exactly up to here
J = TypeVar("J", bound=HasRole)


class NothingMeasured(HslError):
    """A metric that saw no image."""


class PerSample(Metric):
    """Keeps ``columns`` numbers per image, and its index, in Metric states.

    Distributed samplers repeat images to fill the last batch; an index that comes again is
    dropped when the figures are computed, so that one process and several agree. Subclasses
    call `add` in ``update`` and say in `each` what to average over the images, and in `statistics`
    what else to compute from the rows.

    Args:
        columns: numbers kept per image.
        kwargs: options of ``torchmetrics.Metric``.
    """

    full_state_update = False
    rows: list[Tensor]  # one tensor, once torchmetrics has gathered it from all ranks

    def __init__(self, columns: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = columns
        # One flat state keeps index and numbers together, and lets a rank be empty.
        self.add_state("rows", [], dist_reduce_fx="cat")

    def add(self, index: Tensor, values: Tensor) -> None:
        """Keep ``values [B, columns]`` of the images ``index [B]``.

        Raises:
            HslError: an index that is no whole number per image, or above 16,777,216.
        """
        if index.shape != values.shape[:1] or index.is_floating_point():
            raise HslError(f"{self._where}: want one whole number per image as index")
        if bool((index > _LARGEST_INDEX).any()):
            raise HslError(f"{self._where}: number the images from 0; {_LARGEST_INDEX} at most")
        index = index.to(values.device, torch.float32)
        self.rows.append(torch.cat([index[:, None], values.float()], dim=1).flatten())

    def samples(self) -> tuple[Tensor, Tensor]:
        """Each image once, by rising index: index ``[N]`` int64, values ``[N, columns]`` float64,
        on the CPU.

        Raises:
            NothingMeasured: no image was seen.
        """
        if not len(self.rows):
            raise NothingMeasured(f"{self._where}: no image was measured; is the data set empty?")
        rows = dim_zero_cat(self.rows).cpu().double().reshape(-1, 1 + self.columns)
        rows = rows[rows[:, 0].argsort(stable=True)]
        first = torch.ones(len(rows), dtype=torch.bool)
        first[1:] = rows[1:, 0] != rows[:-1, 0]
        return rows[first, 0].long(), rows[first, 1:]

    def each(self, values: Tensor) -> Mapping[str, Tensor]:
        """The columns ``[N]``, from the rows ``values [N, columns]``, whose means are figures: bool
        where the figure is a share of images; NaN where an image has no value."""
        return {}

    def statistics(self, values: Tensor) -> Mapping[str, Tensor]:
        """The other figures, as scalars, of the rows ``values [N, columns]``."""
        return {}

    def table(self) -> dict[str, Tensor]:
        """What was measured of each image ``[N]``: its ``index``, and the columns of `each`; of
        the images of all ranks, which must all ask.

        Raises:
            NothingMeasured: no image was seen.
        """
        with self.sync_context():
            index, values = self.samples()
        return {"index": index, **self.each(values)}

    def compute(self) -> dict[str, Any]:
        """Each figure ``x`` as a float, and its 95% interval ``x_ci = (low, high)``: Wilson's of a
        share, else by bootstrap (`hsl.confidence`); ``images``, how many were measured;
        ``ci_over``: what the intervals are over, which is these images.

        Raises:
            NothingMeasured: no image was seen.
        """
        _, values = self.samples()
        figures: dict[str, Any] = {"images": len(values), "ci_over": "images"}
        columns = self.each(values)
        means = {name: column for name, column in columns.items() if column.dtype != torch.bool}
        others = of_first(
            lambda: _with_bootstrap(values, lambda rows: self._others(rows, list(means)))
        )
        for name, column in columns.items():
            if name in others:
                figures |= {name: others[name], f"{name}_ci": others[f"{name}_ci"]}
            else:
                figures |= {name: column.double().mean().item(), f"{name}_ci": of_share(column)}
        return figures | others

    def _others(self, values: Tensor, means: Sequence[str]) -> dict[str, Tensor]:
        """Every figure that is no share."""
        columns = self.each(values)
        return {name: columns[name].nanmean() for name in means} | dict(self.statistics(values))

    @property
    def _where(self) -> str:
        return type(self).__name__


def unregistered(network: J, where: str, role: Role = "judge") -> list[J]:
    """``network``, if it has the role, in a list: torch does not look into it. So it stays out of
    the checkpoints of whoever owns the metric, and keeps its eval mode.

    Raises:
        HslError: it has the other role.
    """
    (require_judge if role == "judge" else require_guide)(network, where)
    module: object = network
    if isinstance(module, nn.Module):
        module.eval()
    return [network]


def on_device(network: J, device: torch.device) -> J:
    """``network`` where the images are."""
    module: object = network
    if isinstance(module, nn.Module):
        module.to(device)
    return network


def check_images(where: str, **images: Tensor) -> list[Tensor]:
    """The images in float32, detached, once they have passed: float ``[B, 3, H, W]``, all of one
    shape, finite, in [-1.5, 1.5] (images are in [-1, 1]; an edit may leave it a little).

    Raises:
        HslError: the first that does not pass, by name.
    """
    shape = next(iter(images.values())).shape
    for name, image in images.items():
        if image.ndim != 4 or image.shape[1] != 3 or image.shape != shape:
            got, want = list(image.shape), [*shape] if len(shape) == 4 else "[B, 3, H, W]"
            raise HslError(f"{where}: {name} is {got}; want RGB images {want}")
        require_pixels(f"{where}: {name}", image)
    return [image.detach().float() for image in images.values()]


def _with_bootstrap(values: Tensor, statistics: Statistics) -> dict[str, Any]:
    """Each figure of ``values [N, V]`` with its interval: ``{"x": 0.9, "x_ci": (0.8, 1.0)}``. All
    figures are computed from the same resamples."""
    figures = statistics(values)
    if not figures:
        return {}
    low, high = bca(values, lambda rows: torch.stack(list(statistics(rows).values())))
    result: dict[str, Any] = {}
    for i, (name, value) in enumerate(figures.items()):
        result |= {name: value.item(), f"{name}_ci": (low[i].item(), high[i].item())}
    return result
