"""Sample records: all that it takes to make the same images again, in one file."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from hsl.backbones import Backbone
from hsl.directions import Boundary, Direction, PerImage, build, provenance
from hsl.errors import HslError
from hsl.files import replacing
from hsl.injection import Edit
from hsl.process import Noise, SeededNoise, last, reverse
from hsl.progress import track

_FORMAT = 1


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

    def replay(self, backbone: Backbone) -> Tensor:
        """The images again, ``[N, 3, S, S]`` in [-1, 1] on the CPU: the same bits on the same
        machine.

        Raises:
            HslError: another backbone than it was made with, or another tap.
        """
        for name, own in (("backbone_hash", backbone.hash), ("tap", backbone.tap)):
            if self.backbone[name] != own:
                raise HslError(f"this record was made with backbone {self.backbone['backbone']} "
                               f"({name} {self.backbone[name]}), not {backbone.name} ({own}): "
                               "load that one")  # fmt: skip
        return self._run(backbone, lambda rows: lambda t, like: self.noises[t][rows].to(like))

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file; nothing is left behind if it fails."""
        tensors = {"x_T": self.x_T, "index": self.index}
        tensors |= {f"noise.{t}": z for t, z in self.noises.items()}
        header: dict[str, Any] = {"format": _FORMAT, "grid": self.grid, "etas": self.etas,
                                  "seed": self.seed, "backbone": self.backbone,
                                  "batch": self.batch, "edit": None}  # fmt: skip
        if self.edit is not None:
            values = {f.name: getattr(self.edit, f.name) for f in fields(Edit)}
            direction: Direction = values.pop("direction")
            given = {k: v for k, v in values.items() if isinstance(v, Tensor)}
            tensors |= {f"edit.{k}": v for k, v in given.items()}
            tensors |= {f"direction.{k}": v for k, v in direction.state_dict().items()}
            header["edit"] = {k: v for k, v in values.items() if k not in given}
            header |= {"direction": direction.config(), "about": direction.about}
        held = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        with replacing(path) as temporary:
            save_file(held, temporary, metadata={"hsl": json.dumps(header)})
        return Path(path)

    @staticmethod
    def load(path: str | Path) -> "SampleRecord":
        """Read a record that `save` wrote.

        Raises:
            HslError: a missing or damaged file, or another one.
        """
        path = Path(path)
        if not path.is_file():
            raise HslError(f"{path}: no such file; want a sample record saved by hsl")
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["hsl"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return _record(header, tensors)
        except Exception as error:  # a damaged header raises whatever it happens to ask for
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise HslError(f"{path}: no sample record of hsl's, or damaged ({reason})") from error

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
        if isinstance(direction, PerImage):
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
    kept: dict[int, list[Tensor]] = {}

    def noise(rows: slice) -> Noise:
        drawn = SeededNoise(index[rows], seed)

        def keep(t: int, like: Tensor) -> Tensor:
            z = drawn(t, like)
            kept.setdefault(t, []).append(z.cpu())
            return z

        return keep

    record = SampleRecord(
        x_T.cpu(), list(grid), etas, index, seed, edit, provenance(backbone), batch, {}
    )
    images = record._run(backbone, noise)
    return images, replace(record, noises={t: torch.cat(parts) for t, parts in kept.items()})


def _record(header: dict[str, Any], tensors: dict[str, Tensor]) -> SampleRecord:
    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    edit = None
    if header["edit"] is not None:
        config = header["direction"]
        if config["kind"] == Boundary.kind:  # of before there was a choice
            config = {"h_of": "moved"} | config
        direction = build(config)
        direction.load_state_dict(part("direction."))
        direction.about = dict(header["about"])
        values: dict[str, Any] = header["edit"] | part("edit.")
        edit = Edit(direction.requires_grad_(False), **values)
    noises = {int(t): z for t, z in part("noise.").items()}
    return SampleRecord(
        tensors["x_T"], header["grid"], header["etas"], tensors["index"], header["seed"], edit,
        header["backbone"], header["batch"], noises,
    )  # fmt: skip
