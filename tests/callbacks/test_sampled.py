"""Images sampled by seed: from the data module's seeds to batches."""

from pathlib import Path

import pytest
import torch

from hsl import edit
from hsl.callbacks.sampled import Sampled, render
from hsl.data.images import load_images
from hsl.data.sampled import FIRST, SampledDataModule
from hsl.errors import HslError
from hsl.process import SeededNoise
from runs import asyrp, saved_backbone, trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def test_seeds_without_a_backbone_are_refused() -> None:
    data = SampledDataModule(train=3, validation=1, test=1)
    with pytest.raises(HslError, match=r"--trainer.callbacks\+=hsl.callbacks.sampled.Sampled"):
        next(iter(data.train_dataloader()))
    with pytest.raises(HslError, match="test is -1"):
        SampledDataModule(test=-1)


def test_batches_are_rendered(folder: str, tmp_path: Path) -> None:
    data = SampledDataModule(train=5, validation=2, test=3, batch_size=2)
    method = asyrp(folder, cache=str(tmp_path / "cache"))
    run = trainer(tmp_path, Sampled(batch=2))
    run.predict(method, datamodule=data)
    batches = list(data.predict_dataloader())
    wanted = [FIRST[split] + i for split, n in data.counts.items() for i in range(n)]
    assert torch.cat([b.index for b in batches]).tolist() == wanted and len(wanted) == 10
    images = torch.cat([b.image for b in batches])
    assert images.shape == (10, 3, 8, 8) and images.abs().max() <= 1
    assert batches[0].labels.shape == (2, 0) and batches[0].path == ["seed/0", "seed/1"]
    # a batch of another size changes nothing, and the cache holds what was rendered
    again = render(asyrp(folder), torch.tensor([4, 0]))
    torch.testing.assert_close(again, images[[4, 0]], atol=1e-5, rtol=0)
    assert torch.equal(render(method, torch.tensor([4, 0])), images[[4, 0]])


def test_what_was_sampled_is_not_inverted(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, seeds = asyrp(folder), torch.tensor([3, 8])
    images = render(method, seeds)
    monkeypatch.setattr("hsl.methods.inverting.invert", None)
    x_T = method.x_T(images)
    assert torch.equal(x_T, SeededNoise(seeds).x_T(x_T))
    assert torch.allclose(method.edit_images(images, seeds), images, atol=1e-6)


def test_seeds_are_those_of_the_edit_command(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A direction of strength 0 leaves the sample as it is."""
    method = asyrp(folder)
    direction = tmp_path / "Smiling.safetensors"
    method.directions["Smiling"].save(direction, **method.about("Smiling"))
    out = tmp_path / "out"
    arguments = ["--seeds", "0-2", "--direction", f"{direction}=0", "--backbone", folder]
    assert edit.main([*arguments, "--steps", "6", "--t-boost", "0", "--out", str(out)]) == 0
    edited, names = load_images([out / f"seed{i}.png" for i in range(3)], 8)
    sampled = render(method, torch.arange(3))
    assert (sampled - edited).abs().max() <= 1.01 / 127.5 and len(names) == 3
