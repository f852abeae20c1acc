"""Directions: what an edit adds. A vector space of small frozen or trainable modules.

``+``, ``-``, ``*`` and ``without`` combine directions; ``save`` and `load` keep them in one
safetensors file with what is needed to use them again.
"""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hsl import checkpoints
from hsl.backbones import Backbone, Bottleneck
from hsl.errors import HslError
from hsl.report import replacing

Space = Literal["h", "x", "eps"]
SPACES: tuple[Space, ...] = ("h", "x", "eps")
_FORMAT = 1
_RELEASED_NAME = re.compile(r"(?P<name>.+)_LC_.+_t\d+_ninv\d+_ngen(?P<steps>\d+)_\d+\.pth")


class Direction(nn.Module):
    """A direction of change in one space: h (the bottleneck), x (the latent) or eps.

    ``about`` holds what a file says of it: backbone name and hash, method, grid, t_edit,
    t_boost, strength, metrics, commit.
    """

    kind: ClassVar[str]

    def __init__(self, space: Space = "h") -> None:
        super().__init__()
        if space not in SPACES:
            raise HslError(f"space {space!r}: want one of {', '.join(SPACES)}")
        self.space: Space = space
        self.about: dict[str, Any] = {}

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        """The change at timestep ``t``, shaped like ``b.h``, ``x`` or eps, or broadcastable."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The arguments that build this direction anew, as JSON."""
        raise NotImplementedError

    def check(self, backbone: Backbone) -> None:
        """Refuse a backbone that this direction was not made for.

        Raises:
            HslError: another tap, shape of h or width of temb, or other weights than those it was
                fitted on.
        """
        tap = self.about.get("tap", backbone.tap)
        if self.h_shape is not None and tap != backbone.tap:
            raise HslError(
                f"this direction is for the h {tap} the middle block, not {backbone.tap} it: load "
                f"{backbone.name} with that tap"
            )
        made_for = self.about.get("backbone_hash")
        if made_for and made_for != backbone.hash:
            raise HslError(
                f"this direction was made for backbone {self.about.get('backbone')} ({made_for}), "
                f"not for {backbone.name} ({backbone.hash}): load that one, or fit it anew"
            )
        shape = self.h_shape
        if shape is not None and shape != backbone.h_shape[: len(shape)]:
            raise HslError(
                f"this direction is for h of shape {shape}, but that of {backbone.name} is "
                f"{backbone.h_shape}: load another backbone, or fit it anew"
            )
        for part in self.modules():
            if isinstance(part, ImplicitFunction) and not part.arguments["ignore_timesteps"]:
                width = part.arguments["temb_dim"]
                if width != backbone.temb_dim:
                    raise HslError(
                        f"this direction is for a temb of {width}, but that of {backbone.name} has "
                        f"{backbone.temb_dim}: load another backbone, or fit it anew"
                    )

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        """What this direction needs h to be: ``(K, s, s)``, or ``(K,)`` if any size will do; None
        if it leaves h alone."""
        raise NotImplementedError

    def __add__(self, other: "Direction") -> "Direction":
        return Combination([self, other], [1.0, 1.0])

    def __sub__(self, other: "Direction") -> "Direction":
        return Combination([self, other], [1.0, -1.0])

    def __mul__(self, factor: float) -> "Direction":
        return Combination([self], [float(factor)])

    __rmul__ = __mul__

    def __neg__(self) -> "Direction":
        return self * -1.0

    def without(self, *others: "Direction") -> "Direction":
        """This direction with its components along ``others`` projected away, jointly.

        Of `Shift` directions on the same timesteps the projection is over all steps at once
        (Haas et al. 2024, eq. 12); of others it is taken per image and per step, where their
        change is known.
        """
        return Combination([self], [1.0], removed=others)

    def save(self, path: str | Path, **about: Any) -> Path:
        """Write one safetensors file; nothing is left behind if it fails.

        Args:
            path: file to write; its folder is made.
            about: JSON values to add to ``self.about``, e.g. ``method="asyrp"``.
        """
        path = Path(path)
        self.about |= about
        header = {"format": _FORMAT, "direction": self.config(), "about": self.about}
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={"hsl": json.dumps(header)})
        return path

    @staticmethod
    def load(path: str | Path, backbone: Backbone | None = None) -> "Direction":
        """Read a direction; given a backbone, refuse one that it was not made for.

        Args:
            path: a file that `save` wrote, or one of the implicit functions that Asyrp's authors
                released (``.pth``; of its several functions, the first).
            backbone: what it shall be used with.

        Raises:
            HslError: a missing or damaged file, or a direction for another backbone.
        """
        path = Path(path)
        if not path.exists():
            raise HslError(f"{path}: no such file; want a direction saved by hsl")
        try:
            with path.open("rb") as file:
                released = file.read(9)[8:] != b"{" and path.suffix != ".safetensors"
        except OSError as error:
            raise HslError(f"{path}: cannot be read ({error.strerror}); give a file") from error
        direction = _released(path) if released else _saved(path)
        if backbone is not None:
            try:
                direction.check(backbone)
            except HslError as error:
                raise HslError(f"{path}: {error}") from error
        return direction.requires_grad_(False)

    def export_asyrp(self, path: str | Path) -> Path:
        """Write an implicit function as Asyrp's own code reads it (``torch.save`` of ``{"0": its
        state dict}``, without the optimiser's and the schedule's states).

        Raises:
            HslError: another kind of direction, or one that the layout has no place for.
        """
        if not isinstance(self, ImplicitFunction) or self.arguments["groups"] != 32:
            raise HslError(f"{path}: only implicit functions of 32 groups have Asyrp's layout, "
                           f"not a {self.kind}; save it instead")  # fmt: skip
        state = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        with replacing(path) as temporary:
            torch.save({"0": state}, temporary)
        return Path(path)


