"""Measures edits of held-out images, by judges alone."""

import resource
import sys
import time
from typing import Any, ClassVar

import lightning as L
import torch

from hsl import ranks
from hsl.bundled import BUNDLED
from hsl.callbacks.common import lacking, log_figures, method_of, run_folder
from hsl.data.texts import bundled_templates
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.clip import Clip
from hsl.encoders.perceptual import PerceptualDistance
from hsl.encoders.roles import fingerprint, require_judge
from hsl.errors import HslError
from hsl.methods.base import Method
from hsl.methods.surroundings import why_unsuited
from hsl.metrics import (
    AttributeChange,
    CounterfactualError,
    DirectionalSimilarity,
    PerSample,
    Reconstruction,
)
from hsl.metrics.base import NothingMeasured
from hsl.tables import figure_rows, print_table, write_csv, write_json
from hsl.types import Batch, attribute_and_value


class Evaluate(L.Callback):
    """Judges every edit of ``trainer.test`` and writes ``summary.json``, and, image by image,
    ``images.csv``. Images that have the attribute by their labels are left out. The figures that
    are numbers are logged as well: ``test/effect``, with several directions ``test/NAME/effect``.

    Where the data know the true counterfactual, the distance to it is measured; on other data what
    needs it is left out. What a judge is not for (by its file, such as images of another size) it
    does not measure: one line says so. With several directions, one summary is nested under
    each name.

    Args:
        attributes: name for `AttributeClassifier.load`; None: no attribute figures.
        distance: name for `PerceptualDistance.load`; used where counterfactuals are known.
        clip: name for `Clip.load`; used where the method goes between texts.
        templates: sentences with one ``{}``; None: the bundled ones.
        resize: let judges that are for images of one size alone measure others, resized to it.

    Raises:
        HslError: a guide. When testing begins: a judge with the weights of a network that had a
            part in the edits.
    """

    #: What each judge measures.
    MEASURES: ClassVar[dict[str, str]] = {
        "attributes": "effect, kept and leakage",
        "distance": "the distance to the true counterfactual",
        "clip": "S_dir",
    }

    def __init__(
        self,
        attributes: str | None = BUNDLED.judge,
        distance: str | None = BUNDLED.judge,
        clip: str | None = BUNDLED.judge,
        templates: list[str] | None = None,
        resize: bool = False,
    ) -> None:
        self.started = time.perf_counter()
        self.attributes = AttributeClassifier.load(attributes, resize) if attributes else None
        self.distance = PerceptualDistance.load(distance, resize=resize) if distance else None
        self.clip = Clip.load(clip, role="judge", resize=resize) if clip else None
        self.names = {"attributes": attributes, "distance": distance, "clip": clip}
        for network in self._judges().values():
            require_judge(network, "evaluation")
        self.resize = resize
        self.templates = list(bundled_templates()) if templates is None else templates
        if not self.templates or not all("{}" in template for template in self.templates):
            raise HslError("evaluate: templates: want one or several sentences, each with {}")
        self.metrics: dict[str, dict[str, PerSample]] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.summary: dict[str, Any] = {}

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make the metrics that can be measured for this method and data."""
        method = method_of(pl_module)
        size = None if self.resize else method.backbone.image_size
        for option, judge in self._judges().items():
            if role := method.guides.get(fingerprint(judge)):
                raise HslError(f"{role}; it cannot also measure the edits: give another judge by "
                               f"--evaluate.{option}, or null")  # fmt: skip
            if reason := why_unsuited(judge, trainer, size):
                setattr(self, option, None)
                ranks.warn(f"not measured: {self.MEASURES[option]}; {self.names[option]} "
                               f"{reason}. Give a judge of such images by --evaluate.{option}, "
                               "or null")  # fmt: skip
        self.metrics = {name: self._metrics(trainer, method, name) for name in method.directions}
        for metrics in self.metrics.values():
            for metric in metrics.values():
                metric.to(method.device)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure one batch of edits."""
        method = method_of(pl_module)
        rebuilt = method.edit_images(batch.image, batch.index)
        for name, metrics in self.metrics.items():
            rows = lacking(trainer, batch, name)
            if not bool(rows.any()):
                continue
            images, index, reconstruction = batch.image[rows], batch.index[rows], rebuilt[rows]
            edited = outputs[name]["edited"][rows]
            for kind, metric in metrics.items():
                if kind == "reconstruction":
                    metric.update(images, reconstruction, index)
                elif kind == "counterfactual":
                    data = trainer.datamodule  # type: ignore[attr-defined]
                    target, value = attribute_and_value(name)
                    truth = data.counterfactual(index, "test", **{target: value}).to(images)
                    floor = method.edit_images(truth, index)
                    metric.update(images, edited, truth, floor, index)
                else:
                    metric.update(images, edited, index)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compute the figures and log them, the same on all ranks."""
        method = method_of(pl_module)
        self.results = {}
        for name in self.metrics:
            try:
                self.results[name] = self._figures(method, name)
            except NothingMeasured:  # raised on every rank, as a metric gathers from all
                ranks.warn(f"{name}: no test image lacks it; nothing to measure")
        if not self.results:
            raise HslError("no image was measured: the test set is empty, or every image in it "
                           "has the attribute already")  # fmt: skip
        log_figures(pl_module, "test", self.results, several=len(self.metrics) > 1)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the summary and print a table."""
        results, rows = self.results, [row for name in self.results for row in self._rows(name)]
        self.summary = next(iter(results.values())) if len(results) == 1 else results
        if trainer.is_global_zero:
            for name, figures in results.items():
                print_table(f"{name}: {figures['images']} held-out images", figure_rows(figures))
            write_json(run_folder(trainer) / "summary.json", self.summary)
            write_csv(run_folder(trainer) / "images.csv", rows)

    def _judges(self) -> dict[str, AttributeClassifier | PerceptualDistance | Clip]:
        """The judges that there are, by option."""
        networks = {option: getattr(self, option) for option in self.MEASURES}
        return {option: network for option, network in networks.items() if network is not None}

    def _figures(self, method: Method, name: str) -> dict[str, Any]:
        """What was measured of one direction."""
        about = method.about(name)
        figures: dict[str, Any] = {
            "direction": name,
            "t_edit": about["t_edit"],
            "t_boost": about["t_boost"],
            "strength": method.strengths.get(name, 1.0),
        }
        for kind, metric in self.metrics[name].items():
            measured = metric.compute()
            figures["images"] = measured.pop("images")
            over = measured.pop("ci_over")
            figures |= {_prefix(kind) + k: v for k, v in measured.items()} | {"ci_over": over}
        return figures | {
            "seconds": round(time.perf_counter() - self.started, 1),
            "peak_memory_mb": peak_memory_mb(),
        }

    def _rows(self, name: str) -> list[dict[str, Any]]:
        """A row for each image: the values whose means are the figures, under the same names."""
        columns: dict[str, list[Any]] = {}
        for kind, metric in self.metrics[name].items():
            table = metric.table()
            columns["index"] = table.pop("index").tolist()
            columns |= {_prefix(kind) + k: (v * 1).tolist() for k, v in table.items()}
        values = zip(*columns.values(), strict=True)
        return [{"direction": name} | dict(zip(columns, row, strict=True)) for row in values]

    def _metrics(self, trainer: L.Trainer, method: Method, name: str) -> dict[str, PerSample]:
        metrics: dict[str, PerSample] = {}
        target, value = attribute_and_value(name)
        if self.attributes is not None and target in self.attributes.names:
            metrics["attributes"] = AttributeChange(self.attributes, target, value)
            metrics["reconstruction"] = Reconstruction(self.attributes)
        else:
            metrics["reconstruction"] = Reconstruction()
        data = getattr(trainer, "datamodule", None)
        if self.distance is not None and target in getattr(data, "counterfactuals", ()):
            metrics["counterfactual"] = CounterfactualError(self.distance)
        texts = method.texts_of(name)
        if self.clip is not None and texts is not None:
            metrics["s_dir"] = DirectionalSimilarity(self.clip, *texts, self.templates)
        return metrics


def _prefix(kind: str) -> str:
    """What the names of a metric's figures begin with."""
    return "reconstruction_" if kind == "reconstruction" else ""


def peak_memory_mb() -> int:
    """Peak resident memory of this process, or of the GPU where one was used, in MB (2^20)."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
