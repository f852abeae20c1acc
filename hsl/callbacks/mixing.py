"""How well boundaries tell attributes apart at each timestep, and the mixing step they choose."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import WandbLogger

from hsl.callbacks.common import run_folder
from hsl.directions import Space
from hsl.errors import HslError
from hsl.figures.heat_map import heat_map
from hsl.figures.pictures import save_figure
from hsl.intervals import mixing_step
from hsl.methods.mixed import Mixed
from hsl.options.checks import require
from hsl.progress import track
from hsl.schema import number, one_of
from hsl.solvers import Figures
from hsl.tables import print_table, write_csv


class Mixing(L.Callback):
    """Measures boundaries on validation images, and chooses the mixing step where none is given:
    the largest t whose mean held-out balanced accuracy is within ``tolerance`` of the best.

    ``fit`` and ``validate`` write ``accuracy.csv``, one row an attribute, space and timestep, and
    ``accuracy.png``, a heat map of it with the chosen step; the same goes to W&B. Figures by
    leaving one out, where the method takes them, go to ``leave_one_out.csv``. For other methods
    than those (`Mixed`) it does nothing.

    Args:
        tolerance: in balanced accuracy, in [0, 1].
        space: whose accuracies choose: ``x``, ``h``, or ``both``, their mean.
    """

    def __init__(self, tolerance: float = 0.02, space: Space | str = "both") -> None:
        require(
            "mixing",
            tolerance=(tolerance, number(0, 1)),
            space=(space, one_of("x", "h", "both")),
        )
        self.tolerance, self.space = tolerance, space

    @torch.no_grad()
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure on validation images and choose; every rank comes to the same step."""
        if not isinstance(pl_module, Mixed):
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        loader, rank, ranks = data.val_dataloader(), trainer.global_rank, trainer.world_size
        batches = (
            pl_module.transfer_batch_to_device(batch, pl_module.device, 0)
            for i, batch in enumerate(track(loader, "validation latents", len(loader)))
            if i % ranks == rank
        )
        pl_module.measure(batches, data)
        if pl_module.t is None:
            curve = self.curve(pl_module.figures)
            pl_module.t = trainer.strategy.broadcast(mixing_step(curve, self.tolerance))
        pl_module.mix_at(pl_module.t)
        self._show(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write and print the table."""
        if isinstance(pl_module, Mixed) and pl_module.figures:
            self._show(trainer, pl_module)

    def curve(self, by_place: dict[tuple[Space, int], Figures]) -> dict[int, float]:
        """Mean balanced accuracy over attributes (and spaces) by timestep."""
        spaces = {space for space, _ in by_place} if self.space == "both" else {self.space}
        sums: dict[int, list[float]] = {}
        for (space, t), figures in by_place.items():
            if space in spaces:
                sums.setdefault(t, []).append(float(figures.balanced_accuracy.nanmean()))
        if not sums:
            raise HslError(f"mixing: no boundaries in {self.space}; choose another space")
        return {t: sum(values) / len(values) for t, values in sums.items()}

    def _show(self, trainer: L.Trainer, method: Mixed) -> None:
        if not trainer.is_global_zero:
            return
        names, folder = list(method.directions), run_folder(trainer)
        rows = _rows(method.figures, names)
        write_csv(folder / "accuracy.csv", rows)
        left_out = _rows(method.left_out, names)
        if left_out:
            write_csv(folder / "leave_one_out.csv", left_out)
        save_figure(folder / "accuracy.png", heat_map(method.figures, names, method.t))
        at_step = [
            {"attribute": row["attribute"], "space": row["space"],
             "accuracy": row["accuracy"], "accuracy_ci": row["accuracy_ci"],
             "balanced": row["balanced_accuracy"], "balanced_ci": row["balanced_accuracy_ci"],
             "auc": row["auc"], "auc_ci": row["auc_ci"]}
            for row in rows if row["t"] == method.t
        ]  # fmt: skip
        for row, left_out_row in zip(
            at_step, (row for row in left_out if row["t"] == method.t), strict=False
        ):
            row["leave-one-out balanced"] = left_out_row["balanced_accuracy"]
            row["leave-one-out auc"] = left_out_row["auc"]
        print_table(f"held-out images at the mixing step t = {method.t}", at_step)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                table = [[r["attribute"], r["space"], r["t"], r["balanced_accuracy"], r["auc"]]
                         for r in rows]  # fmt: skip
                columns = ["attribute", "space", "t", "balanced_accuracy", "auc"]
                logger.log_table("boundaries", columns=columns, data=table)
                logger.log_image("boundaries/accuracy", [str(folder / "accuracy.png")])


def _rows(by_place: dict[tuple[Space, int], Figures], names: list[str]) -> list[dict[str, Any]]:
    """One row an attribute, space and timestep."""
    return [
        {"space": space, "t": t} | row
        for (space, t), figures in by_place.items()
        for row in figures.rows(names)
    ]
