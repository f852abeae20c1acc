"""Boundaries from the files of BoundaryDiffusion's released code."""

import math
from pathlib import Path

from torch import Tensor

from hsl.backbones import Backbone
from hsl.directions import Boundary, provenance
from hsl.errors import HslError
from hsl.released.pickled import read_official


def boundary_from_official(
    x: str | Path | None,
    h: str | Path | None,
    backbone: Backbone,
    t: int,
    absolute: bool = False,
) -> Boundary:
    """The boundary in the files of one attribute, to be crossed as the paper says.

    The normals are the SVMs' coefficients at unit length (``about["lengths"]`` has the length that
    they had); a strength is a distance. The released code instead moves to an absolute coordinate,
    and takes h from the timestep before t: `hsl.released.boundary_diffusion` edits so.

    Args:
        x: the file of x_t (``smile_boundary_z.sav``), or None.
        h: the file of h (``smile_boundary_h.sav``), or None.
        backbone: what they were fitted on, at tap ``after``; the files do not say.
        t: the timestep they were fitted at (``--t_0``); the files do not say.
        absolute: see `Boundary`.

    Raises:
        HslError: a file that `read_official` refuses, or for features of another size; no file;
            a t outside the schedule; another tap.
    """
    if x is None and h is None:
        raise HslError("give the boundary's file in x, that in h, or both")
    if not 0 <= t < len(backbone.schedule):
        raise HslError(f"t={t}: want a timestep in [0, {len(backbone.schedule) - 1}]")
    if h is not None and backbone.tap != "after":
        raise HslError(f"{h}: is for the h after the middle block, not {backbone.tap} it")
    files = {space: Path(file) for space, file in (("x", x), ("h", h)) if file is not None}
    normals, biases, lengths = {}, {}, {}
    for space, path in files.items():
        normals[space], biases[space], lengths[space] = _hyperplane(path, space, backbone)
    boundary = Boundary(normals.get("x"), normals.get("h"), [t], t, absolute)
    for space, bias in biases.items():
        boundary.biases[space].data.fill_(bias)
    boundary.about = provenance(backbone) | {
        "method": "boundarydiffusion",
        "released": {space: path.name for space, path in files.items()},
        "lengths": lengths,
        "unit": "distance",
        "injection": "symmetric",
        "t_edit": t,
        "t_start": t,
        "t_0": t,
    }
    boundary.requires_grad_(False)
    return boundary


def _hyperplane(path: Path, space: str, backbone: Backbone) -> tuple[Tensor, float, float]:
    """The unit normal ``[1, ...]`` and the bias in the file of one space (x or h), and the length
    that the coefficients had: <v, coef> + intercept = length (<v, normal> + bias)."""
    shape = backbone.x_shape if space == "x" else backbone.h_shape
    coef, intercept = read_official(path)
    if len(coef) != math.prod(shape):
        raise HslError(
            f"{path}: is for {len(coef)} features, but {space} of {backbone.name} has "
            f"{shape}: give another backbone, or the other file"
        )
    length = float(coef.norm())
    return (coef / length).float().view(1, *shape), intercept / length, length
