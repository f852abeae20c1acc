"""Kinds of directions that are trained by gradient steps, as they are before the first."""

from typing import Literal

import torch

from hsl.backbones import Backbone
from hsl.directions import ImplicitFunction, Shift
from hsl.errors import HslError

Kind = Literal["implicit", "shift", "global", "eps"]
KINDS: tuple[Kind, ...] = ("implicit", "shift", "global", "eps")
#: Standard deviation of tensors that do not start from zero, as released.
_SPREAD = 0.2


def implicit(
    backbone: Backbone,
    family: Literal["ddpm", "adm"] | None,
    zero_init: bool,
    ignore_timesteps: bool,
) -> ImplicitFunction:
    """An implicit function f_t of the backbone's h; see `ImplicitFunction.for_backbone`."""
    return ImplicitFunction.for_backbone(
        backbone,
        family=family or backbone.family,
        zero_init=zero_init,
        ignore_timesteps=ignore_timesteps,
    )


def tensors(backbone: Backbone, kind: Kind, timesteps: list[int], zero_init: bool) -> Shift:
    """A tensor for each timestep, in h or (``eps``) in eps; or (``global``) one in h for all.

    Raises:
        HslError: an unknown kind.
    """
    if kind not in KINDS:
        raise HslError(f"direction {kind!r}: want one of {', '.join(KINDS)}")
    shape = backbone.x_shape if kind == "eps" else backbone.h_shape
    rows = () if kind == "global" else (len(timesteps),)
    delta = torch.randn(*rows, *shape) * (0.0 if zero_init else _SPREAD)
    return Shift(delta, None if kind == "global" else timesteps, "eps" if kind == "eps" else "h")
