"""Small random networks for tests."""

import torch
from diffusers import UNet2DModel

from hsl.backbones import Backbone, SpaceToDepth, Tap
from hsl.backbones.schedule import Schedule


def backbone(seed: int = 0, tap: Tap = "after", space_to_depth: bool = False) -> Backbone:
    """An untrained U-Net of two levels; h is ``32 x 4 x 4``. All its parameters are random, so
    that no layer hides behind zeros."""
    torch.manual_seed(seed)
    channels = 12 if space_to_depth else 3
    unet = UNet2DModel(
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )
    for parameter in unet.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    codec = SpaceToDepth(2) if space_to_depth else None
    return Backbone(unet, Schedule.linear(), codec, tap, "tiny", 16 if space_to_depth else 8)
