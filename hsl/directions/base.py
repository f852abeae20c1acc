"""What all directions share; each kind has a module of its own, and is found by its name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hsl.backbones import Backbone, Bottleneck
from hsl.directions import files
from hsl.directions.shipped import Kind, located
from hsl.errors import HslError
from hsl.files.tensors import require_weights
from hsl.names import visible
from hsl.schema import Rule, check, one_of

Space = Literal["h", "x", "eps"]
SPACES: tuple[Space, ...] = ("h", "x", "eps")
#: What a direction's file says in timesteps.
_TIMES = ("steps", "t_edit", "t_start", "t_boost", "t_0")
#: What a line about a direction repeats of its file.
_SAID = ("strength", "t_edit", "t_boost", "backbone")
#: The kinds by name: their modules stand on this one, so it can import none of them.
_KINDS: dict[str, type[Any]] = {}


class Direction(nn.Module):
    """A direction of change in one space: h (the bottleneck), x (the latent) or eps.

    ``about`` holds what a file says of it: backbone name and hash, method, grid, t_edit,
    t_boost, strength, metrics, commit.
    """

    kind: ClassVar[str]
    #: What `config` holds besides the kind.
    rules: ClassVar[dict[str, Rule]]
    #: Beginnings of the names of tensors that may be NaN: not defined.
    undefined: ClassVar[tuple[str, ...]] = ()
    #: Added once, at one step, not at every step: what other directions cannot be combined with.
    crossed: ClassVar[bool] = False
    #: Which of the shipped ones a name is of.
    shipped_as: ClassVar[Kind] = "directions"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "kind" in vars(cls):
            _KINDS[cls.kind] = cls

    def __init__(self, space: Space = "h") -> None:
        super().__init__()
        if space not in SPACES:
            raise HslError(f"space {space!r}: want one of {', '.join(SPACES)}")
        self.space: Space = space
        self.about: dict[str, Any] = {}

    def __repr__(self) -> str:
        """One line: the kind, its name, what it is made of, and how its file says to use it."""
        name = [visible(str(self.about["name"]))] if self.about.get("name") else []
        use = [f"{key} {visible(str(self.about[key]))}" for key in _SAID
               if self.about.get(key) is not None]  # fmt: skip
        return f"{type(self).__name__}({', '.join([*name, self.outline(), *use])})"

    def outline(self) -> str:
        """What it is made of, in a few words."""
        return f"in {self.space}"

    def called(self) -> str:
        """Its name, else its kind: as a part of another."""
        return visible(str(self.about.get("name") or type(self).__name__))

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        """The change at timestep ``t``, shaped like ``b.h``, ``x`` or eps, or broadcastable."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The arguments that build this direction anew, as JSON."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, **arguments: Any) -> "Direction":
        """A direction of the shape that its `config` describes, its tensors still to be loaded."""
        return cls(**arguments)

    def check(self, backbone: Backbone) -> None:
        """Refuse a backbone that this direction was not made for.

        Raises:
            HslError: another tap, shape of h or width of temb, fewer timesteps, or other weights
                than those it was fitted on.
        """
        tap = self.about.get("tap", backbone.tap)
        if self.h_shape is not None and tap != backbone.tap:
            raise HslError(
                f"this direction is for the h {tap} the middle block, not {backbone.tap} it: load "
                f"{backbone.name} with that tap"
            )
        made_for = self.about.get("backbone_hash")
        if made_for is not None and made_for != backbone.hash:
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
        total = len(backbone.schedule)
        for name in _TIMES:
            if (value := self.about.get(name) or 0) > total:
                raise HslError(f"this direction's {name} is {value}, but {backbone.name} has "
                               f"{total} timesteps: load another backbone, or fit it anew"
                               )  # fmt: skip
        for part in self.modules():
            if isinstance(part, Direction):
                part.check_part(backbone)

    def check_part(self, backbone: Backbone) -> None:
        """What `check` asks of this kind of direction besides, also where it is part of another."""

    def require_sound(self) -> None:
        """Refuse, of what a file holds, values that this kind of direction cannot have.

        Raises:
            ValueError: it has some.
        """

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        """What this direction needs h to be: ``(K, s, s)``, or ``(K,)`` if any size will do; None
        if it leaves h alone."""
        raise NotImplementedError

    def __add__(self, other: "Direction") -> "Direction":
        return _combination([self, other], [1.0, 1.0])

    def __sub__(self, other: "Direction") -> "Direction":
        return _combination([self, other], [1.0, -1.0])

    def __mul__(self, factor: float) -> "Direction":
        return _combination([self], [float(factor)])

    __rmul__ = __mul__

    def __neg__(self) -> "Direction":
        return self * -1.0

    def without(self, *others: "Direction") -> "Direction":
        """This direction with its components along ``others`` projected away, jointly.

        Of `Shift` directions on the same timesteps the projection is over all steps at once
        (Haas et al. 2024, eq. 12); of others it is taken per image and per step, where their
        change is known.
        """
        return _combination([self], [1.0], removed=others)

    def save(self, path: str | Path, **about: Any) -> Path:
        """Write one safetensors file; nothing is left behind if it fails.

        Args:
            path: file to write; its folder is made.
            about: JSON values to add to ``self.about``, e.g. ``method="asyrp"``.
        """
        self.about |= about
        return files.write(Path(path), self.state_dict(), self.config(), self.about)

    @classmethod
    def load(cls, path: str | Path, backbone: Backbone | None = None) -> "Direction":
        """Read a direction; given a backbone, refuse one that it was not made for.

        Args:
            path: a file that `save` wrote; one of the implicit functions that Asyrp's authors
                released (``.pth``; of its several functions, the first); or the name of a
                direction that is shipped for the bundled backbone (`shipped`), of `Boundary` that
                of a boundary.
            backbone: what it shall be used with.

        Raises:
            HslError: a missing or damaged file, or a direction for another backbone.
        """
        path = located(path, cls.shipped_as)
        direction = files.read(path, _sound)
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
        raise HslError(f"{path}: only implicit functions of 32 groups have Asyrp's layout, "
                       f"not a {self.kind}; save it instead")  # fmt: skip


