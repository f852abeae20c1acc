"""Images under DDP: one rank and two see the same images in the same order."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from hsl.data.folder import ImagesDataModule
from layouts import save
from runs import trainer

ROOT = Path(__file__).resolve().parents[2]


class Seen(L.LightningModule):
    """Writes down what it is given: verb, epoch, batch, index and the sum of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.rows: list[tuple[str, int, int, int, float]] = []

    def note(self, verb: str, batch: Any, batch_idx: int) -> torch.Tensor:
        sums = batch.image.sum((1, 2, 3)).tolist()
        for index, total in zip(batch.index.tolist(), sums, strict=True):
            self.rows.append((verb, self.current_epoch, batch_idx, index, round(total, 3)))
        return self.weight * 0

    def training_step(self, batch, batch_idx):
        return self.note("fit", batch, batch_idx)

    def test_step(self, batch, batch_idx):
        self.note("test", batch, batch_idx)

    def predict_step(self, batch, batch_idx):
        self.note("predict", batch, batch_idx)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(images: Path, out: Path, ranks: int) -> None:
    """Fit, test and predict with a global batch of 4."""
    spread = {"devices": ranks, "strategy": "ddp" if ranks > 1 else "auto"}
    data = ImagesDataModule(str(images), 8, 12, 4, 4, 4 // ranks, num_workers=0, fit="random")
    module, quiet = Seen(), trainer(out, epochs=2, **spread)
    quiet.fit(module, datamodule=data)
    quiet.test(module, datamodule=data, verbose=False)
    quiet.predict(module, datamodule=data)
    (out / f"rank{quiet.global_rank}.json").write_text(json.dumps(module.rows))


def seen(folder: Path) -> list[tuple[Any, ...]]:
    """What all ranks wrote down, in order."""
    texts = [path.read_text() for path in folder.glob("*.json")]
    return sorted(tuple(row) for text in texts for row in json.loads(text))


@pytest.mark.slow
def test_one_rank_and_two_see_the_same(tmp_path: Path) -> None:
    for i in range(120):
        save(tmp_path / "images" / f"{i}.png", i)
    for ranks in ("1", "2"):
        (tmp_path / ranks).mkdir()
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        environment |= {"CUDA_VISIBLE_DEVICES": "", "HSL_PROGRESS": "0"}
        script = [sys.executable, __file__, str(tmp_path / "images"), str(tmp_path / ranks), ranks]
        subprocess.run(script, env=environment, timeout=300, check=True)
    one, two = (seen(tmp_path / ranks) for ranks in ("1", "2"))
    assert len(list((tmp_path / "2").glob("*.json"))) == 2 and len(one) == 2 * 12 + 4 + 20
    fits = [[row for row in rows if row[0] == "fit"] for rows in (one, two)]
    assert fits[0] == fits[1]  # batch by batch
    for verb in ("test", "predict"):
        images = [{row[3:] for row in rows if row[0] == verb} for rows in (one, two)]
        assert images[0] == images[1] and len(images[0]) == (4 if verb == "test" else 20)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
