"""What an edit comes to: images that can be saved and shown, and that know how they were made."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from hsl.data.images import distinct, save_image
from hsl.edit.plan import Plan
from hsl.edit.records import SampleRecord
from hsl.edit.sources import Inputs, Unedited
from hsl.edit.texts import endings
from hsl.files import require_writable_folder
from hsl.files.outputs import require_distinct, require_outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Edited:
    """Edited images.

    Attributes:
        images: ``[N, 3, S, S]`` in [-1, 1] on the CPU; with V strengths of each, ``[N, V, 3, S,
            S]``.
        plan: what was done.
        inputs: what was edited.
        unedited: what it leads to without the edit.
        record: all that it takes to make the images again; ``record.save(path)`` keeps it.
    """

    images: Tensor
    plan: Plan
    inputs: Inputs
    unedited: Unedited
    record: SampleRecord

    @property
    def about(self) -> dict[str, Any]:
        """How the images were made, as JSON values: the backbone, directions with strengths and
        coefficients, the interval, steps."""
        plan = self.plan
        return plan_about(plan) | {"names": self.inputs.names, "seed": self.record.seed}

    def figures(self) -> Iterator["Figure"]:
        """The strip of all images, or with two axes of strengths a grid of each."""
        from hsl.edit.pictures import draw  # needs matplotlib

        images = self.images if self.plan.axes else self.images[:, None]
        return draw(self.plan, self.inputs, self.unedited, images)

    def save(self, folder: str | Path = "edited", overwrite: bool = False) -> Path:
        """Write each image, named as what it was made of, and the picture of all, ``strip.png``.

        Args:
            folder: is made where there is none.
            overwrite: replace files of these names that hsl did not write.

        Returns:
            The path of the picture; where each image has one of its own, the folder.

        Raises:
            HslError: a file of such a name is not hsl's, or the folder cannot be written to.
        """
        out = require_writable_folder(folder)
        pictures, names = file_names(self.inputs, self.plan)
        paths = [out / name for name in (*pictures, *names)]
        require_outputs(paths, [], overwrite)
        require_distinct(paths)
        return self.write(out, pictures, names)

    def write(self, out: Path, pictures: Sequence[str], names: Sequence[str]) -> Path:
        """Write the pictures and images under these names, replacing what is there; the path of
        what shows them, as `save` returns it."""
        from hsl.figures.pictures import save_figure  # needs matplotlib

        for name, image in zip(names, self.images.flatten(0, -4), strict=True):
            save_image(out / name, image)
        for name, figure in zip(pictures, self.figures(), strict=True):
            save_figure(out / name, figure)
        return out if len(pictures) > 1 else out / pictures[0]

    def named(self) -> SampleRecord:
        """The record, with the names that `save` gives the images."""
        return replace(self.record, names=file_names(self.inputs, self.plan)[1])

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the strip, or the grid of the first image."""
        file = io.BytesIO()
        next(self.figures()).savefig(file, format="png")
        return file.getvalue()

    def __repr__(self) -> str:
        parts = ", ".join(f"{p.name} {p.strength:g}" for p in self.plan.parts) or "content"
        return f"Edited({len(self.images)} images: {parts}; {self.plan.edit!r})"


def plan_about(plan: Plan) -> dict[str, Any]:
    """What a plan says of itself, as JSON values."""
    edit, backbone = plan.edit, plan.backbone
    return {
        "backbone": backbone.name,
        "backbone_hash": backbone.hash,
        "directions": {p.name: p.strength for p in plan.parts},
        "coefficients": {
            p.name: p.strength * u for p, u in zip(plan.parts, plan.units, strict=True)
        },
        "strengths": {str(axis.name): axis.values for axis in plan.axes},
        "kept": plan.kept,
        "injection": edit.injection,
        "t_edit": edit.t_edit,
        "t_start": edit.t_start,
        "t_boost": edit.t_boost,
        "as_released": plan.as_released,
        "steps": len(plan.grid),
        "invert_steps": len(plan.inversion),
    }


def file_names(inputs: Inputs, plan: Plan) -> tuple[list[str], list[str]]:
    """Names of the pictures that show the edits (one, or with two axes one an image), and of the
    images, N times V."""
    stems = [Path(name).with_suffix(".png") for name in inputs.names]
    grids = [p.with_stem(f"{p.stem}_grid").as_posix() for p in stems if len(plan.axes) > 1]
    names = [p.with_stem(f"{p.stem}_{ending}" if ending else p.stem).as_posix()
             for p in stems for ending in endings(plan.axes)]  # fmt: skip
    files = distinct([*(grids or ["strip.png"]), *names])
    return files[: len(grids) or 1], files[len(grids) or 1 :]