def build(config: dict[str, Any]) -> Direction:
    """A direction of the shape that ``config`` describes, its tensors still to be loaded.

    Raises:
        ValueError: an unknown kind, or not what its `config` would be.
    """
    check(config, {"kind": one_of(*_KINDS)}, ["kind"])
    kind = _KINDS[config["kind"]]
    arguments = {k: v for k, v in config.items() if k != "kind"}
    return kind.from_config(**check(arguments, kind.rules, others=False))


def require_fit(config: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not those of the direction that ``config`` describes; before any
    memory is asked for, since a few characters can describe a direction of any size.

    Raises:
        ValueError: other names or shapes, no floats, or values that are not finite.
    """
    with torch.device("meta"):
        direction = build(config)
    expected = {name: list(tensor.shape) for name, tensor in direction.state_dict().items()}
    actual = {name: list(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            raise ValueError(f"{name} has shape {actual.get(name)}, not {expected.get(name)}")
    require_weights({k: v for k, v in tensors.items() if not k.startswith(direction.undefined)})


def filled(
    config: dict[str, Any], tensors: Mapping[str, Tensor], about: dict[str, Any] | None = None
) -> Direction:
    """The direction that ``config`` describes, with its tensors.

    Raises:
        ValueError: they do not fit.
    """
    require_fit(config, tensors)
    direction = build(config)
    direction.load_state_dict(tensors)
    direction.about = dict(about or {})
    return direction


def _sound(
    config: dict[str, Any], tensors: Mapping[str, Tensor], about: dict[str, Any]
) -> Direction:
    """What `filled` makes, if its values are such as its kind has."""
    direction = filled(config, tensors, about)
    direction.require_sound()
    return direction


def _combination(
    directions: Sequence[Direction], weights: Sequence[float], removed: Sequence[Direction] = ()
) -> Direction:
    """A `Combination`."""
    return _KINDS["combination"](directions, weights, removed)
