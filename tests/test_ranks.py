"""One rank and two give the same edits, the same figures and the same training."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from hsl.callbacks import Evaluate
from hsl.methods.asyrp import Asyrp
from runs import alone_and_in_two, asyrp, faces, trainer

FACES = 5  # odd: two ranks share six, one of them twice
pytestmark = pytest.mark.slow


class Kept(Evaluate):
    """Evaluates, and keeps each rank's edits as a file."""

    def on_test_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
        super().on_test_batch_end(trainer, module, outputs, batch, batch_idx)
        name = f"rank{trainer.global_rank}-{batch_idx}.pt"
        edited = outputs["Smiling"]["edited"]
        torch.save({"index": batch.index, "edited": edited}, Path(trainer.log_dir) / name)


def run(folder: Path, backbone: str, ranks: int) -> None:
    """Edit and measure, then train."""
    spread = {"devices": ranks, "strategy": "ddp" if ranks > 1 else "auto"}
    method, alike = starting(backbone), trainer(folder, Kept(), **spread)
    alike.test(method, datamodule=faces(FACES, batch_size=2), verbose=False)
    alike.fit(method, datamodule=faces(FACES, batch_size=4 // ranks))  # batches of four and one
    if alike.is_global_zero:
        torch.save(method.directions.state_dict(), folder / "directions.pt")


def starting(backbone: str) -> Asyrp:
    """The method that every rank starts from."""
    torch.manual_seed(0)
    sgd = partial(torch.optim.SGD, lr=0.1)
    return asyrp(backbone, zero_init=False, optimizer=sgd)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """What one rank wrote, in this process, and what two wrote."""
    return alone_and_in_two(tmp_path_factory.mktemp("ranks"), __file__, run)


def edits(folder: Path) -> dict[int, torch.Tensor]:
    """Each image's edit, by its index; copies that ranks share must agree."""
    found: dict[int, torch.Tensor] = {}
    for path in sorted(folder.glob("rank*.pt")):
        part = torch.load(path, weights_only=True)
        for index, image in zip(part["index"].tolist(), part["edited"], strict=True):
            assert torch.allclose(found.get(index, image), image, atol=1e-4)
            found[index] = image
    return found


def assert_alike(one, two, where: str = "") -> None:
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            if key not in ("seconds", "peak_memory_mb"):
                assert_alike(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list):
        for i, pair in enumerate(zip(one, two, strict=True)):
            assert_alike(*pair, f"{where}[{i}]")
    elif isinstance(one, float):
        # Relative too: a PSNR of 55 dB moves by 1e-4 dB when pixels move by rounding.
        assert two == pytest.approx(one, rel=1e-4, abs=1e-4), where
    else:
        assert one == two, where


def test_edits(folders: tuple[Path, Path]) -> None:
    one, two = map(edits, folders)
    assert len(one) == FACES and one.keys() == two.keys()
    assert list(folders[1].glob("rank1*.pt")) and not list(folders[0].glob("rank1*.pt"))
    for index, image in one.items():
        assert torch.allclose(image, two[index], atol=1e-4)


def test_figures(folders: tuple[Path, Path]) -> None:
    one, two = (json.loads((folder / "summary.json").read_text()) for folder in folders)
    assert one["images"] == FACES
    assert_alike(one, two)


def test_training(folders: tuple[Path, Path]) -> None:
    one, two = (torch.load(f / "directions.pt", weights_only=True) for f in folders)
    backbone = str(folders[0].parent / "backbone")
    start = starting(backbone).directions.state_dict()
    assert one.keys() == two.keys() == start.keys()
    assert max(float((one[key] - start[key]).abs().max()) for key in one) > 1e-3
    for key in one:
        assert torch.allclose(one[key], two[key], atol=1e-5), key


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
