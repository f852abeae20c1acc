"""Recorded runs of BoundaryDiffusion's released code (golden/boundary), with their networks."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from hsl.backbones import Backbone, Unstated, load


class Recorded:
    """A golden file and the network it was made with."""

    def __init__(self, tensors: dict[str, Tensor], about: dict, net: Backbone) -> None:
        self.tensors, self.about, self.net = tensors, about, net
        self.distances, self.t_0 = about.get("distances", []), about["t0"]

    def __getitem__(self, key: str) -> Tensor:
        return self.tensors[key]

    def normal(self, space: str, unit: bool = True) -> Tensor:
        """The boundary's coefficients in ``h`` or ``z``, shaped like one latent."""
        w = self[f"boundary_{space}"].view(self[f"{space}_lat"].shape[1:])
        return w / w.norm() if unit else w

    def noise(self, grid: list[int], *which: int):
        """The recorded draws of all (or these) distances: ``[n, C, s, s]`` at each t."""
        drawn = [self[f"edit{j}.noise"] for j in which or range(len(self.distances))]
        steps = dict(zip(reversed(grid), torch.stack(drawn, dim=1), strict=True))
        return lambda t, like: steps[t]


def recorded(folder: Path, pattern: str) -> Iterator[Recorded]:
    """The files of that pattern; skips the test where no file's network is there."""
    missing, found = [pattern], 0
    for path in sorted(folder.glob(pattern)):
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["meta"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        weights = folder / about["ckpt"]
        if weights.exists():
            found += 1
            yield Recorded(tensors, about, network(weights))
        else:
            missing.append(about["ckpt"])
    if not found:
        pytest.skip(f"golden/boundary lacks {' and '.join(missing)}")


def network(path: Path) -> Backbone:
    """A network from its original file, told what its configuration says beyond the shapes."""
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    return load(str(path), told=told(config))


def told(config: dict) -> Unstated:
    """What a released configuration says beyond the shapes."""
    width, heads = config.get("num_head_channels", -1), config.get("num_heads")
    return Unstated(
        image_size=config["image_size"],
        qkv="new" if config.get("use_new_attention_order") else "legacy",
        heads=heads if width == -1 else None,
        head_channels=None if width == -1 else width,
        schedule="linear",
    )


def files(folder: Path, pattern: str) -> list[tuple[dict, dict[str, Tensor]]]:
    """Metadata and tensors of the files of that pattern, of golden/boundary."""
    found = []
    for path in sorted(folder.glob(pattern)):
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["meta"])
            found.append((about, {key: file.get_tensor(key) for key in file.keys()}))  # noqa: SIM118
    if not found:
        pytest.skip(f"no golden/boundary/{pattern}")
    return found
