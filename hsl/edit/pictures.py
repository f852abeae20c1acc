"""Pictures of edits: a strip of several images, or a grid of one."""

from collections.abc import Iterator

from matplotlib.figure import Figure
from torch import Tensor

from hsl.edit.plan import Plan
from hsl.edit.sources import Inputs, Unedited
from hsl.figures.grid import draw_grid
from hsl.figures.pictures import caption
from hsl.names import visible

#: Images in a strip: a picture's height has a limit.
ROWS = 24
_TITLE, _LEAST = 11.0, 6.0  # font sizes in points
_WIDE = 0.58  # of a letter, in its size


def draw(made: Plan, source: Inputs, before: Unedited, result: Tensor) -> Iterator[Figure]:
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
            figure = draw_grid(list(rows.transpose(0, 1)), second.labels, "")
            yield _titled(_with_rows(figure, first.labels, len(second.values)), title)
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
    yield _titled(draw_grid([column[:ROWS] for column in columns], titles, ""), title)


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


def _titled(figure: Figure, title: str) -> Figure:
    """With a title as large as fits, and no longer than that."""
    title = visible(title)
    points = figure.get_figwidth() * 72 * 0.96 / _WIDE
    size = max(min(_TITLE, points / max(len(title), 1)), _LEAST)
    figure.suptitle(caption(title, int(points / size)), fontsize=size)
    return figure


def _with_rows(figure: Figure, labels: list[str], columns: int) -> Figure:
    """With a label before each row."""
    for axis, label in zip(figure.axes[::columns], labels, strict=True):
        axis.text(-0.06, 0.5, label, transform=axis.transAxes, rotation=90, fontsize=9,
                  ha="right", va="center")  # fmt: skip
    width = figure.get_figwidth()
    figure.set_figwidth(width + 0.25)
    figure.subplots_adjust(left=0.26 / (width + 0.25))
    return figure
