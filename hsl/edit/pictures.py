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


def draw(made: Plan, source: Inputs, before: Unedited, result: Tensor) -> "Iterator[Figure]":
    """The strip of images ``[N, V, 3, S, S]``, a row each (the first `ROWS`), or with two axes the
    grid of each one, whose rows are the first axis.

    Args:
        made: what was done.
        source: N images or seeds.
        before: what they came from.
        result: the edited ones, with V strengths each.
    """
    if len(made.axes) > 1:
        first, second = made.axes
        for name, images in zip(source.names, result, strict=True):
            title = f"{name}: {first.name} (down), {second.name} (across)"
            rows = images.unflatten(0, (len(first.values), len(second.values)))
            figure = draw_grid(list(rows.transpose(0, 1)), second.labels, "", first.labels)
            yield _titled(figure, [title, _besides(made)])
        return
    columns, titles = [before.rebuilt], ["sample"]
    if source.images is not None:
        columns = [source.images.clamp(-1, 1), before.rebuilt]
        titles = ["source", "reconstruction"]
    if made.content is not None:
        columns.insert(0, made.content.expand(len(result), -1, -1, -1))
        titles.insert(0, "content")
    columns += list(result.transpose(0, 1))
    titles += made.axes[0].labels if made.axes else ["edited"]
    n = len(result)
    title = _title(made) + (f" (the first {ROWS} of {n})" if n > ROWS else "")
    rows = source.labels[:ROWS]
    figure = draw_grid([column[:ROWS] for column in columns], titles, "", rows)
    yield _titled(figure, [title, _besides(made)])


def _title(made: Plan) -> str:
    """What was put in, and how much, unless the columns say it."""
    if not made.parts:
        return (
            "content by gamma" if made.axes else f"content, gamma {1 - float(made.edit.strength):g}"
        )
    if made.axes and len(made.parts) == 1:
        return made.parts[0].name
    alone = made.axes[0].name if made.axes else None
    parts = [p.name if p.name == alone else f"{p.name} {p.strength:g}" for p in made.parts]
    return f"{'factors of ' if made.axes and alone is None else ''}{', '.join(parts)}"


def _besides(made: Plan) -> str:
    """What else was asked for, or is done unasked: attributes that are kept, boosting."""
    kept = [f"keeping {', '.join(made.kept)}"] if made.kept else []
    boosted = [f"boosting below t = {made.edit.t_boost}"] if made.edit.t_boost else []
    return "; ".join([*kept, *boosted, *(["as released"] if made.as_released else [])])


def _titled(figure: "Figure", lines: list[str]) -> "Figure":
    """With a title of some lines as large as fits, and no longer than that."""
    lines = [visible(line) for line in lines if line]
    points = figure.get_figwidth() * 72 * 0.96 / _WIDE
    size = max(min(_TITLE - len(lines) + 1, points / max(map(len, lines))), _LEAST)
    text = "\n".join(caption(line, int(points / size)) for line in lines)
    figure.suptitle(text, fontsize=size, y=1 - _ABOVE / figure.get_figheight())
    return figure
