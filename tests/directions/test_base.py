"""A direction is used with the backbone that it was made for."""

from pathlib import Path

import pytest
import torch

from hsl.directions import Direction, ImplicitFunction, Shift, provenance
from hsl.errors import HslError
from some_directions import randn
from tiny import backbone


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    path = Shift(randn(32, 4, 4)).save(tmp_path / "d.safetensors", **provenance(backbone(0)))
    with pytest.raises(HslError, match="made for backbone tiny"):
        Direction.load(path, backbone(1))
    small = Shift(randn(16, 4, 4)).save(tmp_path / "s.safetensors", h_shape=[16, 4, 4])
    with pytest.raises(HslError, match=r"h of shape \(16, 4, 4\)"):
        Direction.load(small, backbone())


def test_a_function_of_another_temb_is_refused() -> None:
    net = backbone()
    ImplicitFunction(32, net.temb_dim).check(net)
    ImplicitFunction(32, 8, ignore_timesteps=True).check(net)
    for direction in (ImplicitFunction(32, 8), ImplicitFunction(32, 8) * 2.0):
        with pytest.raises(HslError, match=f"for a temb of 8, but that of tiny has {net.temb_dim}"):
            direction.check(net)


def test_a_direction_of_another_tap_is_refused() -> None:
    direction = Shift(torch.ones(32, 4, 4))
    direction.about = {"tap": "before"}
    direction.check(backbone(tap="before"))
    with pytest.raises(HslError, match="for the h before the middle block"):
        direction.check(backbone())
