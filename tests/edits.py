"""A folder with what ``python -m hsl.edit`` takes, and a tiny backbone for it."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hsl import edit
from hsl.backbones import load
from hsl.data.images import load_images, save_image
from hsl.directions import Boundary, ImplicitFunction, provenance
from runs import saved_backbone


class Place(NamedTuple):
    """A folder with a backbone, images and directions for it."""

    root: Path
    backbone: str
    smile: str
    hat: str

    def call(self, *arguments: str | Path, out: str = "out") -> int:
        where = ["--backbone", self.backbone, "--out", str(self.root / out), "--device", "cpu"]
        return edit.main([*where, "--steps", "6", *map(str, arguments)])

    def written(self, out: str = "out") -> list[str]:
        return sorted(p.relative_to(self.root / out).as_posix()
                      for p in (self.root / out).rglob("*") if p.is_file())  # fmt: skip

    def pixels(self, out: str, *names: str) -> Tensor:
        return load_images([self.root / out / name for name in names], 8)[0]


def made_place(root: Path) -> Place:
    """Four images, in a folder and outside, and two directions."""
    backbone = saved_backbone(root / "backbone")
    network, paths = load(backbone), []
    for seed, (name, t_edit) in enumerate((("Smile", 300), ("Hat", 500))):
        torch.manual_seed(seed)
        direction = ImplicitFunction.for_backbone(network)
        about = {"t_edit": t_edit, "t_boost": 100, "t_start": 800, "strength": 0.5}
        path = root / "directions" / f"{name}.safetensors"
        paths.append(str(direction.save(path, **provenance(network), **about)))
    pictures = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name, picture in zip(("a.png", "faces/2.png", "faces/10.png", "faces/deep/3.png"),
                             pictures, strict=True):  # fmt: skip
        save_image(root / name, picture)
    return Place(root, backbone, *paths)


def made_borders(place: Place) -> dict[str, str]:
    """Two boundaries at t = 400, one of them at t = 600, and one without a mixing step."""
    network, paths = load(place.backbone), {}
    generator = torch.Generator().manual_seed(4)
    for name, t in (("A", 400), ("B", 400), ("late", 600), ("open", None)):
        steps = [t or 400]
        normals = [torch.randn(1, *shape, generator=generator)
                   for shape in ((3, 8, 8), network.h_shape)]  # fmt: skip
        border = Boundary(*(v / v.norm() for v in normals), steps, t)
        for scale in border.scales.values():
            scale.data.fill_(3.0)
        path = place.root / "borders" / f"{name}.safetensors"
        paths[name] = str(border.save(path, **provenance(network), strength=2.0))
    return paths
