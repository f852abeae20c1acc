"""t_edit and t_boost from a perceptual profile (Kwon et al. 2023, section 3.3)."""

import math
from pathlib import Path

from hsl import intervals
from hsl.encoders.perceptual import PAPER, PerceptualDistance, Thresholds
from hsl.errors import HslError
from hsl.intervals import Curves, read_tsv

#: How the tables of P_t and x_t end; see `hsl.intervals.profile.write_tables`.
_P, _X = "_LPIPS_distance_x0_t.tsv", "_LPIPS_distance_x.tsv"
_ALL = (_P, _X, "_LPIPS_distance_x0_t_std.tsv", "_LPIPS_distance_x_std.tsv")


def thresholds(domain: str | None, edit: float | None, boost: float | None) -> Thresholds:
    """The thresholds that are given; else those of the domain's own perceptual guide, or, without
    one, the paper's.

    Raises:
        HslError: one that is not positive.
    """
    guide = PerceptualDistance.load(f"{domain}/guide") if domain else None
    plain = PAPER if guide is None or guide.thresholds is None else guide.thresholds
    limits = Thresholds(*(p if v is None else v for v, p in zip((edit, boost), plain, strict=True)))
    for name, value in limits._asdict().items():
        if not 0 < value < math.inf:
            raise HslError(f"--{name}-threshold {value}: want a positive number")
    return limits


def curves(place: str) -> Curves:
    """The two mean curves at ``place``: a folder with the tables of one profile, one of its tables,
    or what their names begin with.

    Raises:
        HslError: no such tables, those of several profiles, or a damaged one.
    """
    path = Path(place)
    if path.is_dir():
        prefixes = sorted(str(p).removesuffix(_P) for p in path.glob(f"*{_P}"))
        if len(prefixes) != 1:
            several = f"those of several profiles; name one: {', '.join(prefixes[:8])}"
            raise HslError(f"--profile {place}: {several if prefixes else f'no table *{_P} in it'}")
        place = prefixes[0]
    elif path.is_file():
        place = next((place.removesuffix(end) for end in _ALL if place.endswith(end)), place)
    return Curves(read_tsv(place + _P), read_tsv(place + _X))


def interval(
    profile: Curves, cosine: float, limits: Thresholds, t_edit: int | None, t_boost: int | None
) -> tuple[int, int]:
    """t_edit and t_boost off the curves, where they are not given.

    Raises:
        HslError: a threshold that a curve never reaches, or a cosine that is not positive.
    """
    t_edit = intervals.t_edit(profile, cosine, limits.edit) if t_edit is None else t_edit
    return t_edit, intervals.t_boost(profile, limits.boost) if t_boost is None else t_boost
