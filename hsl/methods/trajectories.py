"""Unedited trajectories, computed once for each image: what a training compares its edits with."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.methods.base import Method
from hsl.process import reverse
from hsl.store import Record, key_of


class Trajectory(NamedTuple):
    """What depends on images alone: ``x [B, C, s, s]`` at the first edited step, ``p [n, B, C, s,
    s]``: P_t of the n edited timesteps, noisiest first, and the images' unit CLIP ``features
    [B, E]``."""

    x: Tensor
    p: Tensor
    features: Tensor


def unedited(
    method: Method,
    images: Tensor,
    edited: Sequence[int],
    features: Callable[[Tensor], Tensor],
    features_key: str,
) -> Trajectory:
    """The unedited trajectory of images, from the method's cache where it is there.

    Args:
        method: whose backbone, timesteps and inversion they go through.
        images: ``[B, 3, S, S]`` in [-1, 1].
        edited: ascending timesteps that are edited.
        features: of images.
        features_key: what the features depend on besides the image.
    """
    grid = [t for t in method.grid if t >= edited[0]]
    first = edited[-1]  # the process goes down
    n = sum(t <= first for t in grid)

    def compute(rows: list[int]) -> list[Record]:
        with torch.no_grad():
            x, p = _walked(method, images[rows], grid, first)
            columns = {"x": x, "p": p, "features": features(images[rows])}
        return [{name: column[i] for name, column in columns.items()} for i in range(len(rows))]

    keys = [
        key_of("P_t", *method.path_of("P_t"), list(edited), features_key, image) for image in images
    ]
    shapes = {"x": method.backbone.x_shape, "p": (n, *method.backbone.x_shape), "features": (-1,)}
    records = method.store.many(keys, compute, method.record_about("trajectory"), shapes)
    x, p, clip_features = (
        torch.stack([record[name] for record in records]).to(images.device)
        for name in ("x", "p", "features")
    )
    return Trajectory(x, p.transpose(0, 1), clip_features)


def _walked(
    method: Method, images: Tensor, grid: Sequence[int], first: int
) -> tuple[Tensor, Tensor]:
    """X at the timestep ``first`` ``[B, C, s, s]``, and P_t from there on ``[B, n, C, s, s]``."""
    x, p = method.x_T(images), []
    for step in reverse(method.backbone, x, grid):
        if step.t == first:
            x = step.x
        if step.t <= first:
            p.append(step.p)
    return x, torch.stack(p, 1)
