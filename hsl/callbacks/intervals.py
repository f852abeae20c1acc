"""Finds t_edit and t_boost from perceptual curves before training begins."""

import lightning as L

from hsl import intervals
from hsl.bundled import BUNDLED
from hsl.callbacks.common import first_faces, method_of, run_folder
from hsl.encoders.perceptual import PerceptualDistance, Thresholds
from hsl.encoders.roles import fingerprint, require_guide
from hsl.errors import HslError
from hsl.intervals import Curves
from hsl.intervals.profile import measure
from hsl.methods.base import Method
from hsl.methods.surroundings import why_unsuited
from hsl.options.checks import above_zero, at_least_one, require
from hsl.schema import optional, text


class Intervals(L.Callback):
    """Measures LPIPS(P_t, x_0) and LPIPS(x_t, x_0) along the inversion of a few images, and sets
    each direction's t_edit and the method's t_boost where they are not given (Kwon et al. 2023,
    section 3.3).

    The curves are written to the run folder in the format of Asyrp's released tables.

    Args:
        distance: name for `PerceptualDistance.load`: a guide, as it chooses when to edit. No
            gradient of it reaches an edit.
        edit_threshold: of LPIPS(P_t, x_0), times the texts' cosine; None: the network's own, which
            the bundled guide's file has (its card says how it was calibrated); of ``lpips/alex``
            the paper's 0.33.
        boost_threshold: of LPIPS(x_t, x_0); None: the network's own; of ``lpips/alex`` 1.2.
        images: how many training images are measured.
        table_p, table_x: curves to read instead (TSV), by the network's thresholds.

    Raises:
        HslError: a number out of range, a judge, one table without the other.
    """

    def __init__(
        self,
        distance: str = BUNDLED.guide,
        edit_threshold: float | None = None,
        boost_threshold: float | None = None,
        images: int = 32,
        table_p: str | None = None,
        table_x: str | None = None,
    ) -> None:
        require(
            "intervals",
            distance=(distance, text()),
            images=(images, at_least_one),
            edit_threshold=(edit_threshold, optional(above_zero)),
            boost_threshold=(boost_threshold, optional(above_zero)),
        )
        self.distance, self.images = distance, images
        self.edit_threshold, self.boost_threshold = edit_threshold, boost_threshold
        self.table_p, self.table_x = table_p, table_x
        if bool(table_p) != bool(table_x):
            raise HslError("give both tables, table_p and table_x, or neither")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set t_edit and t_boost, unless both are given."""
        method = method_of(pl_module)
        has_t_edit = method.t_edit is not None or set(method.t_edits) == set(method.directions)
        if has_t_edit and method.t_boost is not None:
            return
        limits = self._thresholds()
        if self.table_p and self.table_x:
            curves = Curves(intervals.read_tsv(self.table_p), intervals.read_tsv(self.table_x))
        else:
            curves = self._measured(trainer, method)
        if not has_t_edit:
            method.t_edits = {
                name: intervals.t_edit(curves, method.cosine_of(name), limits.edit)
                for name in method.directions
            }
        if method.t_boost is None:
            method.t_boost = intervals.t_boost(curves, limits.boost)
        # the last digits of a mean differ between machines: all ranks take the first one's choice
        choice = trainer.strategy.broadcast((method.t_edits, method.t_boost))
        method.t_edits, method.t_boost = choice

    def _thresholds(self) -> Thresholds:
        """The thresholds given, else the network's own; it is not loaded where both are given."""
        given = (self.edit_threshold, self.boost_threshold)
        own = None if None not in given else self._network().thresholds
        edit, boost = (v if v is not None else own and own[i] for i, v in enumerate(given))
        if edit is None or boost is None:
            raise HslError(f"{self.distance} has no thresholds of its own: give "
                           "--intervals.edit_threshold and boost_threshold")  # fmt: skip
        return Thresholds(edit, boost)

    def _network(self) -> PerceptualDistance:
        network = PerceptualDistance.load(self.distance, role="guide", resize=True)
        require_guide(network, "choice of t_edit and t_boost")
        return network

    def _measured(self, trainer: L.Trainer, method: Method) -> Curves:
        """The curves of training images; the first rank writes them down."""
        network = self._network().to(method.device)
        if reason := why_unsuited(network, trainer, None):
            raise HslError(f"{self.distance} {reason}: give --intervals.distance lpips/alex, or "
                           "t_edit and t_boost by hand")  # fmt: skip
        method.guides[fingerprint(network)] = f"{self.distance} chose t_edit and t_boost"
        images = first_faces(trainer, "train", self.images, method.device).image
        curves = measure(method.backbone, method.grid, images, network).mean
        if trainer.is_global_zero:
            folder = run_folder(trainer)
            intervals.write_tsv(folder / "LPIPS_distance_x0_t.tsv", curves.p)
            intervals.write_tsv(folder / "LPIPS_distance_x.tsv", curves.x)
        return curves
