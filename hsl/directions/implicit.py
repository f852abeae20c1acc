"""Directions that are functions of h."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

from torch import Tensor, nn

from hsl.backbones import Backbone, Bottleneck
from hsl.directions.base import Direction
from hsl.errors import HslError
from hsl.released import functions as released
from hsl.schema import Rule, flag, one_of, whole


@final
class ImplicitFunction(Direction):
    """Asyrp's implicit function f_t: delta h_t = f(h_t, temb(t)), by 1x1 convolutions.

    Submodules carry the names of the released files. Family ``ddpm`` (DDPM, SDEdit weights):
    conv1 -> + Linear(SiLU(temb)) -> GroupNorm -> SiLU -> conv2. Family ``adm`` (ADM, P2, ILVR):
    GroupNorm -> SiLU -> conv -> + Linear(SiLU(temb)) -> GroupNorm -> SiLU -> conv
    (Kwon et al. 2023, section 4.1 and Figure 3).

    Args:
        channels: K of h; a multiple of ``groups``.
        temb_dim: E of temb.
        family: ``ddpm`` or ``adm``.
        zero_init: start with a last layer of zeros, so that training starts from delta h = 0.
        ignore_timesteps: leave out the temb term, so that f is one function for all t.
        groups: groups of the normalisations.
    """

    kind = "implicit_function"
    rules: ClassVar[dict[str, Rule]] = {
        "channels": whole(1),
        "temb_dim": whole(1),
        "family": one_of("ddpm", "adm"),
        "ignore_timesteps": flag(),
        "groups": whole(1),
    }

    def __init__(
        self,
        channels: int,
        temb_dim: int,
        family: Literal["ddpm", "adm"] = "ddpm",
        zero_init: bool = False,
        ignore_timesteps: bool = False,
        groups: int = 32,
    ) -> None:
        super().__init__("h")
        if family not in ("ddpm", "adm"):
            raise HslError(f"family {family!r}: want ddpm or adm")
        if channels % groups:
            raise HslError(f"{channels} channels do not divide into {groups} groups")
        self.arguments: dict[str, Any] = {
            "channels": channels,
            "temb_dim": temb_dim,
            "family": family,
            "ignore_timesteps": ignore_timesteps,
            "groups": groups,
        }
        if family == "ddpm":
            self.conv1 = nn.Conv2d(channels, channels, 1)
            self.temb_proj = nn.Linear(temb_dim, channels)
            self.norm2 = nn.GroupNorm(groups, channels, eps=1e-6)
            self.conv2 = nn.Conv2d(channels, channels, 1)
            final_layer = self.conv2
        else:
            norm = nn.GroupNorm(groups, channels, eps=1e-5)
            self.in_layers = nn.Sequential(norm, nn.SiLU(), nn.Conv2d(channels, channels, 1))
            self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(temb_dim, channels))
            norm = nn.GroupNorm(groups, channels, eps=1e-5)
            final_layer = nn.Conv2d(channels, channels, 1)
            # the dropout of rate 0 keeps the released files' numbering
            self.out_layers = nn.Sequential(norm, nn.SiLU(), nn.Dropout(0.0), final_layer)
        if ignore_timesteps:  # DDP waits for the gradient of all that may have one
            (self.temb_proj if family == "ddpm" else self.emb_layers).requires_grad_(False)
        if zero_init:
            nn.init.zeros_(final_layer.weight)
            nn.init.zeros_(final_layer.bias)  # type: ignore[arg-type]

    @classmethod
    def for_backbone(cls, backbone: Backbone, **arguments: Any) -> Self:
        """An f_t of the right size for ``backbone``."""
        return cls(backbone.h_shape[0], backbone.temb_dim, **arguments)

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        silu = nn.functional.silu
        ddpm = self.arguments["family"] == "ddpm"
        out: Tensor = self.conv1(b.h) if ddpm else self.in_layers(b.h)
        if not self.arguments["ignore_timesteps"]:
            temb = self.temb_proj(silu(b.temb)) if ddpm else self.emb_layers(b.temb)
            out = out + temb[:, :, None, None]
        return self.conv2(silu(self.norm2(out))) if ddpm else self.out_layers(out)

    def outline(self) -> str:
        once = ", one function for all t" if self.arguments["ignore_timesteps"] else ""
        channels, family = self.arguments["channels"], self.arguments["family"]
        return f"h of {channels} channels, family {family}{once}"

    def config(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.arguments}

    @property
    def h_shape(self) -> tuple[int, ...]:
        return (int(self.arguments["channels"]),)

    def check_part(self, backbone: Backbone) -> None:
        width = self.arguments["temb_dim"]
        if not self.arguments["ignore_timesteps"] and width != backbone.temb_dim:
            raise HslError(
                f"this direction is for a temb of {width}, but that of {backbone.name} has "
                f"{backbone.temb_dim}: load another backbone, or fit it anew"
            )

    def export_asyrp(self, path: str | Path) -> Path:
        if self.arguments["groups"] != 32:
            return super().export_asyrp(path)  # which refuses
        return released.write(Path(path), self.state_dict())
