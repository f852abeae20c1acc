"""Images whose values are not in [-1, 1] are refused at the door."""

import math

import pytest
import torch

from hsl.errors import HslError
from hsl.pixels import require_pixels
from runs import saved_backbone
from tiny import backbone

LEVELS = torch.tensor([0.0, 128.0, 255.0]).expand(2, 8, 8, 3).permute(0, 3, 1, 2)
ADVICE = r"divide by 127.5 and subtract 1$"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (LEVELS, rf"image spans \[0, 255\]; want \[-1, 1\]: {ADVICE}"),
        (LEVELS.byte(), f"image is torch.uint8; .*{ADVICE}"),
        (LEVELS - 128, r"image spans \[-128, 127\]; want \[-1, 1\]$"),
        (LEVELS * math.nan, r"image spans \[nan, nan\]; want \[-1, 1\]$"),
    ],
)
def test_what_is_refused(image: torch.Tensor, message: str) -> None:
    with pytest.raises(HslError, match=f"tiny: {message}"):
        backbone().x_0(image)


def test_what_passes() -> None:
    scaled = LEVELS / 127.5 - 1
    for image in (scaled, scaled * 1.4, scaled.half(), scaled.double(), scaled[:0]):
        require_pixels("image", image)
    assert torch.equal(backbone().x_0(scaled), scaled)


def test_a_method_refuses_them(tmp_path) -> None:
    from hsl.methods.asyrp import Asyrp

    method = Asyrp(backbone=saved_backbone(tmp_path / "tiny"), steps=4, t_edit=300, t_boost=0)
    for call in (method.x_T, lambda images: method.edit_images(images, torch.arange(2)),
                 method.precompute):  # fmt: skip
        with pytest.raises(HslError, match=ADVICE):
            call(LEVELS)
