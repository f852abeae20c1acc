"""The perceptual profile of a backbone: how far P_t and x_t are from the image, by timestep, and
what its editing interval and boosting amount to (Kwon et al. 2023, section 4 and figure 3)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from hsl.backbones import Backbone
from hsl.errors import HslError
from hsl.intervals import CurveMeans, Curves, read_tsv, write_tsv
from hsl.pictures import caption
from hsl.process import invert, predicted_x_0
from hsl.progress import track
from hsl.ranks import everyones, world

Distance = Callable[[Tensor, Tensor], Tensor]
#: Asyrp's released tables end so: means of P_t and x_t, and their standard deviations.
ENDS = ("x0_t", "x", "x0_t_std", "x_std")
_P, _X, _EDIT, _BOOST = "tab:blue", "tab:red", "tab:green", "tab:orange"
#: Thresholds are drawn on a logarithmic scale if one is below this share of the highest value.
_SMALL = 0.1
_TINY = 1e-12  # for a logarithmic scale
_ASIDE = 12  # timesteps between an arrow and its line
_TITLE = 100  # letters that the picture has room for


class Profile(NamedTuple):
    """Means and population standard deviations over images, by timestep."""

    mean: Curves
    std: Curves


class Measures(NamedTuple):
    """The paper's quantities, which it names with the inset of its figure 3.

    ``strength`` of the editing interval [T, t_edit]: LPIPS(x, P_T) - LPIPS(x, P_t_edit), the
    perceptual change from T until t_edit. ``flexibility`` of the interval [t, 0], here taken as
    LPIPS(x, P_t), the changes that may still come after t: of t_edit, and of t_boost, where it
    should be small. ``deficiency``, of quality, at t_boost: LPIPS(x, x_t_boost), the noise that is
    in x_t. T is the last timestep of the curve of P_t.
    """

    strength: float
    flexibility: float
    flexibility_boost: float
    deficiency: float


def measure(
    backbone: Backbone,
    grid: Sequence[int],
    images: Tensor,
    distance: Distance,
    batch: int = 16,
    as_released: bool = False,
) -> Profile:
    """Distances to images ``[N, 3, S, S]`` of P_t and x_t along the papers' inversion. The ranks
    of a distributed run share the images, and all come to the same means.

    Args:
        backbone: the frozen denoiser.
        grid: ascending timesteps. P_t is measured at all of them, x_t at all but the first, which
            is where the inversion takes the image itself to be.
        images: in [-1, 1].
        distance: of two batches of images, ``[B]``.
        batch: images at once.
        as_released: keep each P under the timestep after its own, as the released tables do (so
            their t_edit is up to one step too late), and leave out that of the last. The released
            code also measures one image more than it is asked for.
    """
    rank, ranks = world()
    mine = images[rank::ranks]
    pieces = mine.split(batch) if len(mine) else ()
    of_p: dict[int, list[Tensor]] = {}
    of_x: dict[int, list[Tensor]] = {}
    with torch.no_grad():
        for some in track(pieces, "perceptual curves", len(pieces)):
            some = some.to(backbone.device)
            x = backbone.x_0(some)
            for step in invert(backbone, x, grid):
                x, key = step.x_next, step.t_next if as_released else step.t
                of_p.setdefault(key, []).append(distance(backbone.image(step.p), some).cpu())
                of_x.setdefault(step.t_next, []).append(distance(backbone.image(x), some).cpu())
            if not as_released:
                t = grid[-1]
                eps = backbone.decode(backbone.encode(x, t))
                p = predicted_x_0(x, eps, backbone.schedule.alpha_bar(t))
                of_p.setdefault(t, []).append(distance(backbone.image(p), some).cpu())
    means_p, means_x = (_means(found, len(images)) for found in (of_p, of_x))
    return Profile(Curves(means_p.mean(), means_x.mean()), Curves(means_p.std(), means_x.std()))


def _means(mine: dict[int, list[Tensor]], n: int) -> CurveMeans:
    """Means over the ``n`` images of all ranks, in the images' order: the same on any number."""
    parts = everyones({t: torch.cat(found) for t, found in mine.items()})
    means = CurveMeans()
    for t in parts[0]:
        distances = torch.empty(n, dtype=parts[0][t].dtype)
        for rank, part in enumerate(parts):
            if part:  # a rank has none where there are more ranks than images
                distances[rank :: len(parts)] = part[t]
        means.add(t, distances)
    return means


def measures(curves: Curves, t_edit: int, t_boost: int) -> Measures:
    """The paper's quantities of an interval whose timesteps are in the curves."""
    p_edit = curves.p[t_edit]
    return Measures(
        strength=curves.p[max(curves.p)] - p_edit,
        flexibility=p_edit,
        flexibility_boost=curves.p[t_boost],
        deficiency=curves.x[t_boost],
    )


def summary(curves: Curves, t_edit: int, t_boost: int) -> list[dict[str, Any]]:
    """t_edit, t_boost and the paper's quantities, one row each."""
    found, last = measures(curves, t_edit, t_boost), max(curves.p)
    return [
        {"quantity": "t_edit", "value": t_edit},
        {"quantity": "t_boost", "value": t_boost},
        {"quantity": f"editing strength of [{last}, {t_edit}]", "value": found.strength},
        {"quantity": f"editing flexibility of [{t_edit}, 0]", "value": found.flexibility},
        {"quantity": f"editing flexibility of [{t_boost}, 0]", "value": found.flexibility_boost},
        {"quantity": f"quality deficiency at {t_boost}", "value": found.deficiency},
    ]


