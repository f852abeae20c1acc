"""One rank and two fit the same boundaries, come to the same figures and edit alike."""

import sys
from pathlib import Path

import pytest
import torch

from hsl.callbacks import Mixing
from hsl.methods.linear import Linear
from runs import alone_and_in_two, faces, trainer

FACES = 25  # odd: two ranks share 26, one of them twice
HELD_OUT = 13
NAMES = ["Male", "Smiling", "Young"]
pytestmark = pytest.mark.slow


class Kept(Linear):
    """Keeps each rank's edits of test images as a file."""

    def test_step(self, batch, batch_idx):
        found = super().test_step(batch, batch_idx)
        if not self.trainer.testing:  # validation edits, too
            return found
        edited = torch.stack([found[name]["edited"] for name in NAMES], dim=1)
        name = f"edits-{self.trainer.global_rank}-{batch_idx}.pt"
        torch.save((batch.index, edited), Path(self.trainer.default_root_dir) / name)
        return found


def run(folder: Path, backbone: str, ranks: int) -> None:
    """Fit, choose the mixing step, measure by both ways, edit."""
    method = Kept(backbone=backbone, steps=6, timesteps=[200, 600], attributes=NAMES,
                  cache=str(folder / "cache"))  # fmt: skip
    where = {"validation": {}, "test": {}}
    data = faces(FACES, where=where, validation=HELD_OUT, test=5, batch_size=4 // ranks)
    spread = {"devices": ranks, "strategy": "ddp" if ranks > 1 else "auto"}
    fitting = trainer(folder, Mixing(), limit_val_batches=1.0, **spread)
    fitting.fit(method, datamodule=data)
    chosen = method.figures
    fitting.validate(method, datamodule=data, verbose=False)
    fitting.test(method, datamodule=data, verbose=False)
    kept = {
        "directions": method.directions.state_dict(),
        "figures": {str(k): list(v) for k, v in method.figures.items()},
        "chosen": {str(k): list(v) for k, v in chosen.items()},
        "t": method.t,
    }
    torch.save(kept, folder / f"rank-{fitting.global_rank}.pt")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """What one rank wrote, in this process, and what two wrote."""
    return alone_and_in_two(tmp_path_factory.mktemp("ranks"), __file__, run)


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def test_boundaries(folders: tuple[Path, Path]) -> None:
    one = load(folders[0] / "rank-0.pt")
    assert float(one["directions"]["Male.normals.x"].flatten(1).norm(dim=1).min()) > 0.99
    for rank in (0, 1):
        two = load(folders[1] / f"rank-{rank}.pt")
        assert two["t"] == one["t"] and two["directions"].keys() == one["directions"].keys()
        for key, expected in one["directions"].items():
            assert torch.allclose(two["directions"][key], expected, atol=1e-5, rtol=1e-5), key


def test_figures(folders: tuple[Path, Path]) -> None:
    one = load(folders[0] / "rank-0.pt")
    for rank in (0, 1):
        two = load(folders[1] / f"rank-{rank}.pt")
        for part in ("chosen", "figures"):
            assert two[part].keys() == one["figures"].keys()
            for key, expected in one["figures"].items():
                assert int(expected[0][0] + expected[1][0]) == HELD_OUT
                for a, b in zip(two[part][key], expected, strict=True):
                    assert torch.allclose(a.double(), b.double(), atol=1e-5, equal_nan=True), key
    tables = [(folder / "accuracy.csv").read_text().splitlines() for folder in folders]
    assert len(tables[0]) == len(tables[1]) == 1 + 2 * 2 * len(NAMES)


def test_edits(folders: tuple[Path, Path]) -> None:
    found: list[dict[int, torch.Tensor]] = []
    for folder in folders:
        files = [load(path) for path in sorted(folder.glob("edits-*.pt"))]
        found.append({int(i): row for index, edits in files
                      for i, row in zip(index, edits, strict=True)})  # fmt: skip
    one, two = found
    assert len(one) == 5 and one.keys() == two.keys()
    assert list(folders[1].glob("edits-1-*")) and not list(folders[0].glob("edits-1-*"))
    for index, edits in one.items():
        assert torch.allclose(edits, two[index], atol=1e-5)
    assert not torch.allclose(*list(one.values())[:2], atol=1e-2)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
