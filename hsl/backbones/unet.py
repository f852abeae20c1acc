"""The split U-Net: ``encode`` down to the h-space, ``decode`` back up to eps."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Literal, NamedTuple, Self

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hsl.backbones.architecture import require_side
from hsl.backbones.codecs import Codec, Identity
from hsl.backbones.identity import weights_hash
from hsl.backbones.schedule import Schedule
from hsl.backbones.speed import PLAIN, Speed, require_compiler
from hsl.backbones.split import first_half, other_half, require_splittable
from hsl.errors import HslError
from hsl.names import by, visible
from hsl.pixels import require_pixels

Tap = Literal["before", "middle", "after"]
TAPS: tuple[Tap, ...] = ("before", "middle", "after")


class Bottleneck(NamedTuple):
    """A U-Net pass, cut at its bottleneck.

    ``h [B, K, s, s]``: the h-space; ``temb [B, E]``: the embedded timestep; ``skips``: the
    activations that bypass the bottleneck, shallowest first (at tap ``middle`` the last is the
    one that bypasses the rest of its ResBlock). An edit is ``b._replace(h=b.h + delta_h)``.
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
            BoundaryDiffusion; Haas et al. also try ``before`` it and in its ``middle``: what the
            last nonlinearity of its second ResBlock sees.
        name: what it is called in messages and files.
        image_size: S of the images ``[B, 3, S, S]`` it was trained on.
        timestep_scale: the network sees t times this (improved-diffusion's rescaled timesteps).

    Raises:
        HslError: an unknown tap, or a U-Net that cannot be split: class-conditional, without a
            middle block, with skip blocks or Fourier features, of neither eps nor eps and
            variance, of rectangles, or of an x that it cannot halve as often as it does.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        schedule: Schedule,
        codec: Codec | None = None,
        tap: Tap = "after",
        name: str = "unnamed",
        image_size: int | None = None,
        timestep_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if tap not in TAPS:
            raise HslError(f"tap {tap!r}: want one of {', '.join(TAPS)}")
        require_splittable(name, unet)
        self.unet = unet.requires_grad_(False).eval()
        self.schedule = schedule
        self.codec: Codec = codec or Identity()
        self.tap = tap
        self.name = name
        #: Of x ``[B, C, s, s]``.
        self.side = require_side(name, unet.config.sample_size, len(unet.config.block_out_channels))
        self.image_size = image_size or self.side
        self.channels = int(unet.config.in_channels)
        self.timestep_scale = timestep_scale
        #: How it computes; set by `run_with`.
        self.speed = PLAIN
        #: What its images are of, if its folder says so.
        self.domain: str | None = None
        #: What its folder says of its eps error (`hsl.backbones.eps_error`), if it does.
        self.eps_errors: list[float] | None = None
        #: Whether the second half of its output is the variance of the ancestral step.
        self.learned_variance = unet.config.out_channels == 2 * self.channels

    def __repr__(self) -> str:
        """One line; ``unet`` lists the layers."""
        where = f"{'in' if self.tap == 'middle' else self.tap} the middle block"
        sizes = f"images {by([self.image_size] * 2)}, x {by(self.x_shape)}, h {by(self.h_shape)}"
        times = f"{len(self.schedule)} timesteps"
        return f"Backbone({visible(self.name)}, {sizes} {where}, {times}, {self.device})"

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in evaluation mode: a frozen network has no other."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Every cast and move goes through here. A cast loses digits: the hash is taken first."""
        weights = next(self.unet.parameters()).detach()
        if fn(weights.new_empty(0)).dtype != weights.dtype:
            _ = self.hash
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def run_with(self, speed: Speed) -> "Backbone":
        """Compute as these options say, in place, and return itself. The `hash` stays the same,
        and so do copies and files: of the weights only the order in memory changes. What was
        compiled stays so.

        Raises:
            HslError: compile without a C++ compiler.
        """
        unet, last = self.unet, speed.channels_last
        if speed.compile:
            require_compiler()
            # each block by itself: the split, copies and checkpointing stay as they are
            for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
                block.compile()
        unet.to(memory_format=torch.channels_last if last else torch.contiguous_format)
        self.speed = speed
        return self

    def encode(self, x: Tensor, t: int | Tensor) -> Bottleneck:
        """The way down: ``x [B, C, s, s]`` at timestep ``t`` (an int, or ``[B]``) to h."""
        with self._precision(x):
            h, temb, skips = self._encode(x, t)
        return Bottleneck(h.to(x.dtype), temb.to(x.dtype), skips)

    def _precision(self, like: Tensor) -> AbstractContextManager[object]:
        """Autocast to bfloat16, or else whatever the caller has."""
        if not self.speed.bfloat16:
            return nullcontext()
        return torch.autocast(like.device.type, torch.bfloat16)

    def _encode(self, x: Tensor, t: int | Tensor) -> Bottleneck:
        unet = self.unet
        if unet.config.center_input_sample:
            x = 2 * x - 1.0
        timesteps = torch.as_tensor(t, device=x.device)
        timesteps = timesteps * torch.ones(len(x), dtype=timesteps.dtype, device=x.device)
        if self.timestep_scale != 1:
            timesteps = timesteps * self.timestep_scale
        temb = unet.time_embedding(unet.time_proj(timesteps).to(dtype=x.dtype))
        h = unet.conv_in(x)
        skips: tuple[Tensor, ...] = (h,)
        for block in unet.down_blocks:
            h, residuals = block(hidden_states=h, temb=temb)
            skips += residuals
        if self.tap == "after":
            h = unet.mid_block(h, temb)
        elif self.tap == "middle":
            h, bypass = first_half(unet.mid_block, h, temb)
            skips = (*skips, bypass)
        return Bottleneck(h, temb, skips)

    def decode(self, b: Bottleneck) -> Tensor:
        """The way up: eps ``[B, C, s, s]``; of a model that also predicts its variance, the first
        half of `output`."""
        return self.output(b)[:, : self.channels]

    def output(self, b: Bottleneck) -> Tensor:
        """All that the network says: eps ``[B, C, s, s]``, or with `learned_variance` eps and v
        ``[B, 2 C, s, s]``, v in about [-1, 1] (`hsl.process.learned_sigma`).

        ``output(encode(x, t))`` equals ``unet(x, t).sample`` bit for bit.
        """
        with self._precision(b.h):
            out = self._output(b)
        return out.to(b.h.dtype)

    def _output(self, b: Bottleneck) -> Tensor:
        unet, h, skips = self.unet, b.h, b.skips
        if self.tap == "before":
            h = unet.mid_block(h, b.temb)
        elif self.tap == "middle":
            h = other_half(unet.mid_block, h, skips[-1])
            skips = skips[:-1]
        for block in unet.up_blocks:
            n = len(block.resnets)
            if self.speed.checkpoint and torch.is_grad_enabled() and h.requires_grad:
                # nothing is drawn at random in evaluation mode
                h = checkpoint(block, h, skips[-n:], b.temb,
                               use_reentrant=False, preserve_rng_state=False)  # fmt: skip
            else:
                h = block(h, skips[-n:], b.temb)
            skips = skips[:-n]
        out: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(h)))
        return out

    def x_0(self, image: Tensor) -> Tensor:
        """Images ``[B, 3, S, S]`` in [-1, 1] to x_0 ``[B, C, s, s]``.

        Raises:
            HslError: images of another size or with other values, such as 0 to 255, or the denoiser
                takes another number of channels.
        """
        size, sides = self.image_size, list(image.shape[-2:])
        if sides != [size, size]:
            raise HslError(f"{self.name}: takes images of {size} x {size} pixels, not "
                           f"{' x '.join(map(str, sides))}: bring them to its size")  # fmt: skip
        require_pixels(f"{self.name}: image", image)
        x = self.codec.encode(image.to(self.dtype))
        if x.shape[1] != self.channels:
            raise HslError(f"{self.name}: takes {self.channels} channels, but an image has "
                           f"{x.shape[1]} in its codec: no model of RGB images")  # fmt: skip
        return x

    def image(self, x: Tensor) -> Tensor:
        """X_0 (or P_t) ``[B, C, s, s]`` to images ``[B, 3, S, S]``, not clamped, in float32 or
        float64 whatever the weights are in."""
        image = self.codec.decode(x)
        return image.float() if image.element_size() < 4 else image

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights, which is that of x and eps: a trainer's precision may have cast them."""
        return next(self.unet.parameters()).dtype

    @property
    def x_shape(self) -> tuple[int, int, int]:
        """``(C, s, s)`` of x_t."""
        return self.channels, self.side, self.side

    @cached_property
    def h_shape(self) -> tuple[int, int, int]:
        """``(K, s, s)`` of h, found by one pass over zeros."""
        x = torch.zeros(1, *self.x_shape, device=self.device, dtype=self.unet.dtype)
        with torch.no_grad():
            _, k, height, width = self.encode(x, 0).h.shape
        return k, height, width

    @cached_property
    def temb_dim(self) -> int:
        """E of temb ``[B, E]``."""
        return int(self.unet.time_embedding.linear_2.out_features)

    @property
    def family(self) -> Literal["ddpm", "adm"]:
        """Which of the two designs it has, ``adm`` if it predicts its variance or its timestep
        scales and shifts a norm; Asyrp's implicit functions differ accordingly."""
        scaled = self.unet.config.resnet_time_scale_shift == "scale_shift"
        return "adm" if scaled or self.learned_variance else "ddpm"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.unet.parameters()).device

    @property
    def key(self) -> str:
        """Identifies what it computes, for caches: its `hash` and the precision in which it does so
        under `hsl.store.precision.stated`."""
        kind = self.dtype
        precision = str(torch.bfloat16 if self.speed.bfloat16 else kind).removeprefix("torch.")
        if (
            precision == "float32"
            and self.device.type == "cuda"
            and torch.backends.cudnn.allow_tf32
        ):
            precision = "tf32"  # of convolutions; products are in float32
        return f"{self.hash}-{precision}"

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that identify the weights, the schedule and the tap, and what
        else there is: the settings that no shape tells (such as the heads' width), the heads that
        no config can say, the timesteps' scale, the autoencoder.

        Weights are hashed as float32 and as they were loaded, so that the precision a file is
        stored or a backbone run in does not matter: a cast backbone is still the same one.
        """
        return weights_hash(self.unet, self.schedule, self.tap, self.codec, self.timestep_scale)
