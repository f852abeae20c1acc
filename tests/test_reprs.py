"""What a person sees of a backbone, a direction and an edit at the prompt: one useful line."""

import pytest
import torch

from hsl.backbones import load
from hsl.directions import Boundary, PerImage, Shift
from hsl.edit import find_direction
from hsl.process import Edit
from some_directions import implicit, randn
from tiny import backbone

SHIFT, F_T = Shift(randn(32, 4, 4)), implicit()
STEPS = Shift(randn(2, 3, 8, 8), [100, 200], "x")
BORDER = Boundary(randn(2, 3, 8, 8), randn(2, 32, 4, 4), [100, 200], 200)
NAMED = Shift(randn(32, 4, 4))
NAMED.about = {"name": "Smi\nling", "strength": 0.5, "t_edit": 400, "t_boost": 0, "backbone": "b"}


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (backbone(), "Backbone(tiny, images 8 x 8, x 3 x 8 x 8, h 32 x 4 x 4 after the middle "
                     "block, 1000 timesteps, cpu)"),
        (backbone().schedule, "Schedule(1000 timesteps, alpha-bar 0.9999 to 4.04e-05)"),
        (SHIFT, "Shift(h 32 x 4 x 4)"),
        (NAMED, r"Shift(Smi\nling, h 32 x 4 x 4, strength 0.5, t_edit 400, t_boost 0, backbone b)"),
        (STEPS, "Shift(x 3 x 8 x 8 at 2 timesteps)"),
        (F_T, "ImplicitFunction(h of 32 channels, family ddpm)"),
        (F_T + 2 * NAMED, "Combination(1 ImplicitFunction + 1 Shift in h, backbone b)"),
        (F_T.without(NAMED),
         r"Combination(1 ImplicitFunction without Smi\nling in h, backbone b)"),
        (PerImage([F_T, NAMED], torch.ones(3, 2)),
         r"PerImage(ImplicitFunction, Smi\nling with weights for 3 images, in h, backbone b)"),
        (BORDER, "Boundary(x and h at 2 timesteps, crossed at t = 200)"),
        (Boundary(None, randn(1, 32, 4, 4), [100]),
         "Boundary(h at 1 timestep, with no mixing step yet)"),
        (Edit(SHIFT), "Edit(Shift(h 32 x 4 x 4), strength 1, asymmetric, t = 0 and above)"),
        (Edit(SHIFT, torch.tensor([-1, 0.5]), 400, 200, 999, mask=torch.eye(4).bool(),
              dt_lambda=0.9),
         "Edit(Shift(h 32 x 4 x 4), strength -1 to 0.5 of 2 images, asymmetric, t = 400 to 999, "
         "boosting below t = 200, masked, dt_lambda 0.9)"),
    ],
    ids=lambda value: value.split("(")[0] if isinstance(value, str) else "",
)  # fmt: skip
def test_one_line(what: object, line: str) -> None:
    assert repr(what) == line


def test_what_is_shipped() -> None:
    assert repr(load("toyfaces")).startswith("Backbone(toyfaces, images 32 x 32, ")
    for name, kind in (("Smiling", "directions"), ("Eyeglasses", "boundaries")):
        line = repr(Edit.of(find_direction(name, kind)))
        assert name in line and "backbone toyfaces" in line and "\n" not in line
