"""The key map of ADM files: guided-diffusion, P2-weighting, ILVR and improved-diffusion."""

from itertools import count

from hsl.backbones.architecture import (
    Architecture,
    KeyMap,
    Shapes,
    TensorSource,
    layers,
    weight_and_bias,
)
from hsl.errors import HslError

#: A ResBlock's layers, by their names in diffusers.
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

MARK = "time_embed.0.weight"


def infer(shapes: Shapes) -> Architecture:
    """The architecture of a file, from its keys and shapes.

    Raises:
        HslError: a first level that is not as wide as the model (ADM 512).
        KeyError: a tensor is missing, without which nothing can be said.
    """
    channels = shapes[MARK][1]
    if shapes["input_blocks.0.0.weight"][0] != channels:
        raise HslError("a first level of another width than the model's (ADM 512): no diffusers "
                       "U-Net has that; take a model of another resolution")  # fmt: skip
    n = next(k for k in count() if f"output_blocks.{k}.0.in_layers.0.weight" not in shapes)
    # the way up tells its resamplers apart: they come after the ResBlock (and the attention)
    convolved = [k for k in range(n) if _any(shapes, k, "conv.weight")]
    updown = [k for k in range(n) if _any(shapes, k, "in_layers.0.weight")]
    levels = len(convolved or updown) + 1
    blocks = n // levels - 1
    if n < levels:
        raise KeyError(f"output_blocks.{n}.0.in_layers.0.weight")
    first = [f"input_blocks.{1 + i * (blocks + 1)}" for i in range(levels)]
    widths = [shapes[f"{block}.0.out_layers.3.weight"][0] for block in first]
    scaled = shapes[f"{first[0]}.0.emb_layers.1.weight"][0] == 2 * widths[0]
    return Architecture(
        family="adm",
        channels=channels,
        mult=tuple(width // channels for width in widths),
        blocks=blocks,
        attention=tuple(f"{block}.1.qkv.weight" in shapes for block in first),
        in_channels=shapes["input_blocks.0.0.weight"][1],
        out_channels=shapes["out.2.weight"][0],
        updown=bool(updown),
        scale_shift=scaled,
    )


def _any(shapes: Shapes, k: int, tensor: str) -> bool:
    return any(f"output_blocks.{k}.{m}.{tensor}" in shapes for m in (1, 2))


def key_map(a: Architecture) -> KeyMap:
    """Where the original file has each tensor of the diffusers U-Net. Among them are some that a
    U-Net of this architecture may lack, such as shortcuts."""
    keys: KeyMap = {}
    for target, source in (
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("conv_in", "input_blocks.0.0"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
    ):
        keys |= weight_and_bias(target, source)
    for i in range(len(a.mult)):
        keys |= _level(a, i) | _resamplers(a, i)
    keys |= layers("mid_block.resnets.0", "middle_block.0", _RESNET)
    keys |= _attention("mid_block.attentions.0", "middle_block.1")
    keys |= layers("mid_block.resnets.1", "middle_block.2", _RESNET)
    return keys


def _level(a: Architecture, i: int) -> KeyMap:
    """The ResBlocks and attention layers of level ``i``, counted from the top: on the way up there
    is one more of each."""
    keys: KeyMap = {}
    n, up = a.blocks + 1, len(a.mult) - 1 - i
    sides = [(f"down_blocks.{i}", f"input_blocks.{1 + i * n + j}", j) for j in range(a.blocks)]
    sides += [(f"up_blocks.{up}", f"output_blocks.{up * n + j}", j) for j in range(n)]
    for target, source, j in sides:
        keys |= layers(f"{target}.resnets.{j}", f"{source}.0", _RESNET)
        if a.attention[i]:
            keys |= _attention(f"{target}.attentions.{j}", f"{source}.1")
    return keys


def _resamplers(a: Architecture, i: int) -> KeyMap:
    """The layers that halve x after level ``i`` on the way down, and double it on the way up."""
    n, up = a.blocks + 1, len(a.mult) - 1 - i
    down = f"input_blocks.{(i + 1) * n}.0"
    above = f"output_blocks.{up * n + a.blocks}.{2 if a.attention[i] else 1}"
    lower, upper = f"down_blocks.{i}.downsamplers.0", f"up_blocks.{up}.upsamplers.0"
    if a.updown:
        return layers(lower, down, _RESNET) | layers(upper, above, _RESNET)
    keys = weight_and_bias(f"{lower}.conv", f"{down}.op")
    return keys | weight_and_bias(f"{upper}.conv", f"{above}.conv")


def _attention(target: str, source: str) -> KeyMap:
    keys = weight_and_bias(f"{target}.group_norm", f"{source}.norm")
    keys |= weight_and_bias(f"{target}.to_out.0", f"{source}.proj_out", tail=1)
    for part in ("q", "k", "v"):
        keys[f"{target}.to_{part}.weight"] = TensorSource(f"{source}.qkv.weight", part, tail=1)
        keys[f"{target}.to_{part}.bias"] = TensorSource(f"{source}.qkv.bias", part)
    return keys
