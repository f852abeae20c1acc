"""One edit of several directions, and the timesteps that it walks."""

import functools
import operator
from collections.abc import Sequence
from dataclasses import replace

from hsl.directions import Boundary, Combination, Direction
from hsl.errors import HslError
from hsl.process import SHARES, Edit, Injection

Parts = Sequence[tuple[Direction, float]]


def coefficients(directions: Sequence[Direction], steps: int, scaled: bool = False) -> list[float]:
    """What the strength of each direction is multiplied by in ``steps`` steps: n_train / n_test,
    as in Asyrp's released code (trained in another number of steps, each adds in proportion less
    or more; 1 where its file does not say n_train), and, if ``scaled``, 1 / sqrt(K), as there."""
    share = len(directions) ** -0.5 if scaled else 1.0
    return [share * float(d.about.get("steps") or steps) / steps for d in directions]


def join(
    parts: Parts,
    steps: int,
    t_edit: int | None,
    t_boost: int | None,
    scaled: bool = False,
    injection: Injection | None = None,
) -> Edit:
    """One edit of several directions with strengths, which add, taken in ``steps`` steps, each by
    its `coefficients`.

    t_edit and t_boost, where not given, are those of the direction with the largest t_edit (the
    one with the largest text cosine, as in Asyrp's released code). Boundaries are crossed together
    at their mixing step. One direction that is ``replaced`` or ``slerp`` is put in by its strength
    as a share, which the number of steps leaves alone.

    Raises:
        HslError: t_edit is neither given nor in the files, they are injected in several ways, or in
            one that takes a single direction; or boundaries come with other directions or shall be
            scaled or injected in a way.
    """
    if any(isinstance(d, Boundary) for d, _ in parts):
        if scaled:
            raise HslError("--scaled goes with --direction: boundaries have distances of their own")
        return _crossing(parts, t_edit, t_boost, injection)
    directions = [direction for direction, _ in parts]
    ways = {injection or d.about.get("injection", "asymmetric") for d in directions}
    if len(ways) > 1:
        raise HslError(f"these directions are injected in several ways ({', '.join(sorted(ways))})")
    way = ways.pop()
    if way in SHARES and len(parts) > 1:
        raise HslError(f"{way}: takes the place of h, and so one direction alone")
    units = coefficients(directions, steps, scaled)
    total: Direction = Combination(
        directions, [u * s for u, (_, s) in zip(units, parts, strict=True)]
    )
    strength = 1.0
    if way in SHARES:
        total, strength = parts[0]
    stating = [d for d in directions if d.about.get("t_edit") is not None]
    if stating:
        longest = max(stating, key=lambda d: int(d.about["t_edit"])).about
    elif t_edit is not None:
        longest = {}
    else:
        raise HslError("the directions' files do not say t_edit: give --t-edit")
    t_edit = int(longest["t_edit"]) if t_edit is None else t_edit
    t_boost = int(longest.get("t_boost") or 0) if t_boost is None else t_boost
    t_start = longest.get("t_start")
    t_start = None if t_start is None or t_start < t_edit else t_start
    return Edit(total, strength, t_edit, t_boost, t_start, way)


def _crossing(
    parts: Parts, t_edit: int | None, t_boost: int | None, injection: Injection | None
) -> Edit:
    """The edit that crosses several boundaries at their mixing step."""
    refused = " and ".join(
        option
        for option, value in (("--t-edit", t_edit), ("--injection", injection))
        if value is not None
    )
    if refused or not all(isinstance(d, Boundary) for d, _ in parts):
        raise HslError("boundaries are crossed at their mixing step: without "
                       f"{refused or 'directions of other kinds'}")  # fmt: skip
    total = functools.reduce(operator.add, (d * s for d, s in parts))
    t = total.t if isinstance(total, Boundary) else None
    if t is None:
        raise HslError("these boundaries have no mixing step: fit them with --mixing, or give t")
    return Edit(total, 1.0, t, t_boost or 0, t, "symmetric")


def overridden(edit: Edit, **values: object) -> Edit:
    """``edit`` with the fields that have a value other than None.

    Raises:
        HslError: what `Edit` refuses.
    """
    return replace(edit, **{k: v for k, v in values.items() if v is not None})  # type: ignore[arg-type]
