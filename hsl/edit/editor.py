"""``hsl.Editor``: what ``hsl edit`` does, from Python."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hsl.backbones import Backbone, Speed, Tap, devices, load
from hsl.bundled import BUNDLED
from hsl.data.images import load_images
from hsl.directions import Boundary, Direction
from hsl.directions.shipped import Kind, short
from hsl.edit import released
from hsl.edit.joining import join, overridden
from hsl.edit.parts import Part, find_direction, part_of
from hsl.edit.plan import Plan, walked
from hsl.edit.records import sample
from hsl.edit.result import Edited
from hsl.edit.sources import Inputs, Unedited, latents
from hsl.edit.sweep import check, sweep
from hsl.edit.texts import Axis
from hsl.errors import HslError
from hsl.pixels import require_pixels
from hsl.process import Edit, Injection

#: Strengths of one direction: one, several to compare, or (None) that of its file.
Strength = float | Sequence[float] | None
Named = str | Path | Direction


class Inverted:
    """Images or seeds that an `Editor` has inverted, or drawn noise for: where edits begin.

    Attributes:
        inputs: what they are.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        #: By the backbone, the timesteps of the inversion and of the reverse process, and eta.
        self._unedited: dict[tuple[str, tuple[int, ...], tuple[int, ...], float], Unedited] = {}

    def __len__(self) -> int:
        return len(self.inputs.names)

    def __repr__(self) -> str:
        kind = "samples" if self.inputs.images is None else "images"
        return f"Inverted({len(self)} {kind}: {', '.join(self.inputs.labels[:4])}...)"

    def unedited(
        self, backbone: Backbone, inversion: list[int], grid: list[int], eta: float, batch: int
    ) -> Unedited:
        """x_T and what it leads to, computed once for the same backbone and timesteps."""
        key = (backbone.key, tuple(inversion), tuple(grid), eta)
        if key not in self._unedited:
            self._unedited[key] = latents(backbone, self.inputs, inversion, grid, eta, batch)
        return self._unedited[key]


