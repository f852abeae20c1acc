"""A run's progress in a log."""

from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from hsl import progress
from hsl.train import lines
from hsl.train.lines import EpochLines


class Slow(L.LightningModule):
    """Each batch takes 20 seconds by a clock of its own."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self.weight, self.clock = torch.nn.Parameter(torch.zeros(1)), clock

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.clock[0] += 20
        return self.weight.sum()

    def test_step(self, batch: torch.Tensor) -> None:
        self.clock[0] += 20

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    for module in (progress, lines):
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.delenv("HSL_PROGRESS", raising=False)
    return now


def ran(clock: list[float], folder: Path, **limits: int) -> None:
    trainer = L.Trainer(
        default_root_dir=folder, logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[EpochLines()], **limits,
    )  # fmt: skip
    loader, module = DataLoader(torch.zeros(3, 1)), Slow(clock)
    trainer.fit(module, loader)
    trainer.test(module, loader, verbose=False)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines of ours on stderr, where others warn."""
    ours = ("training", "testing")
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(ours)]


def test_a_line_an_epoch_with_the_time_left(clock, tmp_path: Path, capsys) -> None:
    ran(clock, tmp_path, max_epochs=2)
    assert said(capsys) == [
        "training: epoch 1/2",
        "training: epoch 1/2, batch 2/3, 1 min 20 s left",
        "training: epoch 2/2, 1 min 0 s left",
        "training: epoch 2/2, batch 2/3, 20 s left",
        "testing: 0/3",
        "testing: 2/3, 20 s left",
    ]


def test_the_end_may_be_told_in_steps(clock, tmp_path: Path, capsys) -> None:
    ran(clock, tmp_path, max_epochs=-1, max_steps=5)
    assert said(capsys)[:3] == [
        "training: epoch 1",
        "training: epoch 1, batch 2/3, 1 min 0 s left",
        "training: epoch 2, 40 s left",
    ]


@pytest.mark.parametrize("why", ["told", "terminal"])
def test_silence(why: str, clock, tmp_path: Path, capsys, monkeypatch) -> None:
    if why == "told":
        monkeypatch.setenv("HSL_PROGRESS", "0")
    else:
        monkeypatch.setattr(lines, "is_terminal", lambda: True)
    ran(clock, tmp_path, max_epochs=1)
    assert said(capsys) == []