@final
class Shift(Direction):
    """The same change for every image: one tensor, or one per timestep.

    Args:
        delta: ``[K, s, s]``, or ``[n, K, s, s]`` with ``timesteps``.
        timesteps: the n timesteps that ``delta``'s rows belong to; at another t the nearest
            one's row is used, so that a direction survives another number of steps.
        space: what the tensor is added to.
    """

    kind = "shift"

    def __init__(
        self, delta: Tensor, timesteps: Sequence[int] | None = None, space: Space = "h"
    ) -> None:
        super().__init__(space)
        if delta.ndim != (3 if timesteps is None else 4):
            raise HslError("Shift: want [K, s, s], or [n, K, s, s] with n timesteps")
        if timesteps is not None and len(timesteps) != len(delta):
            raise HslError(f"Shift: {len(delta)} tensors for {len(timesteps)} timesteps")
        self.delta = nn.Parameter(delta.detach().clone())
        self.timesteps = None if timesteps is None else [int(t) for t in timesteps]

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        if self.timesteps is None:
            return self.delta[None]
        row = min(range(len(self.timesteps)), key=lambda i: abs(self.timesteps[i] - t))  # type: ignore[index]
        return self.delta[row][None]

    def config(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "shape": list(self.delta.shape),
            "timesteps": self.timesteps,
            "space": self.space,
        }

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        return tuple(self.delta.shape[-3:]) if self.space == "h" else None

    def _like(self, delta: Tensor, *others: Direction) -> "Shift":
        new = Shift(delta, self.timesteps, self.space)
        new.about = _made_for(self, *others)
        return new

    def _joins(self, other: Direction) -> bool:
        return (
            isinstance(other, Shift)
            and other.space == self.space
            and other.timesteps == self.timesteps
            and other.delta.shape == self.delta.shape
        )

    def __add__(self, other: Direction) -> Direction:
        if isinstance(other, Shift) and self._joins(other):
            return self._like(self.delta + other.delta, other)
        return super().__add__(other)

    def __sub__(self, other: Direction) -> Direction:
        return self + (-other)

    def __mul__(self, factor: float) -> Direction:
        return self._like(self.delta * factor)

    __rmul__ = __mul__

    def without(self, *others: Direction) -> Direction:
        if not others or not all(self._joins(other) for other in others):
            return super().without(*others)
        shifts = [other for other in others if isinstance(other, Shift)]
        rows = torch.stack([other.delta.flatten() for other in shifts])
        residue = _project_out(self.delta.flatten()[None], rows[None])
        return self._like(residue.view_as(self.delta), *others)


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

    def config(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.arguments}

    @property
    def h_shape(self) -> tuple[int, ...]:
        return (int(self.arguments["channels"]),)


