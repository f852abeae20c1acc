"""Pictures: source, reconstruction, and edits from -1 to +1 times the chosen strength."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import WandbLogger

from hsl.callbacks.common import first_faces, in_pieces, method_of, run_folder
from hsl.figures.grid import draw_grid
from hsl.figures.pictures import save_figure
from hsl.methods.base import Method
from hsl.names import file_stem
from hsl.options import checks
from hsl.options.checks import at_least_one, require
from hsl.progress import track
from hsl.ranks import shared
from hsl.schema import whole
from hsl.types import Batch, attribute_and_value


class Grids(L.Callback):
    """Writes ``grid.png`` (``grid_<name>.png`` with several directions) when testing ends.

    Rows are held-out images; columns are source, reconstruction, the edit at each factor of its
    chosen strength, and the true counterfactual where the data know it. The same picture goes to
    W&B.

    Args:
        images: how many rows; 0: no picture.
        factors: of the chosen strength.
        batch: edits that run at once.

    Raises:
        HslError: no factors, or numbers that are not finite.
    """

    def __init__(
        self,
        images: int = 8,
        factors: Sequence[float] = (-1.0, -0.5, 0.5, 1.0),
        batch: int = 64,
    ) -> None:
        require(
            "grids",
            images=(images, whole(0, 10_000)),
            factors=(factors, checks.factors),
            batch=(batch, at_least_one),
        )
        self.images, self.factors, self.batch = images, list(factors), batch

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the grids, which the ranks share out."""
        if not self.images:
            return
        method = method_of(pl_module)
        faces = first_faces(trainer, "test", self.images, method.device)
        paths = shared(
            list(method.directions), lambda name: self._draw(trainer, method, faces, name)
        )
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                for name, path in paths.items():
                    logger.log_image(f"edits/{name}", [str(path)])

    def _draw(self, trainer: L.Trainer, method: Method, faces: Batch, name: str) -> Path:
        """Edit the images along direction ``name``, and draw its grid; its path."""
        strength = method.strengths.get(name, 1.0)
        strengths = [factor * strength for factor in self.factors]
        pieces = list(in_pieces(len(faces.image), max(self.batch // len(strengths), 1)))
        swept = [
            method.sweep(faces.image[p], faces.index[p], name, strengths)
            for p in track(pieces, f"grid of {name}", len(pieces))
        ]
        columns = [faces.image, method.edit_images(faces.image, faces.index)]
        columns += list(torch.cat(swept, dim=1))
        titles = ["source", "reconstruction", *(f"{factor:+g}" for factor in self.factors)]
        data: Any = getattr(trainer, "datamodule", None)
        attribute, value = attribute_and_value(name)
        if attribute in getattr(data, "counterfactuals", ()):
            truth = data.counterfactual(faces.index, "test", **{attribute: value})
            columns.append(truth.to(method.device))
            titles.append("truth")
        single = len(method.directions) == 1
        path = run_folder(trainer) / ("grid.png" if single else f"grid_{file_stem(name)}.png")
        save_figure(path, draw_grid(columns, titles, f"{name}, strength {strength:g}"))
        return path