class Editor:
    """A backbone, and how it inverts, samples and edits: the defaults are those of ``hsl edit``.

        editor = hsl.Editor()
        faces = editor.invert("photos/")
        editor.edit(faces, {"Smiling": 0.8}).save("smiling")

    Args:
        backbone: a name, folder, file or Hub id for `hsl.backbones.load`, or a loaded backbone.
        steps: of the reverse process.
        invert_steps: of the inversion; None: as many.
        batch: images at once.
        device: where to compute; None: on the GPU, where there is one.
        tap: where h is read and edited; directions say which they are for.
        speed: how the backbone computes; None: as it was loaded.

    Raises:
        HslError: no such backbone or device.
    """

    def __init__(
        self,
        backbone: str | Backbone = BUNDLED.backbone,
        *,
        steps: int = 40,
        invert_steps: int | None = None,
        batch: int = 16,
        device: str | None = None,
        tap: Tap = "after",
        speed: Speed | None = None,
    ) -> None:
        self.backbone = load(backbone, tap) if isinstance(backbone, str) else backbone
        if device is not None or isinstance(backbone, str):
            devices.move(self.backbone, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if speed is not None:
            self.backbone.run_with(speed)
        self.steps, self.invert_steps, self.batch = steps, invert_steps, batch

    def __repr__(self) -> str:
        return f"Editor({self.backbone!r}, steps={self.steps})"

    def invert(self, images: str | Path | Sequence[str | Path] | Tensor) -> Inverted:
        """Images to begin from: files and folders, or a tensor ``[N, 3, S, S]`` in [-1, 1]. They
        are inverted where they are first edited: how far depends on the edit.

        Raises:
            HslError: no such images, or other values or sizes.
        """
        if isinstance(images, Tensor):
            require_pixels("images", images)
            names = [f"{i}.png" for i in range(len(images))]
            return Inverted(Inputs(names, torch.arange(len(images)), images.float().cpu()))
        loaded, names = load_images(images, self.backbone.image_size)
        return Inverted(Inputs(names, torch.arange(len(names)), loaded))

    def sample(self, seeds: int | Iterable[int]) -> Inverted:
        """Samples to begin from, by their seeds: a seed gives the same sample wherever it is drawn.

        Raises:
            HslError: no seed, or a negative one.
        """
        numbers = [seeds] if isinstance(seeds, int) else list(seeds)
        if not numbers or min(numbers) < 0:
            raise HslError(f"seeds {numbers[:5]}: want one or several numbers, 0 or more")
        return Inverted(Inputs([f"seed{s}.png" for s in numbers], torch.tensor(numbers), None))

    def edit(
        self,
        inverted: Inverted,
        directions: Named | Sequence[Named] | Mapping[Named, Strength],
        *,
        boundaries: bool = False,
        keep: Sequence[Named] = (),
        t_edit: int | None = None,
        t_start: int | None = None,
        t_boost: int | None = None,
        injection: Injection | None = None,
        scaled: bool = False,
        mask: Tensor | None = None,
        dt_lambda: float | None = None,
        dt_end: int | None = None,
        eta: float = 0.0,
    ) -> Edited:
        """Edit images or samples along directions, which add.

        Args:
            inverted: of `invert` or `sample`.
            directions: names of shipped directions, files or directions, with strengths where
                those of their files shall not be taken: ``{"Smiling": 0.8}``; several strengths of
                one, or of two, give each image with all of them.
            boundaries: whether names are those of shipped boundaries, which are crossed in one step
                by a distance.
            keep: directions whose share is projected away.
            t_edit: edit at t >= this; None: as the directions' files say.
            t_start: and at t <= this.
            t_boost: stochastic at t < this; 0: no boosting.
            injection: see `hsl.Edit`.
            scaled: divide the strengths by the square root of the directions' number.
            mask: boolean ``[s, s]``, where h is edited.
            dt_lambda: D_t times this ...
            dt_end: ... at t >= this.
            eta: share of the posterior's noise at all steps: 0 is DDIM, 1 DDPM.

        Raises:
            HslError: no such direction, or they do not go together, or with the backbone.
        """
        kind: Kind = "boundaries" if boundaries else "directions"
        kept = [_resolved(direction, kind)[1] for direction in keep]
        parts, axes = _parts(directions, kind, kept)
        for part in parts:
            part.direction.check(self.backbone)
        pairs = [(part.direction, part.strength) for part in parts]
        edit = join(pairs, self.steps, t_edit, t_boost, scaled, injection)
        if not isinstance(edit.direction, Boundary):
            edit = overridden(edit, t_start=t_start, mask=mask, dt_lambda=dt_lambda, dt_end=dt_end)
        names = [_resolved(direction, kind)[0] for direction in keep]
        plan = Plan(self.backbone, edit, parts, [], axes, [], [], None, names)
        sampled = inverted.inputs.images is None
        return self.carry_out(
            walked(plan, self.steps, self.invert_steps, sampled, scaled), inverted, eta
        )

    def edit_as_released(
        self,
        inverted: Inverted,
        boundary: Named,
        coordinates: float | Sequence[float],
        eta: float = 1.0,
    ) -> Edited:
        """Edit images or samples as BoundaryDiffusion's released code does: see
        `hsl.released.boundary_diffusion`.

        Args:
            inverted: of `invert` or `sample`.
            boundary: the name of a shipped one, a file or a `Boundary`.
            coordinates: where to go along the unit normals; several give each image with all.
            eta: share of the posterior's noise.

        Raises:
            HslError: no such boundary, one of another backbone, or in one space alone.
        """
        parts, axes = _parts({boundary: coordinates}, "boundaries", [])
        parts[0].direction.check(self.backbone)
        edit = join([(parts[0].direction, 1.0)], self.steps, None, None)
        plan = Plan(self.backbone, edit, parts, [], axes, [], [], None, [], as_released=True)
        sampled = inverted.inputs.images is None
        return self.carry_out(walked(plan, self.steps, self.invert_steps, sampled), inverted, eta)

    @torch.no_grad()
    def carry_out(self, plan: Plan, inverted: Inverted, eta: float = 0.0) -> Edited:
        """Do what a plan says to images or samples."""
        inputs, n = inverted.inputs, len(inverted)
        count = math.prod(len(axis.values) for axis in plan.axes)
        if plan.as_released:
            before, x_T, edit = self._begun(plan, inputs)
        else:
            before = inverted.unedited(plan.backbone, plan.inversion, plan.grid, eta, self.batch)
            x_T, edit = before.x_T.repeat_interleave(count, 0), _swept(plan, n)
        index = inputs.numbers.repeat_interleave(count, 0)
        images, record = sample(plan.backbone, x_T, plan.grid, edit, eta, index, batch=self.batch)
        if plan.axes:
            images = images.unflatten(0, (n, count))
        return Edited(images, plan, inputs, before, record)

    def _begun(self, plan: Plan, inputs: Inputs) -> released.Begun:
        """Where a plan's edits as released begin."""
        part = plan.parts[0]
        coordinates = plan.axes[0].values if plan.axes else [part.strength]
        return released.begun(plan.backbone, part, inputs, coordinates, plan.inversion,
                              plan.grid, self.batch)  # fmt: skip


def _swept(plan: Plan, n: int) -> Edit:
    """The edit of n images with all strengths of a plan."""
    if not plan.axes:
        return plan.edit
    edit = sweep(plan.edit, plan.axes, plan.parts, plan.units, n)
    if plan.content is not None:  # gamma is the share that is kept
        return replace(edit, strength=1 - torch.as_tensor(edit.strength))
    return edit


def _resolved(source: Named, kind: Kind) -> tuple[str, Direction]:
    """A direction and what it is called."""
    if isinstance(source, Direction):
        return str(source.about.get("name", source.kind)), source
    return short(source), find_direction(str(source), kind)


def _parts(
    directions: Named | Sequence[Named] | Mapping[Named, Strength],
    kind: Kind,
    kept: Sequence[Direction],
) -> tuple[list[Part], list[Axis]]:
    """The directions at their strengths, and the axes along which several are tried."""
    if isinstance(directions, str | Path | Direction):
        directions = [directions]
    strengths = directions if isinstance(directions, Mapping) else dict.fromkeys(directions)
    parts, axes = [], []
    for source, strength in strengths.items():
        name, direction = _resolved(source, kind)
        if isinstance(strength, Sequence):
            axes.append(Axis(name, [float(value) for value in strength]))
            parts.append(part_of(direction, name, None, kept)._replace(strength=1.0))
        else:
            parts.append(part_of(direction, name, strength, kept))
    if not parts:
        raise HslError("directions: name at least one, such as Smiling")
    check(axes, parts)
    return parts, axes
