"""What every test shares. The environment is set before any library reads it."""

import os
import signal

# where the tests run in the background or by nohup, these are ignored, by the processes that they
# start as well
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("MPLBACKEND", "Agg")

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def golden_roots() -> list[Path]:
    """Where the released code's recorded outputs may lie: ``HSL_GOLDEN`` alone if it is set."""
    if named := os.environ.get("HSL_GOLDEN"):
        return [Path(named)]
    return [ROOT.parent / "shared" / "golden", ROOT / "tests" / "golden"]


@pytest.fixture(scope="session")
def golden_dir() -> Callable[[str], Path]:
    """``golden_dir("haas")``: the folder of that name; the test is skipped where there is none."""

    def find(name: str) -> Path:
        for root in golden_roots():
            if (root / name).is_dir():
                return root / name
        looked = ", ".join(str(root) for root in golden_roots())
        pytest.skip(f"no golden outputs {name!r} in {looked}: set HSL_GOLDEN to their folder")

    return find


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is written into the user's cache."""
    os.environ["HSL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is not printed."""
    monkeypatch.setenv("HSL_PROGRESS", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_gpu = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "golden_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("golden")
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(no_gpu)
