"""An edit: a direction, where along the process it acts, and how it is put in."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hsl.backbones import Bottleneck
from hsl.directions import Boundary, Direction
from hsl.errors import HslError
from hsl.types import INJECTIONS as INJECTIONS
from hsl.types import Injection as Injection

#: Those whose strength is a share of what takes the place of h, not a factor of what is added to
#: it: the number of steps leaves it alone.
SHARES: tuple[Injection, ...] = ("replaced", "slerp")


@dataclass(frozen=True)
class Edit:
    """A direction and how it is put to work.

    Args:
        direction: what is added.
        strength: its factor: a number, or one per image ``[B]``.
        t_edit: steps with t >= t_edit are edited ...
        t_boost: ... and steps with t < t_boost are stochastic (eta = 1): quality boosting.
        t_start: steps with t > t_start are not edited; None: all from T are.
        injection: ``asymmetric`` (Asyrp): into P_t alone, D_t keeps the unedited eps;
            ``symmetric`` (Haas et al.): into both; ``replaced``: the direction's tensor takes
            the place of h (a strength s blends (1 - s) h + s delta), in both. ``slerp`` (content
            injection: DiffStyle, InjectFusion): h turns towards the direction's tensor by the
            share s of the angle between them and keeps its length (`slerp`), into P_t alone; its
            authors' gamma is 1 - s, and gamma = 1 changes nothing. Asyrp's released code does
            this with every explicit delta h instead of adding it: so the directions that it
            learns as tensors do not change, and its mean delta h has no effect; the paper's way
            is `asymmetric`. A direction in x moves x_t itself, and so both; so does a `Boundary`,
            at its mixing step alone.
        h_factor: of the unedited h, to which ``asymmetric`` and ``symmetric`` add.
        mask: boolean ``[s, s]``, where h is edited; None: everywhere. Of ``slerp`` the angle and
            lengths are then those within it.
        rescale: of ``slerp``, whether the direction's tensor is brought to the length of h first;
            Asyrp's released code leaves that out where it has a mask.
        dt_lambda: D_t times this, at all steps with t >= ``dt_end``, edited or not. Released
            defaults: 1, and of DiffStyle 0.9985. (Asyrp's own code leaves ``dt_end`` at 999.)
        dt_end: see ``dt_lambda``.

    Raises:
        HslError: thresholds out of order, an unknown injection, or one that is of h alone with
            another space.
    """

    direction: Direction
    strength: float | Tensor = 1.0
    t_edit: int = 0
    t_boost: int = 0
    t_start: int | None = None
    injection: Injection = "asymmetric"
    h_factor: float = 1.0
    mask: Tensor | None = None
    rescale: bool = True
    dt_lambda: float = 1.0
    dt_end: int = 999

    def __post_init__(self) -> None:
        if self.injection not in INJECTIONS:
            raise HslError(f"injection {self.injection!r}: want one of {', '.join(INJECTIONS)}")
        if self.direction.space != "h":
            if self.injection in ("replaced", "slerp"):
                raise HslError(f"only h can be {self.injection}, not {self.direction.space}")
            if self.h_factor != 1 or self.mask is not None:
                raise HslError(f"h_factor and mask are of h, not of {self.direction.space}")
        if self.h_factor != 1 and self.injection in ("replaced", "slerp"):
            raise HslError(f"h_factor goes with what is added to h; {self.injection} adds nothing")
        if self.t_edit < 0 or self.t_boost < 0:
            raise HslError(f"t_edit={self.t_edit}, t_boost={self.t_boost}: want 0 or more")
        if self.t_start is not None and self.t_start < self.t_edit:
            raise HslError(f"t_start={self.t_start} is below t_edit={self.t_edit}: nothing to edit")

    def __repr__(self) -> str:
        """One line: what is put in, how much, how and where."""
        s = torch.as_tensor(self.strength).double()
        much = f"{s.min():g}"
        if s.numel() > 1:
            much += f" to {s.max():g} of {len(s)} images"
        at = [f"t = {self.t_edit} {'and above' if self.t_start is None else f'to {self.t_start}'}"]
        if self.t_boost:
            at.append(f"boosting below t = {self.t_boost}")
        if self.mask is not None:
            at.append("masked")
        for name, usual in (("h_factor", 1), ("rescale", True), ("dt_lambda", 1)):
            if (value := getattr(self, name)) != usual:
                at.append(f"{name} {value}")
        return f"Edit({self.direction!r}, strength {much}, {self.injection}, {', '.join(at)})"

    @classmethod
    def of(
        cls,
        direction: Direction,
        strength: float | Tensor | None = None,
        steps: int | None = None,
        t_edit: int | None = None,
        t_boost: int | None = None,
    ) -> "Edit":
        """The edit that a saved direction was made for: injection and, unless given, strength and
        interval are those in its file. Taken in another number of ``steps`` than it was trained
        with, each step adds in proportion less or more (Kwon et al., released code); not where
        the strength is a share or a distance.

        Raises:
            HslError: the direction does not say t_edit.
        """
        about = direction.about
        t_edit = about.get("t_edit") if t_edit is None else t_edit
        if t_edit is None:
            raise HslError("this direction does not say t_edit: give it")
        strength = about.get("strength", 1.0) if strength is None else strength
        injection = about.get("injection", "asymmetric")
        added = injection not in SHARES and not isinstance(direction, Boundary)
        return cls(
            direction,
            strength * (about["steps"] / steps if steps and about.get("steps") and added else 1.0),
            t_edit,
            (about.get("t_boost") or 0) if t_boost is None else t_boost,
            about.get("t_start"),
            injection,
        )

    def acts(self, t: int) -> bool:
        """Whether step ``t`` is edited: t_edit <= t <= t_start; by a boundary, its mixing step."""
        inside = t >= self.t_edit and (self.t_start is None or t <= self.t_start)
        if inside and isinstance(self.direction, Boundary):
            return t == self.direction.timesteps[self.direction.row()]
        return inside

    def change(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        """Strength times the direction, s delta, ``[B, ...]``."""
        return self._factor(x) * self.direction(b, x, t)

    def h(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        """The edited h ``[B, K, s, s]`` of a direction in h, with strength s: ``asymmetric`` and
        ``symmetric``: h_factor h + s delta; ``replaced``: (1 - s) h + s delta; ``slerp``: `slerp`
        with the share s. Outside the mask it is h."""
        if self.injection == "slerp":
            inside = 1.0 if self.mask is None else self.mask.to(b.h)
            aim = self.direction(b, x, t) * inside
            turned = slerp(b.h * inside, aim, self._factor(x), self.rescale)
            return turned + b.h * (1 - inside)
        change = self.change(b, x, t)
        if self.injection == "replaced":
            change = change - self._factor(x) * b.h
        h = self.h_factor * b.h + change
        return h if self.mask is None else torch.where(self.mask.to(x.device), h, b.h)

    def _factor(self, like: Tensor) -> Tensor:
        """The strength as ``[B, 1, 1, 1]`` or ``[1, 1, 1, 1]``."""
        strength = torch.as_tensor(self.strength, dtype=like.dtype, device=like.device)
        return strength.reshape(-1, 1, 1, 1)


def slerp(h: Tensor, towards: Tensor, share: Tensor, rescale: bool = True) -> Tensor:
    """``h [B, K, s, s]`` turned towards the direction of another tensor at its own length.

    sin((1 - u) theta) / sin(theta) h + sin(u theta) / sin(theta) towards |h| / |towards|, with
    theta the angle between the two and norms over all of K, s, s (Jeong et al. 2024,
    "Training-free Content Injection using h-space in Diffusion Models"). Theta is
    kept from 0 and pi, where the released code divides by zero.

    Args:
        h: of each image.
        towards: ``[B, K, s, s]`` or ``[1, K, s, s]``.
        share: u, ``[B, 1, 1, 1]`` or ``[1, 1, 1, 1]``; 0 gives ``h``, 1 the other at its length.
        rescale: else the other is taken as long as it is.
    """
    towards = towards.expand_as(h)
    norm, other = (v.flatten(1).norm(dim=1)[:, None, None, None] for v in (h, towards))
    aim = towards * (norm / other) if rescale else towards
    cosine = (h * towards).flatten(1).sum(1)[:, None, None, None] / (norm * other)
    theta = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    return (((1 - share) * theta).sin() * h + (share * theta).sin() * aim) / theta.sin()
