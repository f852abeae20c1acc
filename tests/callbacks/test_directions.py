"""Directions are exported when a fit ends."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hsl.callbacks import Directions
from hsl.directions import Direction
from hsl.errors import HslError
from runs import asyrp, faces, saved_backbone, trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def test_an_exported_direction_loads(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder)
    method.strengths = {"Smiling": 1.25}
    trainer(tmp_path, Directions()).fit(method, datamodule=faces(2))
    assert [p.name for p in (tmp_path / "directions").iterdir()] == ["Smiling.safetensors"]
    path = tmp_path / "directions" / "Smiling.safetensors"
    loaded, trained = Direction.load(path, method.backbone), method.directions["Smiling"]
    for name, parameter in trained.named_parameters():
        assert torch.equal(parameter, loaded.get_parameter(name))
    expected = {"name": "Smiling", "strength": 1.25, "t_edit": 300, "t_boost": 100, "t_start": None,
                "method": "asyrp", "backbone_hash": method.backbone.hash}  # fmt: skip
    assert {key: loaded.about[key] for key in expected} == expected


def test_other_ranks_write_nothing(folder: str, tmp_path: Path) -> None:
    stub = SimpleNamespace(is_global_zero=False, log_dir=str(tmp_path), default_root_dir="")
    Directions().on_fit_end(stub, asyrp(folder))
    assert not list(tmp_path.iterdir())


def test_other_modules_are_refused() -> None:
    with pytest.raises(HslError, match="Linear"):
        Directions().on_fit_end(SimpleNamespace(is_global_zero=True), torch.nn.Linear(1, 1))
