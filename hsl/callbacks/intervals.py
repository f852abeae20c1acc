"""Finds t_edit and t_boost from perceptual curves before training begins."""

import lightning as L

from hsl import intervals
from hsl.callbacks.common import first_faces, method_of, run_folder
from hsl.encoders.perceptual import PerceptualDistance
from hsl.errors import HslError
from hsl.intervals import Curves
from hsl.profile import measure


class Intervals(L.Callback):
    """Measures LPIPS(P_t, x_0) and LPIPS(x_t, x_0) along the inversion of a few images, and sets
    each direction's t_edit and the method's t_boost where they are not given (Kwon et al. 2023,
    section 3.3).

    The curves are written to the run folder in the format of Asyrp's released tables.

    Args:
        distance: name for `PerceptualDistance.load`. The network only chooses when to edit; no
            gradient of it reaches an edit.
        edit_threshold: of LPIPS(P_t, x_0), times the texts' cosine. The default belongs to the
            bundled network (its card says how it was calibrated); for ``lpips/alex`` use 0.33.
        boost_threshold: of LPIPS(x_t, x_0); for ``lpips/alex`` 1.2.
        images: how many training images are measured.
        table_p, table_x: curves to read instead (TSV).
    """

    def __init__(
        self,
        distance: str = "toyfaces",
        edit_threshold: float = intervals.TOYFACES_EDIT_THRESHOLD,
        boost_threshold: float = intervals.TOYFACES_BOOST_THRESHOLD,
        images: int = 32,
        table_p: str | None = None,
        table_x: str | None = None,
    ) -> None:
        self.distance, self.images = distance, images
        self.edit_threshold, self.boost_threshold = edit_threshold, boost_threshold
        self.table_p, self.table_x = table_p, table_x

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set t_edit and t_boost, unless both are given."""
        method = method_of(pl_module)
        known = method.t_edit is not None or set(method.t_edits) == set(method.directions)
        if known and method.t_boost is not None:
            return
        if self.table_p and self.table_x:
            curves = Curves(intervals.read_tsv(self.table_p), intervals.read_tsv(self.table_x))
        elif self.table_p or self.table_x:
            raise HslError("give both tables, table_p and table_x, or neither")
        else:
            images = first_faces(trainer, "train", self.images, method.device).image
            network = PerceptualDistance.load(self.distance).to(method.device)
            curves = measure(method.backbone, method.grid, images, network).mean
            if trainer.is_global_zero:
                folder = run_folder(trainer)
                intervals.write_tsv(folder / "LPIPS_distance_x0_t.tsv", curves.p)
                intervals.write_tsv(folder / "LPIPS_distance_x.tsv", curves.x)
        if not known:
            method.t_edits = {
                name: intervals.t_edit(curves, method.cosine_of(name), self.edit_threshold)
                for name in method.directions
            }
        if method.t_boost is None:
            method.t_boost = intervals.t_boost(curves, self.boost_threshold)
        # the last digits of a mean differ between machines: all ranks take the first one's choice
        found = trainer.strategy.broadcast((method.t_edits, method.t_boost))
        method.t_edits, method.t_boost = found
