"""What the options come to: the backbone, the edit and its timesteps."""

import argparse
import math
import sys
from typing import Any, NamedTuple

from torch import Tensor

from hsl.backbones import Backbone
from hsl.data.images import load_images
from hsl.directions import Boundary
from hsl.directions.shipped import Kind, short
from hsl.edit import interval, released, sweep, texts
from hsl.edit.explicit import h_along
from hsl.edit.joining import coefficients, join, overridden
from hsl.edit.parts import Part, find_direction, load_for, move, part
from hsl.edit.texts import Axis
from hsl.errors import HslError
from hsl.files import require_file
from hsl.names import visible
from hsl.process import SHARES, Edit, grid_for
from hsl.tables import print_table

#: DiffStyle's and InjectFusion's presets for images like those of the training.
CONTENT = {"t_edit": 400, "t_boost": 200, "dt_lambda": 0.9985, "dt_end": 950}
#: As in the example of their authors, whose code's default is 0.9.
GAMMA = 0.7
#: A warning is printed of so many times more or fewer steps than in training: they weaken or
#: exaggerate an edit beyond recognition.
_FAR = 2.0


class Plan(NamedTuple):
    """What a command line comes to.

    ``edit`` is that of one strength (of a single direction on an axis: 1); ``units`` are the parts'
    `coefficients`; ``inversion`` and ``grid`` ascend to the same timestep; ``content``, the image
    whose h is injected, is ``[1, 3, S, S]``; ``kept`` are the names of what ``--keep`` leaves as it
    is; ``as_released`` says that it is done as `hsl.edit.released` does it.
    """

    backbone: Backbone
    edit: Edit
    parts: list[Part]
    units: list[float]
    axes: list[Axis]
    inversion: list[int]
    grid: list[int]
    content: Tensor | None
    kept: list[str]
    as_released: bool = False


def planned(options: argparse.Namespace) -> Plan:
    """Load what the options name, and check that it goes together.

    Raises:
        HslError: it does not.
    """
    if not 0 <= options.eta <= 1:
        raise HslError(f"--eta {options.eta}: want 0 to 1")
    if options.dt_lambda is not None and not 0 < options.dt_lambda < math.inf:
        raise HslError(f"--dt-lambda {options.dt_lambda}: want a positive number")
    axes = [texts.axis(text) for text in options.interpolate or []]
    kind: Kind = "boundaries" if options.boundary else "directions"
    kept = [find_direction(name, kind) for name in options.keep or []]
    parts = [part(text, kind, kept) for text in options.boundary or options.direction or []]
    sweep.check(axes, parts)
    if axes and len(parts) == 1:  # an axis says its strengths
        parts = [parts[0]._replace(strength=1.0)]
    backbone = load_for(options.backbone, [(p.direction, p.strength) for p in parts])
    move(backbone, options.device, options.speed or ())
    content = None
    if options.content:
        edit, content = _of_content(options, backbone, axes)
    else:
        edit = _of(options, backbone, parts)
    kept_names = [short(name) for name in options.keep or []]
    return walked(
        Plan(backbone, edit, parts, [], axes, [], [], content, kept_names, options.as_released),
        options.steps, options.invert_steps, bool(options.seeds), options.scaled,
    )  # fmt: skip


def walked(
    plan: Plan, steps: int, invert_steps: int | None, sampled: bool, scaled: bool = False
) -> Plan:
    """A plan with the timesteps that it walks, and its parts' coefficients in so many steps.

    Args:
        plan: without them.
        steps: of the reverse process.
        invert_steps: of the inversion; None: as many.
        sampled: whether images are sampled from noise, rather than inverted.
        scaled: see `coefficients`.

    Raises:
        HslError: too many or too few steps, or none of them is edited.
    """
    edit, schedule = plan.edit, plan.backbone.schedule
    if plan.as_released:
        released.require_crossing(plan.parts, bool(plan.axes), sampled)
        grid = released.grid(edit.t_edit, steps, "--steps")
        inversion = released.grid(edit.t_edit, invert_steps or steps, "--invert-steps")
        return plan._replace(inversion=inversion, grid=grid, units=[1.0])
    grid = grid_for(schedule, edit, steps, sampled)
    if not any(edit.acts(t) for t in grid):
        span = f"t_edit={edit.t_edit}"
        span += "" if edit.t_start is None else f", t_start={edit.t_start}"
        raise HslError(f"{span}: no step is edited; they begin at t={grid[-1]}")
    inversion = grid
    if invert_steps is not None:
        inversion = grid_for(schedule, edit, invert_steps, sampled, "--invert-steps")
    units = coefficients([p.direction for p in plan.parts], steps, scaled)
    return plan._replace(inversion=inversion, grid=grid, units=units)


def _of(options: argparse.Namespace, backbone: Backbone, parts: list[Part]) -> Edit:
    """The edit of directions or boundaries."""
    t_edit, t_boost = options.t_edit, options.t_boost
    if options.profile:
        t_edit, t_boost = _measured(options, backbone, parts)
    pairs = [(p.direction, p.strength) for p in parts]
    edit = join(pairs, options.steps, t_edit, t_boost, options.scaled, options.injection)
    return _overridden(edit, options, backbone)


