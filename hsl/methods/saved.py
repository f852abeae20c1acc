"""Saved directions as a method that has nothing left to fit, so that they are measured as any."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from torch import Tensor

from hsl.backbones import Tap
from hsl.callbacks import Evaluate, Grids, Sampled
from hsl.directions import Boundary, Direction
from hsl.directions.shipped import short
from hsl.errors import HslError
from hsl.methods.base import Method, MethodOptions
from hsl.process import Edit, grid_for
from hsl.types import Batch


class Saved(Method):
    """Edits along saved directions as their files say: interval, injection, and strength unless
    others are given. ``test`` measures them; there is nothing to fit.

    Args:
        directions: files, names of shipped directions, or directions; one or several. Of
            boundaries, which are crossed at their mixing step, all must have the same.
        boundaries: whether names are those of shipped boundaries.
        strengths: by name, in place of those in the files.
        steps: n of the reverse process. Directions that were trained in others are added in
            proportion less or more.
        t_edit: in place of the files'.
        t_boost: in place of the files'.
        options: those of every method: see `Method`. The tap is the directions'.

    Raises:
        HslError: no such direction, several of one name, or of several taps or mixing steps; or
            they are for another backbone.
    """

    surroundings = (Sampled, Evaluate, Grids)

    def __init__(
        self,
        directions: str | Path | Direction | Sequence[str | Path | Direction],
        *,
        boundaries: bool = False,
        strengths: dict[str, float] | None = None,
        steps: int = 40,
        t_edit: int | None = None,
        t_boost: int | None = None,
        **options: Unpack[MethodOptions],
    ) -> None:
        kind = Boundary if boundaries else Direction
        if isinstance(directions, str | Path | Direction):
            directions = [directions]
        pairs = [
            (str(source.about.get("name", "direction")), source)
            if isinstance(source, Direction)
            else (short(source), kind.load(source))
            for source in directions
        ]
        if not pairs or len({name for name, _ in pairs}) < len(pairs):
            raise HslError(f"directions: want one or several, with different names, not "
                           f"{[name for name, _ in pairs]}")  # fmt: skip
        options.setdefault("tap", _the_same([d.about.get("tap", "after") for _, d in pairs]))
        super().__init__(steps=steps, t_edit=t_edit, t_boost=t_boost, **options)
        for name, direction in pairs:
            direction.check(self.backbone)
            self.directions[name] = direction.requires_grad_(False)
            self.strengths[name] = float(direction.about.get("strength", 1.0))
        if unknown := set(strengths or {}) - set(self.strengths):
            raise HslError(f"strengths: no direction {min(unknown)!r} among {[*self.strengths]}")
        self.strengths |= strengths or {}
        self.attribute = pairs[0][0] if len(pairs) == 1 else None
        self.grid = self._steps(steps)

    def _steps(self, steps: int) -> list[int]:
        """The timesteps to walk; of boundaries those up to their mixing step."""
        edits = [self.edit(name) for name in self.directions]
        crossed = {edit.t_edit for edit in edits if isinstance(edit.direction, Boundary)}
        if not crossed:
            return self.grid
        t = crossed.pop()
        if crossed or not all(isinstance(edit.direction, Boundary) for edit in edits):
            raise HslError("directions: boundaries of several mixing steps, or beside others: "
                           "measure them one by one")  # fmt: skip
        if t in self.grid:
            return [step for step in self.grid if step <= t]
        return grid_for(self.backbone.schedule, edits[0], steps, sampled=False)

    def edit(self, name: str, strength: float | Tensor | None = None) -> Edit:
        """The edit along direction ``name``, as its file says.

        Raises:
            HslError: no such direction, or one that does not say t_edit.
        """
        direction = self.direction(name)
        strength = self.strengths[name] if strength is None else strength
        if isinstance(direction, Boundary):
            return Edit.of(direction, strength, t_boost=self.t_boost)
        return Edit.of(direction, strength, len(self.grid), self.t_edit, self.t_boost)

    def texts_of(self, name: str) -> tuple[str, str] | None:
        """The texts that direction ``name`` was trained between, if its file says so."""
        texts = self.direction(name).about.get("texts")
        return None if texts is None else (texts[0], texts[1])

    def about(self, name: str) -> dict[str, Any]:
        """What the file of direction ``name`` says, at the strength that is used."""
        edit = self.edit(name)
        return self.direction(name).about | {
            "strength": self.strengths[name],
            "t_edit": edit.t_edit,
            "t_boost": edit.t_boost,
        }

    def configure_optimizers(self) -> None:
        """There is nothing to optimise."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """There is nothing to train.

        Raises:
            HslError: always.
        """
        raise HslError("saved directions are fitted already: test them, or fit another method")


def _the_same(taps: Sequence[Tap]) -> Tap:
    """The one tap of several directions."""
    if len(set(taps)) > 1:
        raise HslError(f"directions: for several taps ({', '.join(sorted(set(taps)))})")
    return taps[0]
