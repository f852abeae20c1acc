"""Sample records: all that it takes to make the same images again, in one file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from hsl.backbones import Backbone
from hsl.directions import ABOUT, Boundary, Direction, PerImage, filled, provenance
from hsl.errors import HslError
from hsl.files.tensors import read_tensors, require_weights, write_tensors
from hsl.process import Edit, Noise, SeededNoise, last, reverse
from hsl.progress import track
from hsl.released.boundary_diffusion import Carried
from hsl.schema import (
    Rule,
    anything,
    check,
    flag,
    listed,
    number,
    one_of,
    optional,
    timestep,
    whole,
)
from hsl.schema import grid as ascending
from hsl.types import INJECTIONS

_FORMAT = 1
_WANTED = "a sample record saved by hsl"
_HEADER: dict[str, Rule] = {
    "format": whole(_FORMAT, _FORMAT),
    "grid": ascending,
    "etas": listed(number(0, 1)),
    "seed": whole(-(2**63)),
    "backbone": anything(),
    "batch": whole(1),
}
#: Of older records some are not there.
_KNOWN = {*_HEADER, "edit", "direction", "about", "names"}
#: Never a file outside the folder that they are written to, whoever made the record.
_NAMES = Rule(
    "distinct names of PNG files within a folder",
    lambda v: isinstance(v, list) and all(map(_is_inside, v)) and len(set(v)) == len(v) > 0,
)
_EDIT: dict[str, Rule] = {
    "strength": number(),
    "t_edit": timestep,
    "t_boost": timestep,
    "t_start": optional(timestep),
    "injection": one_of(*INJECTIONS),
    "h_factor": number(),
    "mask": Rule("null, or a tensor", lambda v: v is None),
    "rescale": flag(),
    "dt_lambda": number(),
    "dt_end": whole(),
}


@dataclass(frozen=True)
class SampleRecord:
    """A run of the reverse process over N images.

    Args:
        x_T: where it began, ``[N, C, s, s]``.
        grid: ascending timesteps.
        etas: share of the posterior's noise, one per timestep.
        index: of each image, ``[N]`` int64; it and the seed are what the noise was drawn by.
        seed: of the noise.
        edit: what was put in; None: nothing.
        backbone: its name, hash and tap, h_shape and the commit, as `provenance` has them.
        batch: images at once. Sums over batches of other sizes differ in their last bits.
        noises: z by timestep, ``[N, C, s, s]``, where there was any.
        names: of the images' files, PNG within some folder, one each; empty: they have none.
    """

    x_T: Tensor
    grid: list[int]
    etas: list[float]
    index: Tensor
    seed: int
    edit: Edit | None
    backbone: dict[str, Any]
    batch: int
    noises: dict[int, Tensor]
    names: Sequence[str] = ()

    def replay(self, backbone: Backbone) -> Tensor:
        """The images again, ``[N, 3, S, S]`` in [-1, 1] on the CPU: the same bits on the same
        machine.

        Raises:
            HslError: another backbone than it was made with, another tap, or other latents than
                the backbone's.
        """
        for name, loaded in (("backbone_hash", backbone.hash), ("tap", backbone.tap)):
            if self.backbone[name] != loaded:
                raise HslError(f"this record was made with backbone {self.backbone['backbone']} "
                               f"({name} {self.backbone[name]}), not {backbone.name} ({loaded}): "
                               "load that one")  # fmt: skip
        shape, mask = [*self.x_T.shape[1:]], None if self.edit is None else self.edit.mask
        if shape != [*backbone.x_shape]:
            raise HslError(f"this record is damaged: latents of shape {shape}, but those of "
                           f"{backbone.name} have {[*backbone.x_shape]}")  # fmt: skip
        if mask is not None and mask.shape != backbone.h_shape[1:]:
            raise HslError(f"this record is damaged: a mask of shape {[*mask.shape]}, but h of "
                           f"{backbone.name} has {[*backbone.h_shape[1:]]}")  # fmt: skip
        if self.edit is not None:
            self.edit.direction.check(backbone)
        return self._run(backbone, lambda rows: lambda t, like: self.noises[t][rows].to(like))

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file; nothing is left behind if it fails."""
        tensors = {"x_T": self.x_T, "index": self.index}
        tensors |= {f"noise.{t}": z for t, z in self.noises.items()}
        header: dict[str, Any] = {"format": _FORMAT, "grid": self.grid, "etas": self.etas,
                                  "seed": self.seed, "backbone": self.backbone,
                                  "batch": self.batch, "edit": None}  # fmt: skip
        if self.names:
            header["names"] = list(self.names)
        if self.edit is not None:
            values = {f.name: getattr(self.edit, f.name) for f in fields(Edit)}
            direction: Direction = values.pop("direction")
            tensor_fields = {k: v for k, v in values.items() if isinstance(v, Tensor)}
            tensors |= {f"edit.{k}": v for k, v in tensor_fields.items()}
            tensors |= {f"direction.{k}": v for k, v in direction.state_dict().items()}
            header["edit"] = {k: v for k, v in values.items() if k not in tensor_fields}
            header |= {"direction": direction.config(), "about": direction.about}
        return write_tensors(path, tensors, header)

    @staticmethod
    def load(path: str | Path) -> "SampleRecord":
        """Read a record that `save` wrote.

        Raises:
            HslError: a missing or damaged file, or another one.
        """
        header, tensors = read_tensors(path, _WANTED, _KNOWN)
        try:
            return _record(header, tensors)
        except Exception as error:  # sizes that no tensor has raise whatever torch has for them
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise HslError(f"{path}: not {_WANTED}, or damaged ({reason})") from error

    @torch.no_grad()
    def _run(self, backbone: Backbone, noise: Callable[[slice], Noise]) -> Tensor:
        images, starts = [], range(0, len(self.x_T), self.batch)
        for start in track(starts, "sampling", len(starts)):
            rows = slice(start, start + self.batch)
            x, edit = self.x_T[rows].to(backbone.device), self._edit(rows, backbone.device)
            steps = reverse(backbone, x, self.grid, edit, self.etas, noise=noise(rows))
            images.append(backbone.image(last(steps)).clamp(-1, 1).cpu())
        return torch.cat(images)

    def _edit(self, rows: slice, device: torch.device) -> Edit | None:
        """The edit of some of the images."""
        if self.edit is None:
            return None
        self.edit.direction.to(device)
        strength, mask, direction = self.edit.strength, self.edit.mask, self.edit.direction
        if isinstance(direction, PerImage | Carried):
            direction = direction.of(rows)
        if isinstance(strength, Tensor) and strength.ndim:
            strength = strength[rows]
        mask = None if mask is None else mask.to(device)
        return replace(self.edit, direction=direction, strength=strength, mask=mask)


