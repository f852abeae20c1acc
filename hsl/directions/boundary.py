"""Directions that are hyperplanes."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn

from hsl.backbones import Backbone, Bottleneck
from hsl.directions.algebra import made_for, project_out, require_steps
from hsl.directions.base import Direction, Space
from hsl.directions.shipped import Kind
from hsl.errors import HslError
from hsl.schema import Rule, flag, grid, listed, one_of, optional, table, timestep, whole

HOf = Literal["unmoved", "moved"]
#: How far from 1 the length of a unit normal may be that was stored in half precision.
_UNIT = 1e-2


@final
class Boundary(Direction):
    """Semantic boundaries of one attribute: hyperplanes in x_t and in h at one or more timesteps.

    At the mixing step ``t`` an edit moves x_t along its normal, and the h of the unmoved x_t along
    its own; once, not at every step (Zhu et al. 2023). So an `Edit` with it acts at one step alone.
    The signed distance of v to a hyperplane is <v, normal> + bias. In each space an edit changes it
    by what the strength asks for, and leaves the distances to hyperplanes that were taken out by
    `without` as they are.

    Args:
        x: unit normals ``[n, C, s, s]`` in x_t, or None.
        h: unit normals ``[n, K, s, s]`` in h, or None.
        timesteps: the n timesteps, ascending.
        t: the mixing step, one of them; None: not chosen yet.
        absolute: a strength is the coordinate <v, normal> to arrive at, as in the released code,
            instead of a distance to go.
        h_of: the h that is moved: that of the ``unmoved`` x_t, or that of the ``moved`` one. The
            move in x has changed the latter already: so h goes further than asked, and distances
            that `without` keeps in x are not kept in h. Without a hyperplane in h or in x the two
            are the same.

    Raises:
        HslError: tensors of other shapes, no hyperplane at ``t``, or another ``h_of``.
    """

    kind = "boundary"
    shipped_as: ClassVar[Kind] = "boundaries"
    rules: ClassVar[dict[str, Rule]] = {
        "shapes": table(listed(whole(1), (4,))),
        "timesteps": grid,
        "t": optional(timestep),
        "absolute": flag(),
        "h_of": one_of(*get_args(HOf)),
    }
    undefined = ("biases.",)
    crossed = True

    def __init__(
        self,
        x: Tensor | None,
        h: Tensor | None,
        timesteps: Sequence[int],
        t: int | None = None,
        absolute: bool = False,
        h_of: HOf = "unmoved",
    ) -> None:
        super().__init__("h" if x is None else "x")
        tensors = {k: v for k, v in (("x", x), ("h", h)) if v is not None}
        self.timesteps = [int(step) for step in timesteps]
        n = len(self.timesteps)
        if not tensors or any(v.ndim != 4 or len(v) != n for v in tensors.values()):
            raise HslError("Boundary: want [n, C, s, s] in x, h or both, with n timesteps")
        if t is not None and t not in self.timesteps:
            raise HslError(f"Boundary: no hyperplane at t={t}; there are {self.timesteps}")
        if h_of not in get_args(HOf):
            raise HslError(f"Boundary: h_of {h_of!r}: want one of {', '.join(get_args(HOf))}")
        self.t, self.absolute, self.h_of = t, absolute, h_of
        self.normals = nn.ParameterDict({k: v.detach().clone() for k, v in tensors.items()})
        #: of each space and timestep: the bias, and what a strength of 1 moves by.
        self.biases = nn.ParameterDict({k: torch.zeros(len(v)) for k, v in tensors.items()})
        self.scales = nn.ParameterDict({k: torch.ones(len(v)) for k, v in tensors.items()})

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
        along = _along(v, self.normals[space][i]) + self.biases[space][i].to(v.device)
        return along.to(v.dtype)

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
            way = way - _along(v, normal).to(v.dtype)
        return v + way[:, None, None, None] * normal

    def cross(
        self, backbone: Backbone, x: Tensor, b: Bottleneck, t: int, strength: float | Tensor
    ) -> tuple[Tensor, Bottleneck, Bottleneck]:
        """x_t ``[B, C, s, s]`` and ``b = backbone.encode(x, t)`` on the other side: the moved x_t,
        and its bottleneck before and after the move of h."""
        moves_x, moves_h = "x" in self.normals, "h" in self.normals
        moved = self.move(x, "x", strength)
        behind = backbone.encode(moved, t) if moves_x else b
        if moves_h and self.h_of == "unmoved":
            behind = behind._replace(h=b.h)
        return moved, behind, behind._replace(h=self.move(behind.h, "h", strength))

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        """What a strength of 1 adds, at the mixing step, to x_t, or to h if that is all it moves.
        (`hsl.process.reverse` moves both, by `cross`.)"""
        v = x if self.space == "x" else b.h
        return self.move(v, self.space, 1.0) - v

    def check(self, backbone: Backbone) -> None:
        super().check(backbone)
        x_shape = backbone.x_shape
        shape = tuple(self.normals["x"].shape[1:]) if "x" in self.normals else x_shape
        if shape != x_shape:
            raise HslError(
                f"this boundary is for x of shape {shape}, but that of {backbone.name} is "
                f"{x_shape}: load another backbone, or fit it anew"
            )
        require_steps(self.timesteps, backbone)

    def require_sound(self) -> None:
        for space, normals in self.normals.items():
            lengths = normals.double().flatten(1).norm(dim=1)
            if not bool(((lengths - 1).abs() < _UNIT).all()):
                raise ValueError(f"normals.{space} are not of length 1")
            if bool(self.biases[space].isinf().any()):
                raise ValueError(f"biases.{space} has infinite values")

    def at(self, t: int | None = None, spaces: Sequence[Space] = ("x", "h")) -> "Boundary":
        """The hyperplanes of one timestep (None: the mixing step) and some spaces alone."""
        i = self.row(t)
        part = {k: v[i : i + 1] for k, v in self.normals.items() if k in spaces}
        new = Boundary(part.get("x"), part.get("h"), [self.timesteps[i]], self.timesteps[i],
                       self.absolute, self.h_of)  # fmt: skip
        for key in part:
            new.biases[key].data.copy_(self.biases[key][i : i + 1])
            new.scales[key].data.copy_(self.scales[key][i : i + 1])
        new.about = dict(self.about)
        return new

    def outline(self) -> str:
        spaces, n = " and ".join(s for s in ("x", "h") if s in self.normals), len(self.timesteps)
        where = "with no mixing step yet" if self.t is None else f"crossed at t = {self.t}"
        return f"{spaces} at {n} timestep{'s' * (n != 1)}, {where}"

    def config(self) -> dict[str, Any]:
        shapes = {k: list(v.shape) for k, v in self.normals.items()}
        return {
            "kind": self.kind,
            "shapes": shapes,
            "timesteps": self.timesteps,
            "t": self.t,
            "absolute": self.absolute,
            "h_of": self.h_of,
        }

    @classmethod
    def from_config(cls, **arguments: Any) -> "Boundary":
        shapes = arguments.pop("shapes")
        x, h = (torch.zeros(shapes[k]) if k in shapes else None for k in ("x", "h"))
        return cls(x, h, **arguments)

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
        if self.h_of != other.h_of:
            raise HslError("one of these boundaries moves the h of the moved x, the other does not")
        new, second = self.at(), other.at()
        for space, normal in new.normals.items():
            moves = [part.scales[space] * part.normals[space] for part in (new, second)]
            total = torch.stack(moves).detach().sum(0)
            normal.data.copy_(nn.functional.normalize(total.flatten(), dim=0).view_as(total))
            new.scales[space].data.fill_(float(total.norm()))
            new.biases[space].data.fill_(torch.nan)
        new.about = made_for(self, other)
        return new

    def __sub__(self, other: Direction) -> Direction:
        return self + (-other)

    def __mul__(self, factor: float) -> Direction:
        new = self.at()
        for scale in new.scales.values():
            scale.data.mul_(factor)
        new.about = made_for(self)
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
        new.about = made_for(self, *others)
        for space, normal in new.normals.items():
            rows = [o.normals[space][o.row(new.t)].flatten() for o in others
                    if isinstance(o, Boundary) and space in o.normals]  # fmt: skip
            if rows:
                residue = project_out(normal.data.flatten()[None], torch.stack(rows)[None])
                if residue.norm() < 1e-3 * normal.data.norm():
                    raise HslError(f"nothing of this boundary is left in {space}: it is one of the "
                                   "others, or a mixture of them")  # fmt: skip
                normal.data.copy_((residue / residue.norm()).view_as(normal))
                new.biases[space].data.fill_(torch.nan)  # the hyperplane is another one
        return new


def _along(v: Tensor, normal: Tensor) -> Tensor:
    """<v, normal> of ``v [B, ...]``, ``[B]``: summed in float64, since in float32 the rounding of
    some thousand products shows in distances of some hundred."""
    precise = torch.float32 if v.device.type == "mps" else torch.float64  # which Metal lacks
    return v.flatten(1).to(precise) @ normal.to(v.device).flatten().to(precise)
