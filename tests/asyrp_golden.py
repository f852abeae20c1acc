"""Recorded runs of Asyrp's released code (golden/asyrp), with their networks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hsl.backbones import Backbone, load
from hsl.directions import ImplicitFunction
from recorded import told


class Recorded(NamedTuple):
    """A golden file, the network that it was made with and the t_edit of its edits."""

    name: str
    tensors: dict[str, Tensor]
    net: Backbone
    t_edit: int

    def __getitem__(self, key: str) -> Tensor:  # type: ignore[override]
        return self.tensors[key]

    def with_prefix(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def function(self, prefix: str, ignore_timesteps: bool = False) -> ImplicitFunction:
        """The implicit function whose tensors begin so."""
        state = self.with_prefix(prefix)
        f = ImplicitFunction.for_backbone(
            self.net, family=self.net.family, ignore_timesteps=ignore_timesteps
        )
        f.load_state_dict(state)
        return f.requires_grad_(False)


def recorded(folder: Path, kind: str) -> Iterator[Recorded]:
    """All ``{w}_{kind}.safetensors`` whose network is there; skips the test where there is none."""
    found = 0
    for path in sorted(folder.glob(f"*_{kind}.safetensors")):
        name = path.name.removesuffix(f"_{kind}.safetensors")
        config, weights = (
            folder / f"{name}_{end}" for end in ("config.json", "weights.safetensors")
        )
        if config.exists() and weights.exists():
            about = json.loads(config.read_text())
            yield Recorded(
                name,
                load_file(path),
                load(str(weights), told=told(about["config"])),
                about["t_edit"],
            )
            found += 1
    if not found:
        pytest.skip(f"golden/asyrp has no *_{kind}.safetensors with its network")


def assert_close(got: Tensor, want: Tensor, atol: float, rtol: float = 0.0, what: str = "") -> None:
    """Within tolerance, and says by how much not."""
    assert got.shape == want.shape, what
    off = float((got - want).detach().abs().max())
    assert torch.allclose(got, want, atol=atol, rtol=rtol), f"{what}: off by {off:.2e}"
