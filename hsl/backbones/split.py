"""Where a U-Net is split: whether it can be, and its middle block in two halves."""

from diffusers import UNet2DModel
from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D
from torch import Tensor

from hsl.errors import HslError


def require_splittable(name: str, unet: UNet2DModel) -> None:
    """Check that a U-Net has an h-space, and predicts what hsl understands.

    Raises:
        HslError: it is class-conditional, without a middle block, with skip blocks or Fourier
            features, or of neither eps nor eps and variance.
    """
    for kind, value in (("class_embed_type", unet.config.class_embed_type),
                        ("num_class_embeds", unet.config.num_class_embeds)):  # fmt: skip
        if value is not None:
            raise HslError(f"{name}: class-conditional U-Nets are not supported ({kind}="
                           f"{value}); take an unconditional one")  # fmt: skip
    if unet.mid_block is None:
        raise HslError(f"{name}: a U-Net without a middle block has no h-space")
    skips = any(hasattr(b, "skip_conv") for b in (*unet.down_blocks, *unet.up_blocks))
    if skips or unet.config.time_embedding_type == "fourier":
        raise HslError(f"{name}: score-SDE's U-Nets (skip blocks, Fourier features) are not "
                       "supported; take a DDPM one")  # fmt: skip
    channels, out = int(unet.config.in_channels), int(unet.config.out_channels)
    if out not in (channels, 2 * channels):
        raise HslError(f"{name}: {out} channels out for {channels} in; want as many "
                       "(eps), or twice as many (eps and its variance)")  # fmt: skip


def first_half(block: UNetMidBlock2D, h: Tensor, temb: Tensor) -> tuple[Tensor, Tensor]:
    """The middle block up to the last nonlinearity of its second ResBlock, and what bypasses the
    rest of that ResBlock. The order of operations is diffusers' own, so that both halves together
    equal the block bit for bit."""
    h = block.resnets[0](h, temb)
    if block.attentions[0] is not None:
        h = block.attentions[0](h, temb=temb)
    resnet = block.resnets[1]
    out = resnet.conv1(resnet.nonlinearity(resnet.norm1(h)))
    time = resnet.time_emb_proj(resnet.nonlinearity(temb))[:, :, None, None]
    if resnet.time_embedding_norm == "scale_shift":
        scale, shift = time.chunk(2, dim=1)
        return resnet.norm2(out) * (1 + scale) + shift, h
    return resnet.norm2(out + time), h


def other_half(block: UNetMidBlock2D, h: Tensor, bypass: Tensor) -> Tensor:
    """The rest of what `first_half` began."""
    resnet = block.resnets[1]
    out: Tensor = bypass + resnet.conv2(resnet.nonlinearity(h))
    return out / resnet.output_scale_factor
