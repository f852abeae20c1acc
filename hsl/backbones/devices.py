"""Where a backbone computes."""

import torch

from hsl.backbones.unet import Backbone
from hsl.errors import HslError


def usual() -> str:
    """The device that is taken where none is named: the first CUDA device, if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def move(backbone: Backbone, device: str) -> None:
    """Bring a backbone to the device that ``--device`` names.

    Raises:
        HslError: there is no such device here, or none that holds values.
    """
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no values")
        backbone.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch has no CUDA
        reason = str(error).partition("\n")[0]
        raise HslError(f"--device {device}: cannot be used ({reason})") from error
