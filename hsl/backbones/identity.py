"""What tells two backbones apart."""

import hashlib

from diffusers import UNet2DModel
from torch import nn

from hsl.backbones.codecs import Codec
from hsl.backbones.schedule import Schedule

#: Settings of a U-Net's config that show in no tensor's name or shape, with the bundled model's
#: values: only a value that differs enters the hash.
_SETTINGS = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "attn_norm_num_groups": None,
    "center_input_sample": False,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "norm_num_groups": 16,
}


def weights_hash(
    unet: UNet2DModel, schedule: Schedule, tap: str, codec: Codec, timestep_scale: float
) -> str:
    """16 hexadecimal digits that identify a backbone; see `Backbone.hash`."""
    digest = hashlib.sha256(f"{tap} {schedule.alphas_cumprod.tolist()}".encode())
    config = unet.config
    settings = {k: config.get(k) for k, usual in _SETTINGS.items() if config.get(k, usual) != usual}
    if settings:
        digest.update(str(settings).encode())
    if timestep_scale != 1:
        digest.update(f"timestep_scale {timestep_scale}".encode())
    if heads := getattr(unet, "mixed_heads", None):
        digest.update(f"mixed_heads {heads}".encode())
    state = unet.state_dict()
    if isinstance(codec, nn.Module):
        digest.update(f"scale {getattr(codec, 'scale', 1.0)}".encode())
        state |= {f"codec.{k}": v for k, v in codec.state_dict().items()}
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
