"""What several kinds of directions need: sums, projections, checks."""

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hsl.backbones import Backbone
from hsl.directions.base import Direction
from hsl.errors import HslError


def made_for(*directions: Direction) -> dict[str, Any]:
    """The backbone that all directions were made for, as far as they say.

    Raises:
        HslError: they were made for different ones.
    """
    about: dict[str, Any] = {}
    for key in ("backbone", "backbone_hash", "h_shape", "tap"):
        values = {json.dumps(d.about[key]) for d in directions if key in d.about}
        if len(values) > 1:
            raise HslError(f"cannot combine directions of {' and '.join(sorted(values))}")
        if values:
            about[key] = json.loads(values.pop())
    return about


def require_steps(timesteps: Sequence[int], backbone: Backbone) -> None:
    """Refuse timesteps that a backbone does not have.

    Raises:
        HslError: one is beyond its last.
    """
    if (t := max(timesteps, default=0)) >= len(backbone.schedule):
        raise HslError(f"this direction has a tensor for t={t}, but {backbone.name} has only "
                       f"{len(backbone.schedule)} timesteps: load another backbone, or fit it anew"
                       )  # fmt: skip


def project_out(rows: Tensor, spanned: Tensor) -> Tensor:
    """``rows [B, D]`` minus their projections on the span of S = ``spanned [B, n, D]``:
    v - S' (S S')^+ S v for each row v."""
    gram = spanned @ spanned.mT
    inner = (spanned @ rows[:, :, None]).double()
    # a pseudo-inverse, since directions may be parallel or zero
    coefficients = (torch.linalg.pinv(gram.double(), hermitian=True) @ inner).to(rows.dtype)
    return rows - (coefficients.mT @ spanned)[:, 0]
