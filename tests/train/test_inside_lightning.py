"""What hsl takes of Lightning that Lightning does not promise: is it still there?

Where one of these fails after an update, hsl/train/inside_lightning.py has to find another way, or
pyproject.toml to keep the older version.
"""

import ast
import importlib
import inspect
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies import DDPStrategy

from hsl.train import inside_lightning
from runs import asyrp, faces, saved_backbone, trainer

ROOT = Path(__file__).resolve().parents[2]
LOOP = "lightning.pytorch.loops.fit_loop:_FitLoop"
SIGNALS = "lightning.pytorch.trainer.connectors.signal_connector:_SignalConnector"
LAUNCHER = "lightning.pytorch.strategies.launchers.subprocess_script:_SubprocessScriptLauncher"
RESULTS = "lightning.pytorch.trainer.connectors.logger_connector.result:_ResultCollection"


@pytest.mark.parametrize(
    "name",
    [f"{LOOP}.skip", f"{LOOP}.setup_data", f"{LOOP}.run", f"{SIGNALS}._sigterm_notifier_fn",
     f"{SIGNALS}.register_signal_handlers", f"{RESULTS}.metrics", f"{RESULTS}.items",
     "lightning.pytorch.trainer.trainer:Trainer._results"],
)  # fmt: skip
def test_lightning_still_has(name: str) -> None:
    module, _, path = name.partition(":")
    owner, _, field = path.partition(".")
    kind = getattr(importlib.import_module(module), owner, None)
    assert kind is not None, f"Lightning {L.__version__} has no {owner} in {module} any more"
    assert hasattr(kind, field), f"Lightning {L.__version__}: {owner} has no {field} any more"


def test_a_wandb_logger_has_what_it_begins_a_run_with(tmp_path: Path) -> None:
    logger = WandbLogger(save_dir=str(tmp_path), offline=True)
    assert hasattr(logger, "_wandb_init"), f"Lightning {L.__version__}: no _wandb_init any more"
    inside_lightning.leave_out_anonymous(logger)
    assert "anonymous" not in logger._wandb_init


@pytest.mark.parametrize("field", ["fit_loop", "_signal_connector"])
def test_a_trainer_is_given_ours_by_its_field(field: str) -> None:
    plain = L.Trainer(accelerator="cpu", logger=False)
    assert hasattr(plain, field), f"Lightning {L.__version__}: Trainer has no {field} any more"
    before = type(getattr(plain, field))
    inside_lightning.take_over(plain)
    ours = getattr(plain, field)
    assert type(ours) is not before and isinstance(ours, before) and ours.trainer is plain


def test_the_limits_of_a_training_stay() -> None:
    limits = {"max_epochs": 3, "min_epochs": 2, "max_steps": 7, "min_steps": 1}
    plain = L.Trainer(accelerator="cpu", logger=False, **limits)
    inside_lightning.take_over(plain)
    assert {name: getattr(plain, name) for name in limits} == limits


def test_a_launcher_has_the_list_of_its_processes() -> None:
    run = L.Trainer(accelerator="cpu", devices=2, strategy=DDPStrategy(), logger=False)
    owner = importlib.import_module(LAUNCHER.partition(":")[0])._SubprocessScriptLauncher
    assert isinstance(run.strategy.launcher, owner)
    assert inside_lightning.started(run) is run.strategy.launcher.procs, (
        f"Lightning {L.__version__}: the launcher has no list procs any more"
    )


class Sums(L.Callback):
    """Takes down the sums of an epoch after each batch, and what is due at its end."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.sums = inside_lightning.sums(trainer)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.due = inside_lightning.due(trainer, on_step=False)
        doubled = {name: dict(parts) for name, parts in self.sums.items()}
        inside_lightning.add_sums(trainer, doubled)
        assert not doubled, f"Lightning {L.__version__}: sums are kept under other names"
        self.added = inside_lightning.sums(trainer)


def test_the_sums_behind_an_epochs_means(tmp_path: Path) -> None:
    """Of ``_ResultMetric``: value, cumulated_batch_size, is_tensor and its meta."""
    watching = Sums()
    method = asyrp(saved_backbone(tmp_path / "backbone"))
    trainer(tmp_path, watching).fit(method, datamodule=faces(3))
    key = next(name for name in watching.sums if name.endswith("train/loss"))
    value, count = watching.sums[key]["value"], watching.sums[key]["count"]
    assert count == 3 and float(value / count) == pytest.approx(watching.due["train/loss"])
    assert torch.equal(watching.added[key]["value"], 2 * value)
    assert watching.added[key]["count"] == 6


def test_nothing_else_takes_what_is_not_promised() -> None:
    """No other file imports a private name of Lightning's, or reads a trainer's private field."""
    for path in (ROOT / "hsl").rglob("*.py"):
        if path.name == Path(inspect.getfile(inside_lightning)).name:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lightning"):
                assert not [a.name for a in node.names if a.name.startswith("_")], path
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("trainer"):
                assert not node.attr.startswith("_"), (path, node.lineno)
            assert getattr(node, "attr", "") != "__class__", (path, node.lineno)
