"""What the README and the notebooks show works as it stands."""

import base64
import inspect
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import lightning as L
import nbformat
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

from hsl import convert
from hsl.__main__ import main as hsl_main
from hsl.backbones import load
from hsl.callbacks import Evaluate, Strength
from hsl.data.folder import ImagesDataModule
from hsl.data.images import save_image
from hsl.data.toyfaces import ToyFaces, ToyFacesDataModule
from hsl.directions import ImplicitFunction
from hsl.methods.asyrp import Asyrp
from hsl.methods.linear import Linear
from hsl.train.checkpoints import Checkpoints
from originals import ADM
from readme import README, blocks, quick

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the README's examples find what they read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HSL_PROGRESS", "0")
    save_image("face.png", ToyFaces("test", 1).images[0])
    return tmp_path


def lines(code: str) -> int:
    """Of what is done; imports, blank lines and comments do not count."""
    return len([x for x in code.splitlines() if x and not x.startswith(("import", "from", "#"))])


def test_the_five_lines_do_what_the_command_does(folder: Path) -> None:
    (code,) = [code for code in blocks("python") if "Editor" in code]
    assert lines(code) < 5
    exec(compile(code, "README.md", "exec"), {})
    (command,) = re.findall(r"`hsl (edit face\.png [^`]*)`", README)
    assert hsl_main([*shlex.split(command), "--out", "command", "--device", "cpu"]) == 0
    for name in ("face.png", "strip.png"):
        written = (folder / "smiling" / name).read_bytes()
        assert written == (folder / "command" / name).read_bytes()


@pytest.mark.slow
def test_the_ten_lines_do_what_the_command_does(folder: Path) -> None:
    """Of fewer faces, for fewer epochs; in processes of their own, as a user has it."""
    (code,) = [code for code in blocks("python") if "Trainer" in code]
    assert lines(code) <= 10
    done = subprocess.run(
        [sys.executable, "-c", quick(code)], capture_output=True, text=True, check=True
    )
    words = "--data.train 8 --data.validation 8 --data.test 8 --trainer.max_epochs 1 --name command"
    command = [sys.executable, "-m", "hsl", "train", "fit", *words.split(), "--wandb", "disabled"]
    subprocess.run(command, capture_output=True, check=True)
    by_python, by_command = folder / "runs" / "python", folder / "runs" / "command"
    for name in ("directions/Smiling.safetensors", "images.csv", "LPIPS_distance_x.tsv"):
        assert (by_python / name).read_bytes() == (by_command / name).read_bytes(), name
    effect = json.loads((by_command / "summary.json").read_text())["effect"]
    assert f"{effect:.4f}" in done.stdout.replace("tensor(", "")


def test_released_functions_are_directions(folder: Path) -> None:
    (code,) = [code for code in blocks("python") if "export_asyrp" in code]
    ImplicitFunction(64, 32).export_asyrp("smiling_LC_CelebA_HQ_t999_ninv40_ngen40_0.pth")
    exec(compile(code, "README.md", "exec"), {})
    assert (folder / "copy.pth").stat().st_size > 500


def test_the_conversions_of_the_readme(tmp_path: Path, monkeypatch, capsys) -> None:
    """A file of the shapes in question is converted; the other commands' files are not here."""
    monkeypatch.chdir(tmp_path)
    net = ADM(32, (1, 2), 1, [32], 64, True, True, True, head_channels=32, new_order=True)
    torch.save(net.state_dict(), "model.pt")
    commands = re.findall(r"^    hsl convert (.*)$", README, flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        there = Path(command.split()[0]).exists()
        assert convert.main(shlex.split(command)) == (0 if there else 2)
        if not there:
            assert "no such file" in capsys.readouterr().err
    assert load("weights/mine").image_size == 64


def test_every_command_of_the_readme_is_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for name in re.findall(r"make ([a-z-]+)", README):
        assert name in targets
    verbs = set(re.findall(r"(?:^    |`)(?:python -m )?hsl[ .](\w+)", README, flags=re.MULTILINE))
    commands = {v for v in verbs if (ROOT / "hsl" / v / "__main__.py").exists()}
    assert {"train", "edit", "study", "data", "store", "convert"} <= commands
    for name in re.findall(r"--config (\w+/\w+)[`\s]", README):
        assert (ROOT / "configs" / f"{name}.yaml").exists() or name.startswith("runs/"), name
    for path in re.findall(r"configs/[\w/]+\.yaml", README):
        assert (ROOT / path).exists()


def test_every_option_of_the_readme_is_one() -> None:
    """Of the methods, data modules and callbacks: by their constructors."""
    known = {
        "model": {**parameters(Asyrp), **parameters(Linear)},
        "data": {**parameters(ToyFacesDataModule), **parameters(ImagesDataModule)},
        "strength": parameters(Strength), "evaluate": parameters(Evaluate),
        "checkpoints": parameters(Checkpoints), "trainer": parameters(L.Trainer),
    }  # fmt: skip
    options = re.findall(r"--(\w+)\.(\w+)", README)
    assert len(options) > 20
    unknown = [o for o in options if o[0] in known and o[1] not in known[o[0]]]
    assert not unknown


def parameters(kind: type) -> dict[str, object]:
    """Of a class, and of its bases, to which it may pass them on."""
    return {k: v for base in kind.__mro__ if "__init__" in vars(base)
            for k, v in inspect.signature(base).parameters.items()}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=ROOT)
    drawing = [c for c in notebook.cells if re.search(r"\n(draw_grid|editor\.edit)\(", c.source)]
    assert len(drawing) == 3
    for cell in drawing:
        (shown,) = (output.data for output in cell.outputs if "data" in output)
        with Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))) as picture:
            assert min(picture.size) > 200 and len(picture.convert("L").getcolors()) > 100
