"""One edit with many strengths, as one batch."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch

from hsl.directions import Boundary, PerImage
from hsl.edit.parts import Part
from hsl.edit.texts import Axis
from hsl.errors import HslError
from hsl.names import meant
from hsl.process import Edit


def check(axes: Sequence[Axis], parts: Sequence[Part]) -> None:
    """Refuse axes that ``parts`` leave open.

    Raises:
        HslError: names that are missing, unknown or ambiguous, more than two, strengths given
            twice, or names of one of several boundaries.
    """
    names = [part.name for part in parts]
    if len(axes) > 2 or (len(axes) == 2 and None in (axes[0].name, axes[1].name)):
        raise HslError("--interpolate: once, or for two directions by their names")
    if len(axes) == 2 and axes[0].name == axes[1].name:
        raise HslError(f"--interpolate {axes[0].name}: given twice; want two directions")
    for axis in axes:
        if axis.name is not None and not parts:
            raise HslError(
                f"--interpolate {axis.name}: with --content, of gamma: leave out the name"
            )
        if axis.name is not None and names.count(axis.name) != 1:
            available = ", ".join(dict.fromkeys(names))
            raise HslError(f"--interpolate {axis.name}: want one of the directions, by a name that "
                           f"only one has: {available}{meant(axis.name, names)}")  # fmt: skip
        if axis.name is not None and len(parts) > 1 and isinstance(parts[0].direction, Boundary):
            raise HslError(f"--interpolate {axis.name}: boundaries are crossed together; leave out "
                           "the name, for factors of all distances")  # fmt: skip
        for part in parts:
            if part.given and (part.name == axis.name or len(parts) == 1):
                raise HslError(f"{part.name}: has a strength and --interpolate; leave one out")


def sweep(edit: Edit, axes: Sequence[Axis], parts: Sequence[Part], units: Sequence[float],
          n: int) -> Edit:  # fmt: skip
    """``edit`` for a batch of each of n images with all V strengths (with two axes, all pairs, the
    second changing fastest): image 0 V times, then image 1, ...

    Args:
        edit: of the parts; its strength is multiplied, unless an axis names one of several.
        axes: one or two, as `check` lets through.
        parts: what was joined.
        units: their `coefficients`.
        n: images.
    """
    values = torch.tensor(list(itertools.product(*(axis.values for axis in axes))))
    if len(parts) < 2 or axes[0].name is None:
        return replace(edit, strength=edit.strength * values[:, 0].repeat(n))
    names = [part.name for part in parts]
    strengths = torch.tensor([part.strength for part in parts]).repeat(len(values), 1)
    strengths[:, [names.index(str(axis.name)) for axis in axes]] = values
    weights = strengths * torch.tensor(units)
    return replace(edit, direction=PerImage([p.direction for p in parts], weights.repeat(n, 1)))
