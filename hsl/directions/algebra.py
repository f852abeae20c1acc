"""What sums and projections of all kinds of directions need."""

import json
from typing import Any

import torch
from torch import Tensor

from hsl.directions.base import Direction
from hsl.errors import HslError


def made_for(*parts: Direction) -> dict[str, Any]:
    """The backbone that all parts were made for, as far as they say.

    Raises:
        HslError: they were made for different ones.
    """
    about: dict[str, Any] = {}
    for key in ("backbone", "backbone_hash", "h_shape", "tap"):
        values = {json.dumps(d.about[key]) for d in parts if key in d.about}
        if len(values) > 1:
            raise HslError(f"cannot combine directions of {' and '.join(sorted(values))}")
        if values:
            about[key] = json.loads(values.pop())
    return about


def project_out(rows: Tensor, spanned: Tensor) -> Tensor:
    """``rows [B, D]`` minus their projections on the span of ``spanned [B, n, D]``."""
    gram = spanned @ spanned.mT
    inner = (spanned @ rows[:, :, None]).double()
    # the pseudo-inverse takes parallel and zero directions, too
    coefficients = (torch.linalg.pinv(gram.double(), hermitian=True) @ inner).to(rows.dtype)
    return rows - (coefficients.mT @ spanned)[:, 0]
