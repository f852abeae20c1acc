"""``hsl.fit`` and ``hsl.evaluate``: what ``hsl train fit`` and ``test`` do, from Python."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from hsl.callbacks import Evaluate, Grids
from hsl.directions import Direction
from hsl.files import require_writable_folder
from hsl.methods.base import Method
from hsl.methods.saved import Saved
from hsl.train.defaults import TRAINER, without_advice


def fit(
    method: Method, data: L.LightningDataModule, out: str | Path | None = None, **trainer: Any
) -> Method:
    """Fit a method, with the callbacks that it brings (intervals, strengths, export), as
    ``hsl train fit`` does; return it, with its directions and their strengths.

    To have the very numbers of the command line, call ``lightning.seed_everything(0)`` before the
    method is made, as it does.

    Args:
        method: of `hsl.methods`.
        data: a data module. One that draws its images takes as many as the method asks for.
        out: folder for directions, curves and tables; None: nothing is kept.
        trainer: options of `lightning.Trainer`, such as ``max_epochs``, ``callbacks`` (one of
            hsl's own, such as ``Strength(share=0.9)``, takes the place of the default), ``logger``.

    Raises:
        HslError: what is wrong with the method or the data, in one line.
    """
    with _trainer(out, {"max_epochs": method.epochs} | trainer) as runner:
        runner.fit(method, datamodule=data)
    return method


def evaluate(
    directions: Method | Direction | str | Path | Sequence[str | Path | Direction],
    data: L.LightningDataModule,
    out: str | Path | None = None,
    **trainer: Any,
) -> list[dict[str, Any]]:
    """Edit the test images along directions, and measure the edits by judges, as ``hsl train test``
    does: a row of figures for each direction.

    Args:
        directions: a fitted method; or what `Saved` takes: a direction, its file, the name of a
            shipped one, or several of these.
        data: a data module.
        out: folder for ``summary.json``, ``images.csv`` and grids of images; None: nothing is kept.
        trainer: options of `lightning.Trainer`; ``callbacks=[Evaluate(...)]`` names other judges.

    Raises:
        HslError: no such direction, or nothing that could be measured.
    """
    method = directions if isinstance(directions, Method) else Saved(directions)
    with _trainer(out, trainer) as runner:
        runner.test(method, datamodule=data, verbose=False)
        evaluators = [c for c in runner.callbacks if isinstance(c, Evaluate)]  # type: ignore[attr-defined]
    return [row for evaluator in evaluators for row in evaluator.results.values()]


@contextmanager
def _trainer(out: str | Path | None, options: dict[str, Any]) -> Iterator[L.Trainer]:
    """A trainer that writes to ``out``, or to a folder that goes with it."""
    defaults = TRAINER | {"logger": False, "enable_checkpointing": False}
    given = options.pop("callbacks", None) or []
    callbacks = [given] if isinstance(given, L.Callback) else list(given)
    if out is None and not any(isinstance(c, Grids) for c in callbacks):  # nobody could see them
        callbacks.append(Grids(images=0))
    with tempfile.TemporaryDirectory() as passing, without_advice():
        root = passing if out is None else str(require_writable_folder(out))
        yield L.Trainer(**(defaults | {"default_root_dir": root} | options), callbacks=callbacks)
