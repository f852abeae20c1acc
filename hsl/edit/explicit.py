"""Explicit h: tensors from a walk along a process, as directions (`Shift`)."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hsl.backbones import Backbone
from hsl.directions import Shift
from hsl.errors import HslError
from hsl.process import Edit, SeededNoise, invert, reverse
from hsl.progress import track


@torch.no_grad()
def mean_delta_h(
    backbone: Backbone,
    x: Tensor,
    grid: Sequence[int],
    edit: Edit,
    per_timestep: bool = True,
    batch: int = 16,
) -> Shift:
    """The mean of what a direction adds along the edited process of several images: one tensor a
    timestep, or their mean over the edited timesteps, the global direction (Kwon et al. 2023,
    section 5.3 and appendix K).

    It is the direction's own value at strength 1, whatever strength the images are edited with.

    Args:
        backbone: the frozen denoiser.
        x: x_T of the images, ``[N, C, s, s]``, on any device.
        grid: ascending timesteps.
        edit: whose direction is averaged, and by which the images are edited on their way (with
            `SeededNoise` of 0 ... N - 1 where boosting begins before the last edited step).
        per_timestep: one tensor for each edited timestep; else one for all.
        batch: images at once.

    Raises:
        HslError: no image, or no timestep of the grid is edited.
    """
    edited = [t for t in grid if edit.acts(t)]
    if not edited or not len(x):
        raise HslError(f"mean delta h: {len(edited)} edited timesteps, {len(x)} images; want both")
    sums: dict[int, Tensor] = {}
    edit = replace(edit, direction=copy.deepcopy(edit.direction).to(backbone.device))
    walked, starts = [t for t in grid if t >= edited[0]], range(0, len(x), batch)
    for start in track(starts, "mean delta h", len(starts)):
        piece = x[start : start + batch].to(backbone.device)
        noise = SeededNoise(torch.arange(start, start + len(piece)))
        for step in reverse(backbone, piece, walked, edit, noise=noise):
            if edit.acts(step.t):
                delta = edit.direction(step.b, step.x, step.t).expand(len(piece), -1, -1, -1)
                sums[step.t] = sums.get(step.t, 0) + delta.double().sum(0).cpu()
    means = torch.stack([sums[t] for t in edited]).to(x.dtype) / len(x)
    shift = (
        Shift(means, edited, edit.direction.space)
        if per_timestep
        else Shift(means.mean(0), space=edit.direction.space)
    )
    shift.about = dict(edit.direction.about)
    return shift


@torch.no_grad()
def h_along(backbone: Backbone, x_0: Tensor, grid: Sequence[int]) -> Shift:
    """One image's h at each timestep of its inversion but the last: the content that an `Edit` with
    injection ``slerp`` or ``replaced`` puts into others (Jeong et al. 2024).

    Args:
        backbone: the frozen denoiser.
        x_0: of the image, ``[1, C, s, s]``.
        grid: ascending timesteps.

    Raises:
        HslError: more images than one.
    """
    if len(x_0) != 1:
        raise HslError(f"content: want one image, not {len(x_0)}")
    steps = [(step.t, step.b.h[0]) for step in invert(backbone, x_0, grid)]
    return Shift(torch.stack([h for _, h in steps]), [t for t, _ in steps])
