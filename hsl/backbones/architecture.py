"""What a U-Net of the papers is made of, and the diffusers U-Net that equals it.

The original files say their architecture by their keys and shapes alone. What those do not
determine (`Unstated`: the order of q, k and v, the width of a head, the image size, the noise
schedule) comes from a preset or from the user, and is never guessed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hsl.errors import HslError

if TYPE_CHECKING:  # the shapes alone are known without PyTorch
    from torch import Tensor

Family = Literal["ddpm", "adm"]
Order = Literal["legacy", "new"]
Shapes = Mapping[str, tuple[int, ...]]
#: Timesteps of the longest schedule: 25 times those of any published model.
LONGEST = 100_000
#: Pixels along the longest side of an image: four times those of any published U-Net.
LARGEST = 4096
#: What the numbers of `Unstated` may be.
_RANGES = {
    "image_size": (1, LARGEST),
    "timesteps": (2, LONGEST),
    "heads": (1, 2**16),
    "head_channels": (1, 2**16),
}


@dataclass(frozen=True)
class Architecture:
    """What keys and shapes determine.

    ``family``: ``ddpm`` (DDPM, DDIM, SDEdit) or ``adm`` (guided-diffusion, P2, ILVR,
    improved-diffusion); ``channels`` of the first level and ``mult`` of each; ``blocks`` per
    level; ``attention``: whether each level has it; ``updown``: ResBlocks resample;
    ``scale_shift``: the timestep scales and shifts a norm, instead of being added.
    """

    family: Family
    channels: int
    mult: tuple[int, ...]
    blocks: int
    attention: tuple[bool, ...]
    in_channels: int = 3
    out_channels: int = 3
    updown: bool = False
    scale_shift: bool = False

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        return [self.channels * m for m in self.mult]

    @property
    def attended(self) -> list[int]:
        """Widths of its attention layers, ascending; the middle block always has one."""
        levels = [w for w, has in zip(self.widths, self.attention, strict=True) if has]
        return sorted({*levels, self.widths[-1]})


@dataclass(frozen=True)
class Unstated:
    """What keys and shapes leave open; None: not known.

    ``qkv``: rows of a fused attention matrix are ``legacy`` (heads first) or ``new`` (q, k and v
    first); ``heads``: the number of heads, or ``head_channels``: the width of one (family
    ``adm``); ``image_size`` in pixels; ``schedule``: ``linear`` or ``cosine`` with ``timesteps``
    steps; ``rescaled``: the network sees t * 1000 / ``timesteps`` (improved-diffusion does so
    unless told otherwise, guided-diffusion does not); ``untrained_labels``: a ``label_emb`` in the
    file was never trained, as in files that Asyrp's code saved, and belongs to no class.

    Raises:
        HslError: a number that no model has.
    """

    image_size: int | None = None
    qkv: Order | None = None
    heads: int | None = None
    head_channels: int | None = None
    schedule: Literal["linear", "cosine"] | None = None
    timesteps: int | None = None
    rescaled: bool | None = None
    untrained_labels: bool | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not low <= value <= high):
                option = "--" + name.replace("_", "-")
                raise HslError(f"{option} {value}: want a whole number from {low} to {high}")

    def filled(self, other: "Unstated") -> "Unstated":
        """This, with ``other``'s values where it has none; the two head options are one."""
        mine = {k: v for k, v in vars(self).items() if v is not None}
        if "heads" in mine or "head_channels" in mine:
            other = replace(other, heads=None, head_channels=None)
        return replace(other, **mine)

    def missing(self, family: Family) -> list[str]:
        """What must still be said before a file of ``family`` can be used."""
        names = ["image_size", "schedule"]
        if family == "adm":
            names.append("qkv")
            if self.heads is None and self.head_channels is None:
                names.append("heads or head_channels")
            if self.timesteps not in (None, 1000) and self.rescaled is None:
                names.append("rescaled or no_rescaled")
        return [n for n in names if " or " in n or getattr(self, n) is None]

    def heads_of(self, width: int) -> int:
        """Attention heads at ``width`` channels.

        Raises:
            HslError: the heads do not divide the width.
        """
        of = self.heads or width // (self.head_channels or width)
        if of < 1 or width % of or (self.head_channels and width % self.head_channels):
            raise HslError(
                f"heads={self.heads}, head_channels={self.head_channels}: not of {width}"
            )
        return of


