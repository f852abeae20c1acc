"""Pictures of edits: a strip of several images, or a grid of one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from hsl.edit.plan import Plan
from hsl.edit.sources import Inputs, Unedited
from hsl.figures.grid import draw_grid
from hsl.figures.pictures import caption
from hsl.names import visible

if TYPE_CHECKING:  # matplotlib is imported where something is drawn
    from matplotlib.figure import Figure

#: Images in a strip: a picture's height has a limit.
ROWS = 24
_TITLE, _LEAST = 11.0, 6.0  # font sizes in points
_ABOVE = 0.06  # inches above a title
_WIDE = 0.58  # of a letter, in its size


def draw(plan: Plan, source: Inputs, before: Unedited, edited: Tensor) -> "Iterator[Figure]":
    """The strip of images ``[N, V, 3, S, S]``, a row each (the first `ROWS`), or with two axes the
    grid of each one, whose rows are the first axis.

    Args:
        plan: what was done.
        source: N images or seeds.
        before: what they came from.
        edited: the edited ones, with V strengths each.
    """
    if len(plan.axes) > 1:
        first, second = plan.axes
        for name, images in zip(source.names, edited, strict=True):
            title = f"{name}: {first.name} (down), {second.name} (across)"
            rows = images.unflatten(0, (len(first.values), len(second.values)))
            figure = draw_grid(list(rows.transpose(0, 1)), second.labels, "", first.labels)
            yield _titled(figure, [title, _besides(plan)])
        return
    columns, titles = [before.rebuilt], ["sample"]
    if source.images is not None:
        columns = [source.images.clamp(-1, 1), before.rebuilt]
        titles = ["source", "reconstruction"]
    if plan.content is not None:
        columns.insert(0, plan.content.expand(len(edited), -1, -1, -1))
        titles.insert(0, "content")
    columns += list(edited.transpose(0, 1))
    titles += plan.axes[0].labels if plan.axes else ["edited"]
    n = len(edited)
    title = _title(plan) + (f" (the first {ROWS} of {n})" if n > ROWS else "")
    rows = source.labels[:ROWS]
    figure = draw_grid([column[:ROWS] for column in columns], titles, "", rows)
    yield _titled(figure, [title, _besides(plan)])


def _title(plan: Plan) -> str:
    """What was put in, and at which strength, unless the columns say that."""
    if not plan.parts:
        return (
            "content by gamma" if plan.axes else f"content, gamma {1 - float(plan.edit.strength):g}"
        )
    if plan.axes and len(plan.parts) == 1:
        return plan.parts[0].name
    alone = plan.axes[0].name if plan.axes else None
    labels = [p.name if p.name == alone else f"{p.name} {p.strength:g}" for p in plan.parts]
    return f"{'factors of ' if plan.axes and alone is None else ''}{', '.join(labels)}"


def _besides(plan: Plan) -> str:
    """What else was asked for, or is done unasked: attributes that are kept, boosting."""
    keeping = [f"keeping {', '.join(plan.kept)}"] if plan.kept else []
    boosted = [f"boosting below t = {plan.edit.t_boost}"] if plan.edit.t_boost else []
    return "; ".join([*keeping, *boosted, *(["as released"] if plan.as_released else [])])


def _titled(figure: "Figure", lines: list[str]) -> "Figure":
    """Give a figure a title of some lines, as large as fits, and cut where it is too long."""
    lines = [visible(line) for line in lines if line]
    points = figure.get_figwidth() * 72 * 0.96 / _WIDE
    size = max(min(_TITLE - len(lines) + 1, points / max(map(len, lines))), _LEAST)
    text = "\n".join(caption(line, int(points / size)) for line in lines)
    figure.suptitle(text, fontsize=size, y=1 - _ABOVE / figure.get_figheight())
    return figure
