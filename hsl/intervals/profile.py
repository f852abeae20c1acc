"""The perceptual profile of a backbone: how far P_t and x_t are from the image, by timestep, and
what its editing interval and boosting amount to (Kwon et al. 2023, section 4 and figure 3)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hsl.backbones import Backbone
from hsl.errors import HslError
from hsl.intervals import CurveMeans, Curves, read_tsv, write_tsv
from hsl.process import invert, predicted_x_0
from hsl.progress import track
from hsl.ranks import everyones, world

Distance = Callable[[Tensor, Tensor], Tensor]
#: Asyrp's released tables end so: means of P_t and x_t, and their standard deviations.
ENDS = ("x0_t", "x", "x0_t_std", "x_std")


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
        for piece in track(pieces, "perceptual curves", len(pieces)):
            piece = piece.to(backbone.device)
            x = backbone.x_0(piece)
            for step in invert(backbone, x, grid):
                x, key = step.x_next, step.t_next if as_released else step.t
                of_p.setdefault(key, []).append(distance(backbone.image(step.p), piece).cpu())
                of_x.setdefault(step.t_next, []).append(distance(backbone.image(x), piece).cpu())
            if not as_released:
                t = grid[-1]
                eps = backbone.decode(backbone.encode(x, t))
                p = predicted_x_0(x, eps, backbone.schedule.alpha_bar(t))
                of_p.setdefault(t, []).append(distance(backbone.image(p), piece).cpu())
    means_p, means_x = (_means(distances, len(images)) for distances in (of_p, of_x))
    return Profile(Curves(means_p.mean(), means_x.mean()), Curves(means_p.std(), means_x.std()))


def _means(mine: dict[int, list[Tensor]], n: int) -> CurveMeans:
    """Means over the ``n`` images of all ranks, in the images' order: the same on any number."""
    by_rank = everyones({t: torch.cat(batches) for t, batches in mine.items()})
    means = CurveMeans()
    for t in by_rank[0]:
        distances = torch.empty(n, dtype=by_rank[0][t].dtype)
        for rank, part in enumerate(by_rank):
            if part:  # a rank has none where there are more ranks than images
                distances[rank :: len(by_rank)] = part[t]
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
    strength, flexibility, at_boost, deficiency = measures(curves, t_edit, t_boost)
    last = max(curves.p)
    return [
        {"quantity": "t_edit", "value": t_edit},
        {"quantity": "t_boost", "value": t_boost},
        {"quantity": f"editing strength of [{last}, {t_edit}]", "value": strength},
        {"quantity": f"editing flexibility of [{t_edit}, 0]", "value": flexibility},
        {"quantity": f"editing flexibility of [{t_boost}, 0]", "value": at_boost},
        {"quantity": f"quality deficiency at {t_boost}", "value": deficiency},
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
    for other, curve, path in ((x, p, paths[0]), (p, p_std, paths[2]), (x, x_std, paths[3])):
        if lacking := sorted(other.keys() - curve.keys()):
            raise HslError(f"{path}: no row for t = {lacking[0]}, which the other tables have")
    return Profile(Curves(p, x), Curves(p_std, x_std))


def table_paths(prefix: str | Path) -> list[Path]:
    """Those of the four tables of a profile."""
    return [Path(f"{prefix}_LPIPS_distance_{end}.tsv") for end in ENDS]
