"""The key map of DDPM files: SDEdit's, DDIM's, and DiffusionCLIP's fine-tuned ones."""

from itertools import count

from hsl.backbones.architecture import Architecture, KeyMap, Shapes, layers, weight_and_bias
from hsl.errors import HslError

#: A ResBlock's layers, by their names in diffusers.
_RESNET = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "time_emb_proj": "temb_proj",
    "conv_shortcut": "nin_shortcut",
}

MARK = "temb.dense.0.weight"


def infer(shapes: Shapes) -> Architecture:
    """The architecture of a file, from its keys and shapes.

    Raises:
        HslError: a U-Net without convolutions where it resamples, or a first level of another
            width than the model's.
        KeyError: a tensor is missing, without which nothing can be said.
    """
    levels = next(i for i in count() if f"down.{i}.block.0.conv1.weight" not in shapes)
    blocks = next(j for j in count() if f"down.0.block.{j}.conv1.weight" not in shapes)
    channels = shapes["conv_in.weight"][0]
    if levels > 1 and "down.0.downsample.conv.weight" not in shapes:
        raise HslError("a DDPM U-Net that resamples without convolutions: no diffusers U-Net does")
    widths = [shapes[f"down.{i}.block.0.conv1.weight"][0] for i in range(levels)]
    if widths and widths[0] != channels:
        raise HslError(
            "a first level of another width than the model's: no diffusers U-Net has that"
        )
    return Architecture(
        family="ddpm",
        channels=channels,
        mult=tuple(width // channels for width in widths),
        blocks=blocks,
        attention=tuple(f"down.{i}.attn.0.q.weight" in shapes for i in range(levels)),
        in_channels=shapes["conv_in.weight"][1],
        out_channels=shapes["conv_out.weight"][0],
    )


def key_map(a: Architecture) -> KeyMap:
    """Where the original file has each tensor of the diffusers U-Net. Among them are some that a
    U-Net of this architecture may lack, such as shortcuts."""
    keys: KeyMap = {}
    for target, source in (
        ("time_embedding.linear_1", "temb.dense.0"),
        ("time_embedding.linear_2", "temb.dense.1"),
        ("conv_in", "conv_in"),
        ("conv_norm_out", "norm_out"),
        ("conv_out", "conv_out"),
    ):
        keys |= weight_and_bias(target, source)
    last = len(a.mult) - 1
    for i in range(last + 1):
        for side, n, level in (("down", a.blocks, i), ("up", a.blocks + 1, last - i)):
            for j in range(n):
                keys |= layers(
                    f"{side}_blocks.{level}.resnets.{j}", f"{side}.{i}.block.{j}", _RESNET
                )
                if a.attention[i]:
                    target = f"{side}_blocks.{level}.attentions.{j}"
                    keys |= _attention(target, f"{side}.{i}.attn.{j}")
        keys |= weight_and_bias(f"down_blocks.{i}.downsamplers.0.conv", f"down.{i}.downsample.conv")
        keys |= weight_and_bias(f"up_blocks.{last - i}.upsamplers.0.conv", f"up.{i}.upsample.conv")
    keys |= layers("mid_block.resnets.0", "mid.block_1", _RESNET)
    keys |= _attention("mid_block.attentions.0", "mid.attn_1")
    keys |= layers("mid_block.resnets.1", "mid.block_2", _RESNET)
    return keys


def _attention(target: str, source: str) -> KeyMap:
    keys = weight_and_bias(f"{target}.group_norm", f"{source}.norm")
    for name, original in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
        keys |= weight_and_bias(f"{target}.{name}", f"{source}.{original}", tail=2)
    return keys