def _measured(
    options: argparse.Namespace, backbone: Backbone, parts: list[Part]
) -> tuple[int, int]:
    """t_edit and t_boost from a profile, where not given: of several directions those of the one
    with the largest text cosine, as in Asyrp's released code."""
    if options.t_edit is not None and options.t_boost is not None:
        raise HslError("--t-edit and --t-boost leave nothing to --profile: leave one out")
    cosines = [float(p.direction.about["cosine"]) for p in parts if "cosine" in p.direction.about]
    cosine = max(cosines, default=None) if options.cosine is None else options.cosine
    if cosine is None:
        raise HslError("the directions' files do not say the cosine of their texts: give --cosine")
    limits = interval.thresholds(backbone.domain, options.edit_threshold, options.boost_threshold)
    curves = interval.curves(options.profile)
    return interval.interval(curves, cosine, limits, options.t_edit, options.t_boost)


def _of_content(
    options: argparse.Namespace, backbone: Backbone, axes: list[Axis]
) -> tuple[Edit, Tensor]:
    """The edit that injects an image's h, and the image."""
    gamma = GAMMA if options.gamma is None else options.gamma
    if axes and options.gamma is not None:
        raise HslError("--gamma and --interpolate: leave one out")
    if not all(0 <= g <= 1 for g in [gamma, *(axes[0].values if axes else [])]):
        raise HslError("--content: want a gamma of 0 (its h alone) to 1 (no change)")
    try:
        require_file(options.content, "one image")
    except HslError as error:
        raise HslError(f"--content {error}") from error
    images, _ = load_images(options.content, backbone.image_size)
    try:
        grid = backbone.schedule.grid(options.invert_steps or options.steps)
    except ValueError as error:
        name = "--invert-steps" if options.invert_steps else "--steps"
        raise HslError(f"{name}: {error}") from error
    content = h_along(backbone, backbone.x_0(images.to(options.device)), grid)
    fields: dict[str, Any] = CONTENT | {
        name: value for name in CONTENT if (value := getattr(options, name)) is not None
    }
    edit = Edit(content, 1.0 if axes else 1 - gamma, injection="slerp", **fields)
    return _overridden(edit, options, backbone), images


def _overridden(edit: Edit, options: argparse.Namespace, backbone: Backbone) -> Edit:
    """``edit`` with what the command line says besides."""
    if isinstance(edit.direction, Boundary):
        return edit
    mask = texts.mask(options.mask, backbone.h_shape[-1]) if options.mask else None
    return overridden(edit, t_start=options.t_start, mask=mask, dt_lambda=options.dt_lambda,
                      dt_end=options.dt_end)  # fmt: skip


def say(plan: Plan, steps: int) -> None:
    """Print what is put in and where; warn, on stderr, of numbers of steps far from training's."""
    edit, times = plan.edit, [t for t in plan.grid if plan.edit.acts(t)]
    boosting = f"boosting below t = {edit.t_boost}" if edit.t_boost else "no boosting"
    span = f"t = {times[-1]}" + (f" to {times[0]}" if len(times) > 1 else "")
    crossed = isinstance(edit.direction, Boundary)
    way = "crossed" if crossed else edit.injection
    title = f"{way}, {len(times)} of {len(plan.grid)} steps edited, {span}; {boosting}"
    if plan.as_released:
        title = f"crossed as released, {len(plan.grid)} steps from t = {plan.grid[-1]}"
    title += f"; keeping {', '.join(plan.kept)}" if plan.kept else ""
    rows: list[dict[str, Any]] = []
    for p, unit in zip(plan.parts, plan.units, strict=True):
        its_axes = [a for a in plan.axes if a.name == p.name or len(plan.parts) == 1]
        ends = (its_axes[0].values[0], its_axes[0].values[-1]) if its_axes else (p.strength,)
        noun, measure = ("boundary", "distance") if crossed else ("direction", "strength")
        measure = "coordinate" if plan.as_released else measure
        rows.append({noun: p.name, measure: _between(ends)})
        if not crossed and edit.injection not in SHARES:
            n_train = p.direction.about.get("steps")
            rows[-1] |= {"n_train / n_test": f"{n_train or '?'} / {steps}",
                         "coefficient": _between([unit * end for end in ends])}  # fmt: skip
            _warn(p.name, n_train, steps)
    if not plan.parts:
        ends = (plan.axes[0].values[0], plan.axes[0].values[-1]) if plan.axes else (
            1 - float(edit.strength),)  # fmt: skip
        rows.append({"direction": "content", "gamma": _between(ends)})
    print_table(title, rows)


def _between(ends: list[float] | tuple[float, ...]) -> str:
    return " to ".join(f"{end:.3g}" for end in ends)


def _warn(name: str, n_train: int | None, steps: int) -> None:
    ratio = (n_train or steps) / steps
    if not 1 / _FAR < ratio < _FAR:
        print(f"hsl.edit: warning: {visible(name)} was trained in {n_train} steps and is taken in "
              f"{steps}: each adds {ratio:.3g} times as much, by n_train / n_test; its figures are "
              f"of --steps {n_train}", file=sys.stderr)  # fmt: skip
