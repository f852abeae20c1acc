"""The picture of a perceptual profile: two curves, two thresholds, three parts of the process
(Kwon et al. 2023, figure 3)."""

from typing import TYPE_CHECKING

import torch

from hsl.figures.pictures import caption, new_figure
from hsl.intervals.profile import Profile, measures

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_P, _X, _EDIT, _BOOST = "tab:blue", "tab:red", "tab:green", "tab:orange"
#: Thresholds are drawn on a logarithmic scale if one is below this share of the highest value.
_SMALL = 0.1
_TINY = 1e-12  # for a logarithmic scale
_ASIDE = 12  # timesteps between an arrow and its line
_TITLE = 100  # letters that the picture has room for


def draw(
    profile: Profile, thresholds: tuple[float, float], t_edit: int, t_boost: int, title: str = ""
) -> "Figure":
    """Both curves with a band of one standard deviation, from T down to 0 as the reverse process
    goes, the two thresholds, and the three parts of the process with their quantities."""
    figure = new_figure(8.6, 4.8)
    axis: Axes = figure.subplots()
    last, highest, low = max(profile.mean.p), _curves(axis, profile), 0.0
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
    _quantities(axis, profile, t_edit, t_boost, low)
    axis.set_xlim(last, 0)
    axis.set_xlabel("t (the reverse process goes to the right)")
    axis.set_ylabel("distance to the image x")
    axis.set_title(caption(title, _TITLE), fontsize=10)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, loc="lower left")
    return figure


def _curves(axis: "Axes", profile: Profile) -> float:
    """Both curves with their bands; the highest value of a band."""
    highest = 0.0
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
    return highest


def _quantities(axis: "Axes", profile: Profile, t_edit: int, t_boost: int, low: float) -> None:
    """The paper's quantities as arrows; ``low`` is where the axis begins."""
    strength, flexibility, _, deficiency = measures(profile.mean, t_edit, t_boost)
    top = profile.mean.p[max(profile.mean.p)]
    for t, ends, name, value, side in (
        (t_edit + _ASIDE, (flexibility, top), "editing\nstrength", strength, "right"),
        (t_edit - _ASIDE, (low, flexibility), "editing\nflexibility", flexibility, "left"),
        (t_boost - _ASIDE, (low, deficiency), "quality\ndeficiency", deficiency, "left"),
    ):
        _arrow(axis, t, ends, f"{name} {value:.3g}", side)


def _arrow(axis: "Axes", t: float, ends: tuple[float, float], text: str, side: str) -> None:
    """A quantity as an upright arrow between two distances, with the ``side`` of its text to it."""
    axis.annotate("", (t, ends[0]), (t, ends[1]), arrowprops={"arrowstyle": "<->", "lw": 1})
    log = axis.get_yscale() == "log"
    middle = (ends[0] * ends[1]) ** 0.5 if log else (ends[0] + ends[1]) / 2
    box = {"facecolor": "white", "alpha": 0.5, "lw": 0, "pad": 1}
    offset = (-7 if side == "right" else 7, 0)
    axis.annotate(text, (t, middle), offset, textcoords="offset points", ha=side, va="center",
                  fontsize=8, bbox=box)  # fmt: skip
