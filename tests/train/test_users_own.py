"""What Lightning's users give a trainer of their own works here too."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from runs import Place, saved_backbone
from test_train import SMALL, call, environment

__all__ = ["environment"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("own")
    return Place(root, saved_backbone(root / "backbone"), SMALL)


def test_callbacks_and_a_progress_bar(place: Place) -> None:
    """Short names; validation within the fit; a checkpoint kept, and a training stopped, by it."""
    arguments = place.arguments("fit", "callbacks", **{
        "model": "Asyrp", "data": "ToyFacesDataModule", "trainer.limit_val_batches": 1.0,
        "trainer.max_epochs": 9,
    })  # fmt: skip
    arguments += [
        "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/effect",
        "--trainer.callbacks.mode=max", "--trainer.callbacks.min_delta=10",
        "--trainer.callbacks.patience=1",
        "--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor=val/effect",
        "--trainer.callbacks.filename=best", "--trainer.callbacks+=TQDMProgressBar",
    ]  # fmt: skip
    status, out, err = call(arguments)
    assert status == 0, err
    folder = Path(out[-1])
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert len([row for row in rows if row["val/effect"]]) == 2
    assert [float(row["strength/Smiling"]) for row in rows if row["strength/Smiling"]]
    assert rows[-1]["test/effect"]
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    final = torch.load(folder / "checkpoints" / "final.ckpt", weights_only=True)
    assert best["state_dict"].keys() == final["state_dict"].keys()


def test_limits_precision_a_logger_and_no_bar(place: Place, monkeypatch) -> None:
    monkeypatch.delenv("HSL_PROGRESS")
    status, out, err = call(place.arguments("fit", "limits", **{
        "trainer.max_epochs": 3, "trainer.max_steps": 5, "trainer.precision": "bf16-mixed",
        "trainer.enable_progress_bar": "false", "trainer.logger": "CSVLogger",
        "trainer.logger.save_dir": place.root / "log", "trainer.logger.name": "mine",
    }))  # fmt: skip
    assert status == 0, err
    assert not [line for line in out if "━━" in line and "┏" not in line and "┡" not in line], out
    final = torch.load(Path(out[-1]) / "checkpoints" / "final.ckpt", weights_only=True)
    assert final["global_step"] == 8  # the first batch to reach it is done to its end
    (logged,) = (place.root / "log" / "mine").rglob("metrics.csv")
    assert "test/effect" in logged.read_text() and "train/loss" in logged.read_text()


def test_boundaries_by_short_names(place: Place) -> None:
    small = {k: v for k, v in SMALL.items() if not k.startswith("model.")}
    status, out, err = call(place._replace(small=small).arguments("fit", "ridge", **{
        "model": "Linear", "model.solver": "Ridge", "model.steps": 6, "model.timesteps": "[200]",
        "model.attributes": "[Smiling]", "data": "ToyFacesDataModule", "data.where": "{}",
        "data.init_args.train": 20, "data.init_args.validation": 10, "trainer.fast_dev_run": 5,
    }))  # fmt: skip
    assert status == 0, err
    assert out[-1] == "fast_dev_run: nothing is kept" and not (place.runs / "ridge").exists()


def test_every_method_and_data_module_has_a_short_name() -> None:
    """Asked in a process of its own, in which nothing but the command has imported them."""
    words = [["fit", "--model=Linear", "--data=CelebADataModule", "--data.source=x"],
             ["fit", "--model=Asyrp", "--data=ImagesDataModule", "--data.source=x"],
             ["fit", "--model=Asyrp", "--data=LsunDataModule", "--data.source=x"],
             ["test", "--model=Saved", "--model.directions=[Smiling]", "--data=SampledDataModule"],
             ]  # fmt: skip
    code = (
        "from contextlib import suppress; from hsl.train.command import main\n"
        f"for words in {words!r}:\n    with suppress(SystemExit):\n"
        "        assert main([*words, '--print_config']) == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    named = set(re.findall(r"class_path: hsl\.\S+\.(\w+)", done.stdout))
    modules = {"CelebADataModule", "ImagesDataModule", "LsunDataModule", "SampledDataModule"}
    assert {"Linear", "Asyrp", "Saved", *modules} <= named


def test_validate_measures_asyrp_on_so_many_batches(place: Place) -> None:
    few = {"trainer.limit_val_batches": 1}
    status, out, err = call(place.arguments("validate", "checked", **few))
    assert status == 0, err
    (row,) = csv.DictReader((Path(out[-1]) / "metrics.csv").open())
    assert float(row["val/images"]) == 2 and "val/effect" in row


def test_a_fit_that_validates_needs_validation_images(place: Place) -> None:
    none = {"trainer.limit_val_batches": 1.0, "data.init_args.validation": 0,
            "strength.guide": "null"}  # fmt: skip
    status, _, err = call(place.arguments("fit", "none", **none))
    assert status == 2 and len(err) == 1 and "validation is 0" in err[0]


def test_what_is_logged_is_what_is_written(place: Place) -> None:
    """The last row of the metrics has the figures of the summary."""
    status, out, err = call(place.arguments("test", "tested"))
    assert status == 0, err
    (row,) = csv.DictReader((Path(out[-1]) / "metrics.csv").open())
    figures = json.loads((Path(out[-1]) / "summary.json").read_text())
    for name in ("effect", "leakage", "s_dir", "counterfactual_error_after"):
        assert float(row[f"test/{name}"]) == pytest.approx(figures[name], rel=1e-5), name