class TensorSource(NamedTuple):
    """Where one tensor of the diffusers U-Net comes from: ``source`` in the original file, whole or
    (``part``) its q, k or v; ``tail``: trailing dimensions of 1 that the original has besides."""

    source: str
    part: Literal["q", "k", "v"] | None = None
    tail: int = 0

    def shape(self, target: tuple[int, ...]) -> tuple[int, ...]:
        """The original's shape, from the diffusers tensor's."""
        rows = target[0] * (3 if self.part else 1)
        return (rows, *target[1:], *[1] * self.tail)

    def take(self, tensor: "Tensor", target: tuple[int, ...], unstated: Unstated) -> "Tensor":
        """The diffusers tensor, from the original one."""
        if self.part is None:
            return tensor.reshape(target)
        i, width, rest = "qkv".index(self.part), target[0], tensor.shape[1:]
        if unstated.qkv == "new":
            return tensor.reshape(3, width, *rest)[i].reshape(target).clone()
        heads = unstated.heads_of(width)
        split = tensor.reshape(heads, 3, width // heads, *rest)[:, i]
        return split.reshape(target).clone()  # the part alone, not a view that keeps all three


KeyMap = dict[str, TensorSource]


def weight_and_bias(target: str, source: str, tail: int = 0) -> KeyMap:
    """The two tensors of a layer; ``tail`` is of its weight (`TensorSource`)."""
    return {
        f"{target}.weight": TensorSource(f"{source}.weight", tail=tail),
        f"{target}.bias": TensorSource(f"{source}.bias"),
    }


def layers(target: str, source: str, names: Mapping[str, str]) -> KeyMap:
    """`weight_and_bias` of several layers of a block, each under its name in diffusers."""
    keys: KeyMap = {}
    for name, original in names.items():
        keys |= weight_and_bias(f"{target}.{name}", f"{source}.{original}")
    return keys


def mixed_heads(a: Architecture, unstated: Unstated) -> bool:
    """Whether attention layers of different widths have the same number of heads, which no
    diffusers config can say."""
    return a.family == "adm" and (unstated.heads or 1) > 1 and len(a.attended) > 1


def require_side(name: str, size: object, levels: int) -> int:
    """The side of x, in pixels or latents, from a U-Net's ``sample_size`` (a number, or a pair of
    equal ones).

    Raises:
        HslError: there is none, a rectangle, too large a one, or one that cannot be halved
            between the U-Net's ``levels`` and doubled back; ``name`` says whose it is.
    """
    sides: list[Any] = list(size) if isinstance(size, list | tuple) else [size]
    if not sides or any(type(side) is not int or side < 1 for side in sides):
        raise HslError(f"{name}: sample_size is {size!r}; want the side of x, a positive whole "
                       "number")  # fmt: skip
    if len(sides) > 2 or sides[0] != sides[-1]:
        raise HslError(f"{name}: sample_size is {size!r}: hsl edits squares, no rectangles; take "
                       "a model of square images")  # fmt: skip
    side, unit = int(sides[0]), 2 ** (levels - 1)
    if side > LARGEST or side % unit:
        raise HslError(f"{name}: x of {side} x {side}; want a side of at most {LARGEST} that its "
                       f"{levels} levels can halve: a multiple of {unit}")  # fmt: skip
    return side


def config(a: Architecture, unstated: Unstated) -> dict[str, Any]:
    """The arguments of the ``diffusers.UNet2DModel`` that equals the original.

    A U-Net with `mixed_heads` needs its heads set besides, by `set_heads`.
    """
    kind = "Resnet" if a.updown else ""
    down = [f"{kind}Down{'sample' if a.updown else ''}Block2D", "AttnDownBlock2D"]
    up = [f"{kind}Up{'sample' if a.updown else ''}Block2D", "AttnUpBlock2D"]
    resample = "resnet" if a.updown else "conv"
    adm = a.family == "adm"
    width = None  # of a head; None: one head
    if adm and unstated.heads != 1:
        widths = [w // unstated.heads_of(w) for w in a.attended]
        width = math.gcd(*(a.attended if mixed_heads(a, unstated) else widths))
    return {
        "sample_size": unstated.image_size,
        "in_channels": a.in_channels,
        "out_channels": a.out_channels,
        "block_out_channels": a.widths,
        "layers_per_block": a.blocks,
        "down_block_types": [down[has] for has in a.attention],
        "up_block_types": [up[has] for has in reversed(a.attention)],
        "downsample_type": resample,
        "upsample_type": resample,
        "downsample_padding": 1 if adm else 0,
        "flip_sin_to_cos": adm,
        "freq_shift": 0 if adm else 1,
        "norm_eps": 1e-5 if adm else 1e-6,
        "norm_num_groups": 32,
        "attn_norm_num_groups": 32 if adm else None,
        "attention_head_dim": width,
        "resnet_time_scale_shift": "scale_shift" if a.scale_shift else "default",
    }