@final
class Combination(Direction):
    """A weighted sum of directions of one space, minus its components along others.

    Args:
        directions: what is summed.
        weights: one factor each.
        removed: directions whose span is projected away from the sum.
    """

    kind = "combination"

    def __init__(
        self,
        directions: Sequence[Direction],
        weights: Sequence[float],
        removed: Sequence[Direction] = (),
    ) -> None:
        spaces = {d.space for d in (*directions, *removed)}
        if any(isinstance(d, Boundary) for d in (*directions, *removed)):
            raise HslError("a boundary, crossed in one step, combines with other boundaries only")
        if len(spaces) != 1:
            raise HslError(f"cannot combine directions in {' and '.join(sorted(spaces))}")
        if len(directions) != len(weights):
            raise HslError(f"Combination: {len(directions)} directions, {len(weights)} weights")
        super().__init__(directions[0].space)
        self.directions = nn.ModuleList(directions)
        self.weights = [float(w) for w in weights]
        self.removed = nn.ModuleList(removed)
        self.about = _made_for(*directions, *removed)

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        shapes = [d.h_shape for d in (*self.directions, *self.removed)]
        return max((s for s in shapes if isinstance(s, tuple)), key=len, default=None)

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        parts = [w * d(b, x, t) for w, d in zip(self.weights, self.directions, strict=True)]
        total = torch.stack(torch.broadcast_tensors(*parts)).sum(0)
        if not self.removed:
            return total
        others = torch.broadcast_tensors(total, *(d(b, x, t) for d in self.removed))[1:]
        rows = torch.stack([other.flatten(1) for other in others], dim=1)
        return _project_out(total.flatten(1).expand(len(rows), -1), rows).view_as(others[0])

    def config(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "directions": [d.config() for d in self.directions],  # type: ignore[operator]
            "weights": self.weights,
            "removed": [d.config() for d in self.removed],  # type: ignore[operator]
        }


