"""A backbone that was cast is still the one that was loaded."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from lightning.pytorch.plugins import HalfPrecision

from hsl.backbones import load
from hsl.callbacks import Directions
from hsl.directions import Direction
from hsl.methods.linear import Linear
from runs import faces, saved_backbone, saved_latent_backbone, trainer
from tiny import backbone


@pytest.mark.parametrize("cast", ["half", "bfloat16", "double"])
def test_the_hash_is_of_the_weights_as_loaded(cast: str) -> None:
    want, net = backbone().hash, backbone()
    outer = torch.nn.ModuleDict({"inner": net})
    getattr(outer, cast)()
    assert net.unet.dtype != torch.float32 and net.hash == want
    assert outer.float()["inner"].hash == want
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert copied.hash == want


def test_of_latent_models_too(tmp_path: Path) -> None:
    folder = saved_latent_backbone(tmp_path / "ldm")
    assert load(folder).to(torch.bfloat16).hash == load(folder).hash


def test_moves_hash_nothing() -> None:
    net = backbone().to(torch.device("cpu"), torch.float32)
    assert "hash" not in vars(net)


def test_directions_fitted_in_bfloat16_fit_their_own_backbone(tmp_path: Path) -> None:
    """Lightning's trainer.precision bf16-true casts the whole method."""
    folder = saved_backbone(tmp_path / "backbone")
    method = Linear(backbone=folder, attributes=["Smiling"], steps=6, timesteps=[200])
    data = faces(8, where={}, batch_size=4)
    fitting = trainer(tmp_path, Directions(), precision="bf16-true")
    fitting.fit(method, datamodule=data)
    assert isinstance(fitting.precision_plugin, HalfPrecision)
    assert method.backbone.unet.dtype == torch.bfloat16
    (saved,) = tmp_path.rglob("directions/*.safetensors")
    direction = Direction.load(saved, load(folder))  # compares the hashes
    assert direction.about["backbone_hash"] == load(folder).hash
