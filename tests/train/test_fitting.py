"""``hsl.fit`` and ``hsl.evaluate`` do what ``hsl train fit`` and ``test`` do."""

import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from hsl.backbones import load
from hsl.callbacks import Evaluate, Intervals, Strength
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.directions import Boundary, Direction, Shift
from hsl.errors import HslError
from hsl.methods.asyrp import Asyrp
from hsl.methods.base import Method
from hsl.methods.linear import Linear
from hsl.methods.saved import Saved
from hsl.train.fitting import evaluate, fit
from runs import Place, faces, saved_backbone
from test_train import SMALL, call, environment

__all__ = ["environment"]
QUIET: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
#: What is measured of the process, not of the images.
PASSING = ("seconds", "peak_memory_mb")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("fitting")
    return Place(root, saved_backbone(root / "backbone"), SMALL)


@pytest.fixture(autouse=True)
def brings(monkeypatch) -> None:
    monkeypatch.setattr(Method, "brings_callbacks", True)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row of figures, as JSON has it."""
    return json.loads(json.dumps({k: v for k, v in row.items() if k not in PASSING}))


def test_asyrp(place: Place, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = call(place.arguments("fit", "asyrp"))
    assert status == 0, err
    run = place.runs / "asyrp"
    L.seed_everything(0, verbose=False)
    method = Asyrp(backbone=place.backbone, steps=6, t_edit=300, t_boost=100, t_start=None)
    data = faces(4, validation=3, test=3)
    own = [Intervals(images=2), Strength(strengths=[0.5, 1.5], resize=True)]
    fit(method, data, tmp_path / "run", max_epochs=1, callbacks=own, **QUIET)
    saved = tmp_path / "run" / "directions" / "Smiling.safetensors"
    assert saved.read_bytes() == (run / "directions" / "Smiling.safetensors").read_bytes()
    judges = {"callbacks": [Evaluate(resize=True)]} | QUIET
    (row,) = evaluate(method, data, **judges)
    summary = plain(json.loads((run / "summary.json").read_text()))
    assert plain(row) == summary
    again = Saved(str(saved), backbone=place.backbone, steps=6)
    (row,) = evaluate(again, faces(4, validation=3, test=3), **judges)
    assert plain(row) == summary
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # nothing besides


def test_linear(place: Place, tmp_path: Path) -> None:
    options = {"steps": 6, "timesteps": [200, 600], "attributes": ["Smiling"], "t": 600}
    method = Linear(backbone=place.backbone, **options)
    data = faces(20, validation=10, test=3, where={})
    assert fit(method, data, tmp_path / "run", callbacks=Strength(guide=None), **QUIET) is method
    judges = {"callbacks": [Evaluate(resize=True)]} | QUIET
    rows = evaluate(method, data, tmp_path / "test", **judges)
    assert {path.name for path in (tmp_path / "test").iterdir()} == {
        "summary.json", "images.csv", "grid.png",
    }  # fmt: skip
    again = Saved(tmp_path / "run/directions/Smiling.safetensors", backbone=place.backbone, steps=6)
    assert again.grid == method.grid
    assert plain(evaluate(again, data, **judges)[0]) == plain(rows[0])


def test_what_saved_directions_refuse(tmp_path: Path) -> None:
    smile = Direction.load("Smiling")
    with pytest.raises(HslError, match="fitted already"):
        fit(Saved(smile), ToyFacesDataModule(train=2), tmp_path, **QUIET)
    with pytest.raises(HslError, match="did you mean Smiling"):
        Saved("Smilling")
    with pytest.raises(HslError, match="different names"):
        Saved([smile, "Smiling"])
    with pytest.raises(HslError, match="no direction 'Male'"):
        Saved(smile, strengths={"Male": 1.0})
    with pytest.raises(HslError, match="does not say t_edit"):
        Saved(zeros())
    assert Saved(zeros(), t_edit=500).edit("direction").t_edit == 500
    with pytest.raises(HslError, match="one by one"):
        Saved([smile, Boundary.load("Male")])


def test_several_saved_directions_are_edits_of_their_own() -> None:
    method = Saved(["Smiling", "Eyeglasses"], strengths={"Smiling": 0.5})
    assert method.edit("Smiling").strength == 0.5 and method.attribute is None
    own = Direction.load("Eyeglasses").about
    assert method.edit("Eyeglasses").t_edit == own["t_edit"]
    assert method.about("Eyeglasses")["strength"] == own["strength"]


def zeros() -> Shift:
    """A direction that says nothing of itself."""
    return Shift(torch.zeros(load("toyfaces").h_shape))