@final
class Boundary(Direction):
    """Semantic boundaries of one attribute: hyperplanes in x_t and in h at one or more timesteps.

    At the mixing step ``t`` an edit moves x_t along its normal, and then h, of the moved x_t, along
    its own; once, not at every step (Zhu et al. 2023). So an `Edit` with it acts at one step alone.
    The signed distance of v to a hyperplane is <v, normal> + bias.

    Args:
        x: unit normals ``[n, C, s, s]`` in x_t, or None.
        h: unit normals ``[n, K, s, s]`` in h, or None.
        timesteps: the n timesteps, ascending.
        t: the mixing step, one of them; None: not chosen yet.
        absolute: a strength is the coordinate <v, normal> to arrive at, as in the released code,
            instead of a distance to go.
    """

    kind = "boundary"

    def __init__(
        self,
        x: Tensor | None,
        h: Tensor | None,
        timesteps: Sequence[int],
        t: int | None = None,
        absolute: bool = False,
    ) -> None:
        super().__init__("h" if x is None else "x")
        given = {k: v for k, v in (("x", x), ("h", h)) if v is not None}
        self.timesteps = [int(step) for step in timesteps]
        if not given or any(v.ndim != 4 or len(v) != len(self.timesteps) for v in given.values()):
            raise HslError("Boundary: want [n, C, s, s] in x, h or both, with n timesteps")
        if t is not None and t not in self.timesteps:
            raise HslError(f"Boundary: no hyperplane at t={t}; there are {self.timesteps}")
        self.t, self.absolute = t, absolute
        self.normals = nn.ParameterDict({k: v.detach().clone() for k, v in given.items()})
        #: of each space and timestep: the bias, and what a strength of 1 moves by.
        self.biases = nn.ParameterDict({k: torch.zeros(len(v)) for k, v in given.items()})
        self.scales = nn.ParameterDict({k: torch.ones(len(v)) for k, v in given.items()})

    def row(self, t: int | None = None) -> int:
        """Where timestep ``t`` (None: the mixing step) is among the timesteps.

        Raises:
            HslError: no hyperplane there, or no mixing step chosen.
        """
        t = self.t if t is None else t
        if t is None or t not in self.timesteps:
            raise HslError(f"no hyperplane at t={t}; there are {self.timesteps}: choose one")
        return self.timesteps.index(t)

    def distance(self, v: Tensor, space: Space, t: int | None = None) -> Tensor:
        """Signed distance ``[B]`` of x_t or h ``[B, ...]`` to the hyperplane in its space."""
        i = self.row(t)
        along = v.flatten(1) @ self.normals[space][i].flatten().to(v)
        return along + self.biases[space][i].to(v)

    def move(self, v: Tensor, space: Space, strength: float | Tensor) -> Tensor:
        """``v [B, ...]``, x_t or h, moved along its normal at the mixing step by ``strength`` (a
        number or ``[B]``) times the scale; if ``absolute``, to that coordinate. Unchanged in a
        space without a hyperplane."""
        if space not in self.normals:
            return v
        i = self.row()
        normal, scale = self.normals[space][i].to(v), self.scales[space][i].to(v)
        way = torch.as_tensor(strength, dtype=v.dtype, device=v.device).expand(len(v)) * scale
        if self.absolute:
            way = way - v.flatten(1) @ normal.flatten()
        return v + way[:, None, None, None] * normal

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        """What a strength of 1 adds, at the mixing step, to x_t, or to h if that is all it moves.
        (`hsl.process.reverse` moves both, one after the other.)"""
        v = x if self.space == "x" else b.h
        return self.move(v, self.space, 1.0) - v

    def check(self, backbone: Backbone) -> None:
        super().check(backbone)
        size = int(backbone.unet.config.sample_size)
        wanted = (backbone.channels, size, size)
        shape = tuple(self.normals["x"].shape[1:]) if "x" in self.normals else wanted
        if shape != wanted:
            raise HslError(
                f"this boundary is for x of shape {shape}, but that of {backbone.name} is "
                f"{wanted}: load another backbone, or fit it anew"
            )

    def at(self, t: int | None = None, spaces: Sequence[Space] = ("x", "h")) -> "Boundary":
        """The hyperplanes of one timestep (None: the mixing step) and some spaces alone."""
        i = self.row(t)
        part = {k: v[i : i + 1] for k, v in self.normals.items() if k in spaces}
        new = Boundary(part.get("x"), part.get("h"), [self.timesteps[i]], self.timesteps[i],
                       self.absolute)  # fmt: skip
        for key in part:
            new.biases[key].data.copy_(self.biases[key][i : i + 1])
            new.scales[key].data.copy_(self.scales[key][i : i + 1])
        new.about = dict(self.about)
        return new

    def config(self) -> dict[str, Any]:
        shapes = {k: list(v.shape) for k, v in self.normals.items()}
        return {
            "kind": self.kind,
            "shapes": shapes,
            "timesteps": self.timesteps,
            "t": self.t,
            "absolute": self.absolute,
        }

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        return tuple(self.normals["h"].shape[1:]) if "h" in self.normals else None

    def __add__(self, other: Direction) -> Direction:
        """One step along both: the moves add. (The sum has no hyperplane of its own.)"""
        if not isinstance(other, Boundary) or self.absolute or other.absolute:
            raise HslError("only boundaries add to boundaries, and only by distances")
        if (self.t, set(self.normals)) != (other.t, set(other.normals)):
            raise HslError(f"these boundaries are crossed at t={self.t} and t={other.t}, or in "
                           "other spaces: fit them together")  # fmt: skip
        new, second = self.at(), other.at()
        for space, normal in new.normals.items():
            moves = [part.scales[space] * part.normals[space] for part in (new, second)]
            total = torch.stack(moves).detach().sum(0)
            normal.data.copy_(nn.functional.normalize(total.flatten(), dim=0).view_as(total))
            new.scales[space].data.fill_(float(total.norm()))
            new.biases[space].data.fill_(torch.nan)
        new.about = _made_for(self, other)
        return new

    def __sub__(self, other: Direction) -> Direction:
        return self + (-other)

    def __mul__(self, factor: float) -> Direction:
        new = self.at()
        for scale in new.scales.values():
            scale.data.mul_(factor)
        new.about = _made_for(self)
        return new

    __rmul__ = __mul__

    def without(self, *others: Direction) -> Direction:
        """The conditional boundary: normals at the mixing step with their components along those of
        ``others`` projected away, and normalised anew, so that the others' signed distances stay
        (Shen et al. 2020, InterFaceGAN).

        Raises:
            HslError: nothing is left, or ``others`` are not boundaries, not at that timestep, or of
                another backbone.
        """
        if not all(isinstance(other, Boundary) for other in others):
            raise HslError("a boundary is conditioned on other boundaries only")
        new = self.at()
        new.about = _made_for(self, *others)
        for space, normal in new.normals.items():
            rows = [o.normals[space][o.row(new.t)].flatten() for o in others
                    if isinstance(o, Boundary) and space in o.normals]  # fmt: skip
            if rows:
                residue = _project_out(normal.data.flatten()[None], torch.stack(rows)[None])
                if residue.norm() < 1e-3 * normal.data.norm():
                    raise HslError(f"nothing of this boundary is left in {space}: it is one of the "
                                   "others, or a mixture of them")  # fmt: skip
                normal.data.copy_((residue / residue.norm()).view_as(normal))
                new.biases[space].data.fill_(torch.nan)  # the hyperplane is another one
        return new


