"""The split U-Net: ``encode`` down to the h-space, ``decode`` back up to eps."""

import hashlib
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from hsl.backbones.codecs import Codec, Identity
from hsl.errors import HslError
from hsl.schedule import Schedule

Tap = Literal["before", "after"]
TAPS: tuple[Tap, ...] = ("before", "after")


class Bottleneck(NamedTuple):
    """A U-Net pass, cut at its bottleneck.

    ``h [B, K, s, s]``: the h-space; ``temb [B, E]``: the embedded timestep; ``skips``: the
    activations that bypass the bottleneck, shallowest first. An edit is
    ``b._replace(h=b.h + delta_h)``.
    """

    h: Tensor
    temb: Tensor
    skips: tuple[Tensor, ...]


class Backbone(nn.Module):
    """A frozen denoiser with an h-space.

    Args:
        unet: predicts eps; its parameters are frozen and its mode set to evaluation.
        schedule: the noise levels it was trained with.
        codec: between images and the U-Net's input; identity for pixel-space models.
        tap: where h is read and edited. ``after`` the middle block is the h-space of Asyrp and
            BoundaryDiffusion; ``before`` it is Haas et al.'s alternative.
        name: what it is called in messages and files.
        image_size: S of the images ``[B, 3, S, S]`` it was trained on.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        schedule: Schedule,
        codec: Codec | None = None,
        tap: Tap = "after",
        name: str = "unnamed",
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        if tap not in TAPS:
            raise HslError(f"tap {tap!r}: want one of {', '.join(TAPS)}")
        for kind, value in (("class_embed_type", unet.config.class_embed_type),
                            ("num_class_embeds", unet.config.num_class_embeds)):  # fmt: skip
            if value is not None:
                raise HslError(f"{name}: conditional U-Nets are not supported ({kind}={value})")
        self.unet = unet.requires_grad_(False).eval()
        self.schedule = schedule
        self.codec: Codec = codec or Identity()
        self.tap = tap
        self.name = name
        self.image_size = image_size or int(unet.config.sample_size)
        self.channels = int(unet.config.in_channels)

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in evaluation mode: a frozen network has no other."""
        return super().train(False)

    def encode(self, x: Tensor, t: int | Tensor) -> Bottleneck:
        """The way down: ``x [B, C, s, s]`` at timestep ``t`` (an int, or ``[B]``) to h."""
        unet = self.unet
        if unet.config.center_input_sample:
            x = 2 * x - 1.0
        timesteps = torch.as_tensor(t, device=x.device)
        timesteps = timesteps * torch.ones(len(x), dtype=timesteps.dtype, device=x.device)
        temb = unet.time_embedding(unet.time_proj(timesteps).to(dtype=x.dtype))
        h = unet.conv_in(x)
        skips: tuple[Tensor, ...] = (h,)
        for block in unet.down_blocks:
            h, residuals = block(hidden_states=h, temb=temb)
            skips += residuals
        if self.tap == "after":
            h = unet.mid_block(h, temb)
        return Bottleneck(h, temb, skips)

    def decode(self, b: Bottleneck) -> Tensor:
        """The way up: eps ``[B, C, s, s]``.

        ``decode(encode(x, t))`` equals ``unet(x, t).sample`` bit for bit; of a model that also
        predicts its variance (twice the channels), eps is the first half.
        """
        unet, h, skips = self.unet, b.h, b.skips
        if self.tap == "before":
            h = unet.mid_block(h, b.temb)
        for block in unet.up_blocks:
            n = len(block.resnets)
            h = block(h, skips[-n:], b.temb)
            skips = skips[:-n]
        out: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(h)))
        return out[:, : self.channels]

    def x_0(self, image: Tensor) -> Tensor:
        """Images ``[B, 3, S, S]`` in [-1, 1] to x_0 ``[B, C, s, s]``."""
        return self.codec.encode(image)

    def image(self, x: Tensor) -> Tensor:
        """X_0 (or P_t) ``[B, C, s, s]`` to images ``[B, 3, S, S]``, not clamped."""
        return self.codec.decode(x)

    @cached_property
    def h_shape(self) -> tuple[int, int, int]:
        """``(K, s, s)`` of h, found by one pass over zeros."""
        size = int(self.unet.config.sample_size)
        x = torch.zeros(1, self.channels, size, size, device=self.device, dtype=self.unet.dtype)
        with torch.no_grad():
            _, k, height, width = self.encode(x, 0).h.shape
        return k, height, width

    @cached_property
    def temb_dim(self) -> int:
        """E of temb ``[B, E]``."""
        return int(self.unet.time_embedding.linear_2.out_features)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.unet.parameters()).device

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that identify the weights, the schedule and the tap.

        Weights are hashed as float32, so that the precision a file is stored or run in does not
        matter where it loses nothing.
        """
        digest = hashlib.sha256(f"{self.tap} {self.schedule.alphas_cumprod.tolist()}".encode())
        for name, tensor in sorted(self.unet.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]
