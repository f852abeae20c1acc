"""The package as users get it: a wheel, installed where no checkout is."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

import pytest

from readme import blocks, quick

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as a build leaves its folder behind."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy2(ROOT / name, copy)
    for name in ("configs", "hsl"):
        copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", out, copy], check=True)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed; what it needs is found beside, as it is."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run([*pip, "--target", folder, wheel], check=True)
    return folder


def run(site: Path, folder: Path, *arguments: str) -> str:
    """What Python prints, in a folder where hsl is the installed one."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(site), "HSL_PROGRESS": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def hsl(site: Path, folder: Path, line: str) -> str:
    """What the console command prints."""
    return run(site, folder, str(site / "bin" / "hsl"), *line.split())


def test_the_wheel(wheel: Path) -> None:
    assert wheel.name.startswith("hspace-") and wheel.stat().st_size < 30e6
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "configs").glob("*/*.yaml"):
        assert f"hsl/{path.relative_to(ROOT).as_posix()}" in names
    assert "hsl/py.typed" in names
    assert "hsl/assets/toyfaces/directions/Smiling.safetensors" in names
    assert all(name.startswith(("hsl/", "hspace-")) for name in names)


def test_it_is_the_installed_one(site: Path, tmp_path: Path) -> None:
    said = run(site, tmp_path, "-c", "import hsl; print(hsl.__file__, hsl.__version__)").split()
    assert Path(said[0]).is_relative_to(site)
    assert (site / f"hspace-{said[1]}.dist-info").is_dir()
    assert hsl(site, tmp_path, "--version") == f"hsl {said[1]}\n"


def test_an_edit(site: Path, tmp_path: Path) -> None:
    hsl(site, tmp_path, "edit --seeds 0-1 --direction Smiling --out smiles")
    assert sorted(path.name for path in (tmp_path / "smiles").iterdir()) == [
        "seed0.png", "seed1.png", "strip.png",
    ]  # fmt: skip


FEW = "--data.train 24 --data.validation 8 --data.test 8 --model.steps 8 --wandb disabled"


def test_short_fits(site: Path, tmp_path: Path) -> None:
    short = "--trainer.max_epochs 1 --intervals.images 4 --strength.images 8 --name a"
    said = hsl(site, tmp_path, f"train fit {short} {FEW}")
    assert said.splitlines()[-1] == "runs/a"
    assert (tmp_path / "runs" / "a" / "directions" / "Smiling.safetensors").exists()
    said = hsl(site, tmp_path, f"train fit --config method/svm --model.attributes [Male] {FEW}")
    (found,) = (tmp_path / said.splitlines()[-1]).glob("directions/*.safetensors")
    assert found.stem == "Male"


def test_the_python_of_the_readme(site: Path, tmp_path: Path) -> None:
    made = (
        "from hsl.data.images import save_image; from hsl.data.toyfaces import ToyFaces\n"
        "from hsl.directions import ImplicitFunction\n"
        "save_image('face.png', ToyFaces('test', 1).images[0])\n"
        "ImplicitFunction(64, 32).export_asyrp('smiling_LC_CelebA_HQ_t999_ninv40_ngen40_0.pth')"
    )
    run(site, tmp_path, "-c", made)
    for code in blocks("python"):
        run(site, tmp_path, "-c", quick(code))