def _made_for(*parts: Direction) -> dict[str, Any]:
    """The backbone that all parts were made for, as far as they say.

    Raises:
        HslError: they were made for different ones.
    """
    about: dict[str, Any] = {}
    for key in ("backbone", "backbone_hash", "h_shape", "tap"):
        values = {json.dumps(d.about[key]) for d in parts if key in d.about}
        if len(values) > 1:
            raise HslError(f"cannot combine directions of {' and '.join(sorted(values))}")
        if values:
            about[key] = json.loads(values.pop())
    return about


def build(config: dict[str, Any]) -> Direction:
    """A direction of the shape that ``config`` describes, its tensors still to be loaded.

    Raises:
        ValueError: an unknown kind.
    """
    arguments = {k: v for k, v in config.items() if k != "kind"}
    if config["kind"] == Shift.kind:
        shape = arguments.pop("shape")
        return Shift(torch.zeros(shape), **arguments)
    if config["kind"] == ImplicitFunction.kind:
        return ImplicitFunction(**arguments)
    if config["kind"] == Boundary.kind:
        shapes = arguments.pop("shapes")
        x, h = (torch.zeros(shapes[k]) if k in shapes else None for k in ("x", "h"))
        return Boundary(x, h, **arguments)
    if config["kind"] == Combination.kind:
        parts = [build(c) for c in arguments["directions"]]
        removed = [build(c) for c in arguments["removed"]]
        return Combination(parts, arguments["weights"], removed)
    raise ValueError(f"unknown kind of direction {config['kind']!r}")


def _saved(path: Path) -> Direction:
    """A direction that `Direction.save` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["hsl"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        direction = build(header["direction"])
        direction.load_state_dict(tensors)
        direction.about = dict(header["about"])
    except Exception as error:  # a damaged header raises whatever it happens to ask for
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise HslError(f"{path}: not a direction saved by hsl, or damaged ({reason})") from error
    return direction


def _released(path: Path, function: str = "0") -> "ImplicitFunction":
    """An implicit function from a file of Asyrp's own code.

    Its keys tell the family. Neither its interval nor whether it was trained without the timestep
    stands in the file; its name says in how many steps it was trained (``ngen``), and what for.
    """
    held = checkpoints.read(path)
    state = held.get(function) if isinstance(held, dict) else None
    families = {"conv1.weight": "ddpm", "in_layers.0.weight": "adm"}
    family = None
    if isinstance(state, dict):
        family = next((f for mark, f in families.items() if mark in state), None)
    if state is None or family is None:
        raise HslError(
            f"{path}: neither a direction saved by hsl nor an implicit function of Asyrp"
        )
    try:
        first = state["conv1.weight" if family == "ddpm" else "in_layers.2.weight"]
        temb = state["temb_proj.weight" if family == "ddpm" else "emb_layers.1.weight"]
        direction = ImplicitFunction(first.shape[0], temb.shape[1], family)  # type: ignore[arg-type]
        direction.load_state_dict(state)
    except (LookupError, RuntimeError, AttributeError, HslError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HslError(f"{path}: an implicit function with other tensors ({reason})") from error
    direction.about = {"method": "asyrp", "released": path.name, "tap": "after"}
    if named := _RELEASED_NAME.fullmatch(path.name):
        direction.about |= {"name": named["name"], "steps": int(named["steps"])}
    return direction


def provenance(backbone: Backbone) -> dict[str, Any]:
    """What every saved direction says of its backbone and of the code that made it."""
    return {
        "backbone": backbone.name,
        "backbone_hash": backbone.hash,
        "h_shape": list(backbone.h_shape),
        "tap": backbone.tap,
        "commit": _commit(),
    }


def _project_out(rows: Tensor, spanned: Tensor) -> Tensor:
    """``rows [B, D]`` minus their projections on the span of ``spanned [B, n, D]``."""
    gram = spanned @ spanned.mT
    inner = (spanned @ rows[:, :, None]).double()
    # the pseudo-inverse takes parallel and zero directions, too
    coefficients = (torch.linalg.pinv(gram.double(), hermitian=True) @ inner).to(rows.dtype)
    return rows - (coefficients.mT @ spanned)[:, 0]


def _commit() -> str:
    """The commit of the code, or "unknown" outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
