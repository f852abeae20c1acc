"""What a test finds and what strengths are chosen reach Lightning's own places."""

import csv
from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.loggers import CSVLogger

from hsl.callbacks import Evaluate, Strength
from runs import asyrp, faces, saved_backbone, trainer


class Watching(L.Callback):
    """Notes what other callbacks may see at the end of a test."""

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seen = {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def logged(folder: Path, prefix: str) -> dict[str, float]:
    rows = list(csv.DictReader((folder / "lightning_logs" / "version_0" / "metrics.csv").open()))
    return {
        name: float(value)
        for row in rows
        for name, value in row.items()
        if name.startswith(prefix) and value
    }


def numbers(figures: dict, prefix: str) -> dict[str, float]:
    costs = ("seconds", "peak_memory_mb")
    return {
        prefix + name: pytest.approx(value, rel=1e-5, nan_ok=True)
        for name, value in figures.items()
        if isinstance(value, int | float) and name not in costs
    }


def test_one_direction(backbone: str, tmp_path: Path) -> None:
    watching, evaluate = Watching(), Evaluate(resize=True)
    method = asyrp(backbone, zero_init=False)
    run = trainer(tmp_path, evaluate, watching, logger=CSVLogger(tmp_path))
    (returned,) = run.test(method, datamodule=faces(3), verbose=False)
    expected = numbers(evaluate.summary, "test/")
    assert expected.keys() >= {"test/effect", "test/leakage", "test/s_dir", "test/strength"}
    assert returned == expected and watching.seen == expected
    assert logged(tmp_path, "test/") == expected


def test_several_directions(backbone: str, tmp_path: Path) -> None:
    """Each has figures of its own, under its name, though one of them has none: no image lacks
    it."""
    method = asyrp(backbone, attribute=["Smiling", "Not_Smiling"])
    evaluate = Evaluate(resize=True)
    run = trainer(tmp_path, evaluate)
    (returned,) = run.test(method, datamodule=faces(3), verbose=False)
    assert returned == numbers(evaluate.summary, "test/Smiling/")


def test_the_chosen_strength(backbone: str, tmp_path: Path) -> None:
    method = asyrp(backbone, attribute=["Smiling", "Young"])
    tried = Strength(strengths=[0.5, 2.0], share=1.0, images=2, resize=True)
    run = trainer(tmp_path, tried, logger=CSVLogger(tmp_path), epochs=2)
    run.fit(method, datamodule=faces(4))
    expected = {f"strength/{name}": value for name, value in method.strengths.items()}
    assert expected.keys() == {"strength/Smiling", "strength/Young"}
    assert {name: float(run.callback_metrics[name]) for name in expected} == expected
    assert logged(tmp_path, "strength/") == expected