def sample(
    backbone: Backbone,
    x_T: Tensor,
    grid: Sequence[int],
    edit: Edit | None = None,
    eta: float | Sequence[float] = 0.0,
    index: Tensor | None = None,
    seed: int = 0,
    batch: int = 16,
) -> tuple[Tensor, SampleRecord]:
    """Run the reverse process: images ``[N, 3, S, S]`` in [-1, 1] on the CPU, and their record.

    Args:
        backbone: the frozen denoiser.
        x_T: ``[N, C, s, s]``.
        grid: ascending timesteps.
        edit: what to put in; of per-image strengths (or a `PerImage` direction's weights) one for
            each of the N.
        eta: share of the posterior's noise, or one per timestep.
        index: of each image, ``[N]``, by which its noise is drawn; None: 0 ... N - 1.
        seed: of the noise.
        batch: images at once.

    Raises:
        HslError: what `reverse` raises, or no image.
    """
    if not len(x_T) or batch < 1:
        raise HslError(f"{len(x_T)} latents, {batch} at once: want one or more")
    index = torch.arange(len(x_T)) if index is None else index.cpu()
    etas = [float(eta)] * len(grid) if isinstance(eta, int | float) else [float(e) for e in eta]
    noises: dict[int, list[Tensor]] = {}

    def noise(rows: slice) -> Noise:
        drawn = SeededNoise(index[rows], seed)

        def keep(t: int, like: Tensor) -> Tensor:
            z = drawn(t, like)
            noises.setdefault(t, []).append(z.cpu())
            return z

        return keep

    record = SampleRecord(
        x_T.cpu(), list(grid), etas, index, seed, edit, provenance(backbone), batch, {}
    )
    images = record._run(backbone, noise)
    return images, replace(record, noises={t: torch.cat(batches) for t, batches in noises.items()})


