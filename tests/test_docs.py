"""What the README and the notebooks show works as it stands."""

import base64
import io
import re
import shlex
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

from hsl import convert
from hsl.backbones import load
from hsl.data.images import save_image
from hsl.data.toyfaces import ToyFaces
from hsl.directions import ImplicitFunction
from originals import ADM

ROOT = Path(__file__).resolve().parents[1]


def readme(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_image("face.png", ToyFaces("test", 1).images[0])
    released = "smiling_LC_CelebA_HQ_t999_ninv40_ngen40_0.pth"
    ImplicitFunction(64, 32).export_asyrp(released)
    for code in readme("python"):
        assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
        exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "smiling.png").stat().st_size > 500
    assert (tmp_path / "copy.pth").stat().st_size > 500


def test_the_conversions_of_the_readme(tmp_path: Path, monkeypatch, capsys) -> None:
    """A file of the shapes in question is converted; the other commands' files are not here."""
    monkeypatch.chdir(tmp_path)
    net = ADM(32, (1, 2), 1, [32], 64, True, True, True, head_channels=32, new_order=True)
    torch.save(net.state_dict(), "model.pt")
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^    python -m hsl\.convert (.*)$", text, flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        there = Path(command.split()[0]).exists()
        assert convert.main(shlex.split(command)) == (0 if there else 2)
        if not there:
            assert "no such file" in capsys.readouterr().err
    assert load("weights/mine").image_size == 64


def test_every_command_of_the_readme_is_a_target_or_a_module() -> None:
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for name in re.findall(r"make ([a-z-]+)", text):
        assert name in targets
    for module in re.findall(r"python -m hsl\.(\w+)", text):
        places = (ROOT / "hsl" / f"{module}.py", ROOT / "hsl" / module / "__main__.py")
        assert any(place.exists() for place in places)
    for path in re.findall(r"configs/[\w/]+\.yaml", text):
        assert (ROOT / path).exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=ROOT)
    drawing = [cell for cell in notebook.cells if "\ndraw_grid(" in cell.source]
    assert drawing
    for cell in drawing:
        (shown,) = (output.data for output in cell.outputs if "data" in output)
        with Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))) as picture:
            assert min(picture.size) > 200 and len(picture.convert("L").getcolors()) > 100
