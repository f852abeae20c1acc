"""``--as-released``: BoundaryDiffusion's edits as its code makes them, not as its paper says.

`hsl.released.boundary_diffusion` has their steps, and says how the two differ.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.backbones import Backbone
from hsl.directions import Boundary
from hsl.edit.parts import Part
from hsl.edit.sources import Inputs, Unedited
from hsl.errors import HslError
from hsl.process import Edit, SeededNoise, last, reverse
from hsl.progress import track
from hsl.released.boundary_diffusion import (
    Latents,
    grid_as_released,
    injected_as_released,
    inverted_as_released,
    sampled_as_released,
    to_coordinates,
)


class Begun(NamedTuple):
    """Where the edits of N images to V coordinates begin.

    ``unedited`` holds their x_t before the move, and what it leads to without noise, as in the
    release's ``recons.png``; ``x [N * V, C, s, s]`` is the moved x_t, on the CPU; ``edit`` puts the
    moved h in (None: the release leaves it out).
    """

    unedited: Unedited
    x: Tensor
    edit: Edit | None


def require_crossing(parts: Sequence[Part], swept: bool, sampled: bool) -> None:
    """Refuse what the release has no edit for.

    Args:
        parts: what is to be put in.
        swept: whether coordinates are given for it.
        sampled: whether images are sampled.

    Raises:
        HslError: not one boundary, in x_t and in h; no coordinate; or, of samples, a boundary that
            does not say how long its coefficients are.
    """
    if len(parts) > 1:
        raise HslError("--as-released crosses one boundary at a time: leave the others out")
    part = parts[0]
    boundary = _boundary(part)
    if not (swept or part.given):
        raise HslError(f"{part.name}: --as-released goes to a coordinate, which no file says: give "
                       f"{part.name}=20, or --interpolate -20:20:5")  # fmt: skip
    if sampled and "h" not in boundary.about.get("lengths", {}):
        raise HslError(f"{part.name}: does not say how long its coefficients are, along which "
                       "--as-released moves samples: give images, or a file that hsl.convert made "
                       "of released ones")  # fmt: skip


def _boundary(part: Part) -> Boundary:
    if not isinstance(part.direction, Boundary):
        raise HslError(f"{part.name}: is no boundary, which --as-released crosses")
    for space in ("x", "h"):
        if space not in part.direction.normals:
            raise HslError(
                f"{part.name}: has no hyperplane in {space}, and --as-released moves both"
            )
    return part.direction


def grid(t: int, steps: int, option: str) -> list[int]:
    """The timesteps from 0 to t, rounded as in the release.

    Raises:
        HslError: one of them comes twice; ``option`` is what it calls them.
    """
    timesteps = grid_as_released(steps, t)
    if len(set(timesteps)) < steps:
        raise HslError(f"{option} {steps}: too many up to t={t}, as the release rounds them")
    return timesteps


@torch.no_grad()
def begun(
    backbone: Backbone,
    part: Part,
    inputs: Inputs,
    coordinates: Sequence[float],
    inversion: Sequence[int],
    grid: Sequence[int],
    batch: int,
) -> Begun:
    """Invert or sample N images, and move the latents of each to V coordinates along the normals.

    In h of samples along the coefficients as they are: the release does not normalise them there.

    Args:
        backbone: the frozen denoiser.
        part: as `require_crossing` lets through.
        inputs: N images or seeds.
        coordinates: V of them.
        inversion: its timesteps.
        grid: those of the reverse process.
        batch: images at once.
    """
    boundary, t = _boundary(part), grid[-1]
    row = boundary.row()
    x_normal, h_normal = (boundary.normals[space][row].to(backbone.device) for space in ("x", "h"))
    x_normal, h_normal = x_normal / x_normal.norm(), h_normal / h_normal.norm()
    if inputs.images is None:
        h_normal = h_normal * boundary.about["lengths"]["h"]
    moved: list[Latents] = []
    before: list[Unedited] = []
    starts = range(0, len(inputs.names), batch)
    for start in track(starts, "reconstructing", len(starts)):
        rows = slice(start, start + batch)
        x, h = _latents(backbone, inputs, rows, t, len(inversion))
        rebuilt = backbone.image(last(reverse(backbone, x, grid))).clamp(-1, 1)
        before.append(Unedited(x.cpu(), rebuilt.cpu()))
        moved.append(Latents(_moved(x, x_normal, coordinates), _moved(h, h_normal, coordinates)))
    x, h = (torch.cat(tensors) for tensors in zip(*moved, strict=True))
    unedited = Unedited(*(torch.cat(tensors) for tensors in zip(*before, strict=True)))
    return Begun(unedited, x, injected_as_released(backbone, h, grid))


def _latents(backbone: Backbone, inputs: Inputs, rows: slice, t: int, n: int) -> Latents:
    """x_t and h of some of the images, by n timesteps of inversion, or of the seeds."""
    if inputs.images is not None:
        x_0 = backbone.x_0(inputs.images[rows].to(backbone.device))
        return inverted_as_released(backbone, x_0, t, n)
    noise = SeededNoise(inputs.numbers[rows])
    like = torch.zeros(len(noise.index), *backbone.x_shape, device=backbone.device)
    return sampled_as_released(backbone, noise.x_T(like), t)


def _moved(v: Tensor, normal: Tensor, coordinates: Sequence[float]) -> Tensor:
    """``v [B, ...]`` at V coordinates, ``[B * V, ...]``, an image's one after the other."""
    return to_coordinates(v, normal, coordinates).transpose(0, 1).flatten(0, 1).cpu()