def _record(header: dict[str, Any], tensors: dict[str, Tensor]) -> SampleRecord:
    """The record that a file holds.

    Raises:
        ValueError: it could not have been saved by `SampleRecord.save`.
    """

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    check(header, _HEADER | {"names": _NAMES}, [*_HEADER, "edit"])
    check(header["backbone"], ABOUT, ["backbone", "backbone_hash", "tap"])
    grid, noises = header["grid"], part("noise.")
    if len(header["etas"]) != len(grid):
        raise ValueError(f"{len(header['etas'])} etas for {len(grid)} timesteps")
    if strange := noises.keys() - {str(t) for t in grid}:
        raise ValueError(f"noise at t={min(strange)}, which is no timestep of its grid")
    if not tensors["x_T"].is_floating_point():
        raise ValueError(f"x_T holds {tensors['x_T'].dtype}")
    x_T, index = tensors["x_T"].float(), tensors["index"]  # a changed file may have another type
    if x_T.ndim != 4 or not len(x_T) or index.shape != x_T.shape[:1] or index.dtype != torch.int64:
        raise ValueError(f"x_T has shape {list(x_T.shape)}, index {list(index.shape)}")
    names = header.get("names", [])
    if names and len(names) != len(x_T):
        raise ValueError(f"{len(names)} names for {len(x_T)} images")
    if any(z.shape != x_T.shape for z in noises.values()):
        raise ValueError("noise of another shape than x_T")
    require_weights({"x_T": x_T, **noises})
    edit = _edit(header, part("edit."), part("direction."), len(x_T))
    t_boost = 0 if edit is None else edit.t_boost
    # the first timestep's step ends at the clean image, without noise
    drawn = [t for t, eta in zip(grid[1:], header["etas"][1:], strict=True) if eta or t < t_boost]
    if missing := [t for t in drawn if str(t) not in noises]:
        raise ValueError(f"no noise at t={missing[0]}, where it was drawn")
    return SampleRecord(x_T, grid, header["etas"], index, header["seed"], edit, header["backbone"],
                        header["batch"], {int(t): z for t, z in noises.items()},
                        names)  # fmt: skip


def _is_inside(name: object) -> bool:
    """Whether this names a PNG file within whatever folder it is put into."""
    if not isinstance(name, str) or "\0" in name:
        return False
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
    return inside and path.suffix.lower() == ".png"


def _edit(
    header: dict[str, Any], tensors: dict[str, Tensor], weights: dict[str, Tensor], n: int
) -> Edit | None:
    """The edit of a record of ``n`` images, of whose fields some are ``tensors``."""
    if header["edit"] is None:
        if tensors or weights:
            raise ValueError("tensors of an edit, but no word of one")
        return None
    check(header, {}, ["direction", "about"])
    values = check(header["edit"], _EDIT, ["t_edit", "t_boost", "injection"], others=False)
    if "strength" not in {*values, *tensors}:
        raise ValueError("strength is missing")
    mask, strength = tensors.get("mask"), tensors.get("strength", torch.zeros(()))
    if tensors.keys() - {"mask", "strength"} or (mask is not None and mask.dtype != torch.bool):
        raise ValueError("tensors of an edit that are no mask or strength")
    require_weights({"strength": strength})
    if strength.ndim > 1 or (strength.ndim and len(strength) != n):
        raise ValueError(f"strengths of shape {list(strength.shape)} for {n} images")
    config = header["direction"]
    if isinstance(config, dict) and config.get("kind") == Boundary.kind:
        config = {"h_of": "moved"} | config  # older records do not say it
    direction = filled(config, weights, check(header["about"], ABOUT))
    if isinstance(direction, PerImage) and len(direction.weights) != n:
        raise ValueError(f"weights for {len(direction.weights)} images, not {n}")
    if isinstance(direction, Carried) and len(direction.h) != n:
        raise ValueError(f"h of {len(direction.h)} images, not {n}")
    return Edit(direction.requires_grad_(False), **(values | tensors))
