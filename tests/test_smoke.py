"""From released files to edited images, by the shipped configurations alone."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from hsl import convert
from hsl.data.celeba import LAST
from hsl.train import command as train
from layouts import celebamask
from originals import DDPM, reinit

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SIZE = 16


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CelebAMask-HQ of 8 images, and a random DDPM in its original layout, converted."""
    root = tmp_path_factory.mktemp("smoke")
    mapping = [1, 2, 3, 4, LAST[0] + 1, LAST[0] + 2, LAST[1] + 1, LAST[2]]
    celebamask(root / "CelebAMask-HQ", 8, size=20, mapping=mapping)
    net = DDPM(32, (1, 2), 1, [8], SIZE)
    reinit(net, 5)
    torch.save(net.state_dict(), root / "celeba.ckpt")
    facts = ["--image-size", str(SIZE), "--schedule", "linear"]
    assert convert.main([str(root / "celeba.ckpt"), str(root / "backbone"), *facts]) == 0
    return root


def run(verb: str, work: Path, *options: str, method: str = "asyrp") -> Path:
    """Run a verb of ``hsl.train`` on the files; its run folder."""
    names = (f"method/{method}", "data/celebamask_hq", "trainer/cpu")
    arguments = [
        *(f"--config={CONFIGS / name}.yaml" for name in names),
        f"--model.init_args.backbone={work / 'backbone'}",
        f"--model.init_args.cache={work / 'cache'}",
        "--model.init_args.steps=6",
        f"--data.init_args.source={work / 'CelebAMask-HQ'}",
        f"--data.init_args.size={SIZE}",
        "--data.init_args.num_workers=0",
        "--data.init_args.domain=toyfaces",  # so that the bundled CLIP and classifiers take part
        "--strength.resize=true",
        "--evaluate.resize=true",
        f"--runs={work / 'runs'}",
        f"--name={method}-{verb}",
        "--wandb=disabled",
    ]
    assert train.main([verb, *arguments, *options]) == 0
    return work / "runs" / f"{method}-{verb}"


def test_released_files_go_through(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSL_CACHE", str(work / "index"))
    monkeypatch.setenv("HSL_PROGRESS", "0")
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    run("predict", work)
    latents = list((work / "cache").rglob("*.safetensors"))
    with safe_open(latents[0], "pt") as record:
        assert len(latents) == 8 and record.get_tensor("x_T").shape == (3, SIZE, SIZE)
    times = {path: path.stat().st_mtime_ns for path in latents}

    fitted = run("fit", work, "--trainer.max_epochs=1")
    assert (fitted / "directions" / "Smiling.safetensors").is_file()
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())  # taken from there

    checkpoint = fitted / "checkpoints" / "final.ckpt"
    tested = run("test", work, f"--ckpt_path={checkpoint}")
    for folder in (fitted, tested / "test"):
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["images"] == 2 and (folder / "grid.png").stat().st_size > 1000


@pytest.mark.parametrize("method", ["svm", "mean"])
def test_boundaries_of_all_attributes(work: Path, method: str, monkeypatch) -> None:
    """Fit, validate and test; attributes that all training images share get no boundary."""
    monkeypatch.setenv("HSL_CACHE", str(work / "index"))
    monkeypatch.setenv("HSL_PROGRESS", "0")
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    few = ["--mixing.tolerance=0.5", "--strength.strengths=[1.0]", "--strength.guide=null",
           "--evaluate.attributes=null", "--evaluate.clip=null", "--grids.images=2"]  # fmt: skip
    run("predict", work, method=method)
    fitted = run("fit", work, *few, method=method)
    names = {path.stem for path in (fitted / "directions").glob("*.safetensors")}
    assert 1 < len(names) < 40
    rows = (fitted / "accuracy.csv").read_text().splitlines()
    assert len(rows) > len(names) and (fitted / "accuracy.png").stat().st_size > 1000
    checkpoint = f"--ckpt_path={fitted / 'checkpoints' / 'final.ckpt'}"
    validated = run("validate", work, *few, checkpoint, method=method)
    assert (validated / "validate" / "accuracy.csv").read_text() == (
        fitted / "accuracy.csv"
    ).read_text()
    tested = run("test", work, *few, checkpoint, method=method)
    for folder in (fitted, tested / "test"):
        measured = set(json.loads((folder / "summary.json").read_text()))
        assert measured and measured <= names  # not of attributes that both test images have
