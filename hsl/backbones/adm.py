"""The key map of ADM files: guided-diffusion, P2-weighting, ILVR and improved-diffusion."""

from itertools import count

from hsl.backbones.architecture import Architecture, KeyMap, Shapes, TensorSource
from hsl.errors import HslError

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
    """Every tensor of the diffusers U-Net, and where the original file has it. Which of them the
    U-Net has (a shortcut, say) is left to it."""
    found: KeyMap = {}
    last, per_level = len(a.mult) - 1, a.blocks + 1

    def pair(target: str, source: str, tail: int = 0) -> None:
        found[f"{target}.weight"] = TensorSource(f"{source}.weight", tail=tail)
        found[f"{target}.bias"] = TensorSource(f"{source}.bias")

    def resnet(target: str, source: str) -> None:
        for theirs, ours in (
            ("norm1", "in_layers.0"),
            ("conv1", "in_layers.2"),
            ("time_emb_proj", "emb_layers.1"),
            ("norm2", "out_layers.0"),
            ("conv2", "out_layers.3"),
            ("conv_shortcut", "skip_connection"),
        ):
            pair(f"{target}.{theirs}", f"{source}.{ours}")

    def attention(target: str, source: str) -> None:
        pair(f"{target}.group_norm", f"{source}.norm")
        pair(f"{target}.to_out.0", f"{source}.proj_out", tail=1)
        for part in ("q", "k", "v"):
            found[f"{target}.to_{part}.weight"] = TensorSource(f"{source}.qkv.weight", part, tail=1)
            found[f"{target}.to_{part}.bias"] = TensorSource(f"{source}.qkv.bias", part)

    for target, source in (
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("conv_in", "input_blocks.0.0"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
    ):
        pair(target, source)
    for i in range(last + 1):
        for j in range(per_level):
            up, down = last - i, f"input_blocks.{1 + i * per_level + j}"
            above = f"output_blocks.{up * per_level + j}"
            resnet(f"up_blocks.{up}.resnets.{j}", f"{above}.0")
            if a.attention[i]:
                attention(f"up_blocks.{up}.attentions.{j}", f"{above}.1")
            if j < a.blocks:
                resnet(f"down_blocks.{i}.resnets.{j}", f"{down}.0")
                if a.attention[i]:
                    attention(f"down_blocks.{i}.attentions.{j}", f"{down}.1")
        down = f"input_blocks.{(i + 1) * per_level}.0"
        above = f"output_blocks.{up * per_level + a.blocks}.{2 if a.attention[i] else 1}"
        if a.updown:
            resnet(f"down_blocks.{i}.downsamplers.0", down)
            resnet(f"up_blocks.{up}.upsamplers.0", above)
        else:
            pair(f"down_blocks.{i}.downsamplers.0.conv", f"{down}.op")
            pair(f"up_blocks.{up}.upsamplers.0.conv", f"{above}.conv")
    resnet("mid_block.resnets.0", "middle_block.0")
    attention("mid_block.attentions.0", "middle_block.1")
    resnet("mid_block.resnets.1", "middle_block.2")
    return found