def rows(profile: Profile, about: int) -> list[dict[str, Any]]:
    """Means and standard deviations at ``about`` so many timesteps, from the last on."""
    times = sorted(set(profile.mean.p) | set(profile.mean.x), reverse=True)
    table = []
    for t in times[:: max(len(times) // about, 1)]:
        row: dict[str, Any] = {"t": t}
        for name, mean, std in zip(("P_t", "x_t"), profile.mean, profile.std, strict=True):
            row |= {f"LPIPS(x, {name})": mean.get(t), f"std of {name}": std.get(t)}
        table.append(row)
    return table


def write_tables(prefix: str | Path, profile: Profile) -> list[Path]:
    """Write four tables in the layout of the released ones, ``<prefix>_LPIPS_distance_x.tsv``, ...;
    their paths."""
    paths = table_paths(prefix)
    for path, curve in zip(paths, (*profile.mean, *profile.std), strict=True):
        write_tsv(path, curve)
    return paths


def read_tables(prefix: str | Path) -> Profile:
    """Tables that `write_tables` wrote, or released ones.

    Raises:
        HslError: one is missing, or of another form, or they have not the same timesteps.
    """
    paths = table_paths(prefix)
    p, x, p_std, x_std = (read_tsv(path) for path in paths)
    for wanted, found, path in ((x, p, paths[0]), (p, p_std, paths[2]), (x, x_std, paths[3])):
        if lacking := sorted(wanted.keys() - found.keys()):
            raise HslError(f"{path}: no row for t = {lacking[0]}, which the other tables have")
    return Profile(Curves(p, x), Curves(p_std, x_std))


def draw(
    profile: Profile, thresholds: tuple[float, float], t_edit: int, t_boost: int, title: str = ""
) -> Figure:
    """Both curves with a band of one standard deviation, from T down to 0 as the reverse process
    goes, the two thresholds, and the three parts of the process with their quantities."""
    figure = Figure(figsize=(8.6, 4.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # pictures need no screen
    axis: Axes = figure.subplots()
    last, highest = max(profile.mean.p), 0.0
    for (mean, std), colour, name in zip(
        zip(profile.mean, profile.std, strict=True), (_P, _X), ("P_t", "x_t"), strict=True
    ):
        times = sorted(mean)
        middle = torch.tensor([mean[t] for t in times])
        spread = torch.tensor([std[t] for t in times])
        highest = max(highest, float((middle + spread).max()))
        axis.plot(times, middle, color=colour, lw=1.6, label=f"LPIPS(x, ${name}$)")
        axis.fill_between(times, (middle - spread).clamp(min=_TINY), middle + spread,
                          color=colour, alpha=0.18, lw=0)  # fmt: skip
    low = 0.0
    if min(thresholds) < _SMALL * highest:
        axis.set_yscale("log")
        low = min(thresholds) / 30
    axis.set_ylim(low, highest * 1.05)
    for value, t, colour, label in zip(
        thresholds, (t_edit, t_boost), (_EDIT, _BOOST), ("edit", "boost"), strict=True
    ):
        axis.axhline(value, color=colour, lw=0.9, ls=":")
        axis.axvline(t, color=colour, lw=1.2, ls="--",
                     label=f"$t_{{{label}}}$ = {t}, threshold {value:.3g}")  # fmt: skip
    axis.axvspan(t_edit, last, color=_EDIT, alpha=0.07, lw=0, label="editing")
    axis.axvspan(0, t_boost, color=_BOOST, alpha=0.12, lw=0, label="boosting")
    found, top = measures(profile.mean, t_edit, t_boost), profile.mean.p[last]
    for t, ends, name, value, side in (
        (t_edit + _ASIDE, (found.flexibility, top), "editing\nstrength", found.strength, "right"),
        (
            t_edit - _ASIDE,
            (low, found.flexibility),
            "editing\nflexibility",
            found.flexibility,
            "left",
        ),
        (
            t_boost - _ASIDE,
            (low, found.deficiency),
            "quality\ndeficiency",
            found.deficiency,
            "left",
        ),
    ):
        _arrow(axis, t, ends, f"{name} {value:.3g}", side)
    axis.set_xlim(last, 0)
    axis.set_xlabel("t (the reverse process goes to the right)")
    axis.set_ylabel("distance to the image x")
    axis.set_title(caption(title, _TITLE), fontsize=10)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, loc="lower left")
    return figure


def _arrow(axis: Axes, t: float, ends: tuple[float, float], text: str, side: str) -> None:
    """A quantity as an upright arrow between two distances, with the ``side`` of its text to it."""
    axis.annotate("", (t, ends[0]), (t, ends[1]), arrowprops={"arrowstyle": "<->", "lw": 1})
    log = axis.get_yscale() == "log"
    middle = (ends[0] * ends[1]) ** 0.5 if log else (ends[0] + ends[1]) / 2
    box = {"facecolor": "white", "alpha": 0.5, "lw": 0, "pad": 1}
    offset = (-7 if side == "right" else 7, 0)
    axis.annotate(text, (t, middle), offset, textcoords="offset points", ha=side, va="center",
                  fontsize=8, bbox=box)  # fmt: skip


def table_paths(prefix: str | Path) -> list[Path]:
    """Those of the four tables of a profile."""
    return [Path(f"{prefix}_LPIPS_distance_{end}.tsv") for end in ENDS]
