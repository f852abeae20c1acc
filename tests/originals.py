"""The published U-Nets in their own state-dict layout, as references for the checkpoint converter.

`DDPM` is the network of DDPM, DDIM and SDEdit; `ADM` that of guided-diffusion, P2-weighting, ILVR
and improved-diffusion. Both are called as ``net(x, t)`` and, with ``return_h=True``, also return
the middle block's output. Neither has dropout, which no evaluation needs.
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def phases(t: Tensor, n: int, last: int) -> Tensor:
    """t exp(-ln(1e4) i / last) for i < n."""
    return t.float()[:, None] * torch.exp(-math.log(1e4) / last * torch.arange(n, device=t.device))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over the last axis; the one before it holds a head's channels."""
    weights = torch.einsum("...ct,...cs->...ts", q, k) / math.sqrt(q.shape[-2])
    return torch.einsum("...ts,...cs->...ct", weights.softmax(-1), v)


def conv(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


def named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def upsample(c: int) -> nn.Sequential:
    return named(nearest=nn.Upsample(scale_factor=2.0), conv=conv(c, c))


class DDPMBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, temb: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(32, c_in, eps=1e-6)
        self.conv1 = conv(c_in, c_out)
        self.temb_proj = nn.Linear(temb, c_out)
        self.norm2 = nn.GroupNorm(32, c_out, eps=1e-6)
        self.conv2 = conv(c_out, c_out)
        if c_in != c_out:
            self.nin_shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.temb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class DDPMAttention(nn.Module):
    """One head as wide as the layer; every projection a 1x1 convolution."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, c, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        out = attend(*(f(h).flatten(2) for f in (self.q, self.k, self.v)))
        return x + self.proj_out(out.view_as(x))


class DDPM(nn.Module):
    """The U-Net of DDPM, DDIM and SDEdit."""

    def __init__(
        self,
        ch: int,
        ch_mult: Sequence[int],
        num_res_blocks: int,
        attn_resolutions: Collection[int],
        image_size: int,
        in_channels: int = 3,
        out_ch: int = 3,
    ) -> None:
        super().__init__()
        self.ch, temb = ch, 4 * ch
        widths = [ch * m for m in ch_mult]
        attends = [image_size // 2**i in attn_resolutions for i in range(len(widths))]

        def level(i: int, c_ins: list[int]) -> nn.ModuleDict:
            block = nn.ModuleList(DDPMBlock(c, widths[i], temb) for c in c_ins)
            at = attends[i]
            attn = nn.ModuleList(DDPMAttention(widths[i]) if at else nn.Identity() for _ in c_ins)
            return nn.ModuleDict({"block": block, "attn": attn})

        dense = nn.ModuleList([nn.Linear(ch, temb), nn.Linear(temb, temb)])
        self.temb = nn.ModuleDict({"dense": dense})
        self.conv_in = conv(in_channels, ch)
        self.down, skips, c = nn.ModuleList(), [ch], ch
        for i, width in enumerate(widths):
            self.down.append(level(i, [c] + [width] * (num_res_blocks - 1)))
            skips += [width] * num_res_blocks
            if i < len(widths) - 1:
                pad = nn.ZeroPad2d((0, 1, 0, 1))  # right and bottom
                self.down[i]["downsample"] = named(pad=pad, conv=nn.Conv2d(width, width, 3, 2))
                skips.append(width)
            c = width
        self.mid = nn.Module()
        self.mid.block_1, self.mid.attn_1 = DDPMBlock(c, c, temb), DDPMAttention(c)
        self.mid.block_2 = DDPMBlock(c, c, temb)
        self.up = nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            mains = [c] + [width] * num_res_blocks
            self.up.insert(0, level(i, [main + skips.pop() for main in mains]))
            if i > 0:
                self.up[0]["upsample"] = upsample(width)
            c = width
        self.norm_out = nn.GroupNorm(32, c, eps=1e-6)
        self.conv_out = conv(c, out_ch)

    def forward(self, x: Tensor, t: Tensor, *, return_h: bool = False) -> Any:
        angles = phases(t, self.ch // 2, self.ch // 2 - 1)
        temb = torch.cat([angles.sin(), angles.cos()], 1).to(x.dtype)
        temb = self.temb["dense"][1](F.silu(self.temb["dense"][0](temb)))
        x = self.conv_in(x)
        skips = [x]
        for level in self.down:
            for block, attn in zip(level["block"], level["attn"], strict=True):
                x = attn(block(x, temb))
                skips.append(x)
            if "downsample" in level:
                x = level["downsample"](x)
                skips.append(x)
        x = h = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x, temb)), temb)
        for level in reversed(self.up):
            for block, attn in zip(level["block"], level["attn"], strict=True):
                x = attn(block(torch.cat([x, skips.pop()], 1), temb))
            x = level["upsample"](x) if "upsample" in level else x
        out = self.conv_out(F.silu(self.norm_out(x)))
        return (out, h) if return_h else out


class ADMBlock(nn.Module):
    def __init__(
        self, c_in: int, c_out: int, emb: int, scale_shift: bool, resample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = resample or nn.Identity()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, c_in), nn.SiLU(), conv(c_in, c_out))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, c_out * (1 + scale_shift)))
        norm = nn.GroupNorm(32, c_out)
        self.out_layers = nn.Sequential(norm, nn.SiLU(), nn.Identity(), conv(c_out, c_out))
        self.skip_connection = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.in_layers[2](self.resample(self.in_layers[:2](x)))
        e = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, 1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.resample(x)) + h


class ADMAttention(nn.Module):
    """qkv's channels are ordered (head, q/k/v, channel), or (q/k/v, head, channel) if new."""

    def __init__(self, c: int, heads: int, new_order: bool) -> None:
        super().__init__()
        self.split, self.axis = ((3, heads), 1) if new_order else ((heads, 3), 2)
        self.norm = nn.GroupNorm(32, c)
        self.qkv = nn.Conv1d(c, 3 * c, 1)
        self.proj_out = nn.Conv1d(c, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        qkv = self.qkv(self.norm(flat)).unflatten(1, (*self.split, -1))
        return (flat + self.proj_out(attend(*qkv.unbind(self.axis)).flatten(1, 2))).view_as(x)


class Stage(nn.Sequential):
    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        for module in self:
            x = module(x, emb) if isinstance(module, ADMBlock) else module(x)
        return x


class ADM(nn.Module):
    """The U-Net of guided-diffusion, P2-weighting, ILVR and improved-diffusion."""

    def __init__(
        self,
        model_channels: int,
        channel_mult: Sequence[float],
        num_res_blocks: int,
        attention_resolutions: Collection[int],
        image_size: int,
        resblock_updown: bool,
        scale_shift: bool,
        learn_sigma: bool,
        heads: int | None = None,
        head_channels: int | None = None,
        new_order: bool = False,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.model_channels, emb = model_channels, 4 * model_channels
        widths = [int(model_channels * m) for m in channel_mult]
        attends = [image_size // 2**i in attention_resolutions for i in range(len(widths))]

        def block(c_in: int, c_out: int, resample: nn.Module | None = None) -> ADMBlock:
            return ADMBlock(c_in, c_out, emb, scale_shift, resample)

        def attention(c: int) -> ADMAttention:
            return ADMAttention(c, c // head_channels if head_channels else heads or 1, new_order)

        def stage(i: int, c_in: int) -> Stage:
            return Stage(block(c_in, widths[i]), *([attention(widths[i])] if attends[i] else []))

        def down(c: int) -> nn.Module:
            strided = named(op=nn.Conv2d(c, c, 3, 2, padding=1))
            return block(c, c, nn.AvgPool2d(2)) if resblock_updown else strided

        def up(c: int) -> nn.Module:
            return block(c, c, nn.Upsample(scale_factor=2.0)) if resblock_updown else upsample(c)

        first = nn.Linear(model_channels, emb)
        self.time_embed = nn.Sequential(first, nn.SiLU(), nn.Linear(emb, emb))
        self.label_emb = nn.Embedding(num_classes, emb) if num_classes else None
        c = widths[0]
        self.input_blocks, skips = nn.ModuleList([Stage(conv(3, c))]), [c]
        for i, width in enumerate(widths):
            for _ in range(num_res_blocks):
                self.input_blocks.append(stage(i, c))
                skips.append(c := width)
            if i < len(widths) - 1:
                self.input_blocks.append(Stage(down(c)))
                skips.append(c)
        self.middle_block = Stage(block(c, c), attention(c), block(c, c))
        self.output_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            for j in range(num_res_blocks + 1):
                self.output_blocks.append(stage(i, c + skips.pop()))
                c = width
                if i > 0 and j == num_res_blocks:
                    self.output_blocks[-1].append(up(c))
        self.out = nn.Sequential(nn.GroupNorm(32, c), nn.SiLU(), conv(c, 6 if learn_sigma else 3))

    def forward(self, x: Tensor, t: Tensor, y: Any = None, *, return_h: bool = False) -> Any:
        angles = phases(t, self.model_channels // 2, self.model_channels // 2)
        emb = self.time_embed(torch.cat([angles.cos(), angles.sin()], 1).to(x.dtype))
        if self.label_emb is not None:
            emb = emb + self.label_emb(y)
        skips = []
        for stage in self.input_blocks:
            x = stage(x, emb)
            skips.append(x)
        x = h = self.middle_block(x, emb)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, skips.pop()], 1), emb)
        out = self.out(x)
        return (out, h) if return_h else out


def build(config: dict[str, Any]) -> DDPM | ADM:
    """The network of a released configuration, under the names its own project gives them."""
    if "ch" in config:
        return DDPM(**{k: v for k, v in config.items() if k not in ("resamp_with_conv", "dropout")})
    per_head = config.get("num_head_channels", -1)
    return ADM(
        config["num_channels"],
        [float(m) for m in config["channel_mult"].split(",")],
        config["num_res_blocks"],
        [int(r) for r in config["attention_resolutions"].split(",")],
        config["image_size"],
        config.get("resblock_updown", False),
        config["use_scale_shift_norm"],
        config["learn_sigma"],
        heads=config["num_heads"],
        head_channels=None if per_head == -1 else per_head,
        new_order=config.get("use_new_attention_order", False),
        num_classes=1000 if config.get("class_cond") else None,
    )


def reinit(module: nn.Module, seed: int) -> None:
    """Draw every parameter anew: weights N(0, 1 / fan-in), norms' scales 1 + 0.1 N, biases 0.1 N.
    The published networks start with zero layers, behind which a mistake would hide."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim > 1:
                p.copy_(noise / math.sqrt(p[0].numel()))
            else:
                p.copy_(0.1 * noise + name.endswith("weight"))
