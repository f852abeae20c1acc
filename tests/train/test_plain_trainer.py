"""A plain ``lightning.Trainer`` does what the command line does: a method brings its callbacks, in
an order that cannot be wrong."""

import json
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest

from hsl.callbacks import (
    Directions,
    Evaluate,
    Grids,
    Intervals,
    Mixing,
    Sampled,
    Strength,
)
from hsl.methods.asyrp import Asyrp
from hsl.methods.base import Method
from hsl.methods.linear import Linear
from hsl.methods.surroundings import brought
from runs import Place, faces, saved_backbone
from test_train import SMALL, call, environment

__all__ = ["environment"]
QUIET = {
    "accelerator": "cpu", "devices": 1, "enable_progress_bar": False,
    "enable_model_summary": False, "max_epochs": 1, "num_sanity_val_steps": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("plain")
    return Place(root, saved_backbone(root / "backbone"), SMALL)


@pytest.fixture(autouse=True)
def brings(monkeypatch) -> None:
    """As it is where no test says otherwise."""
    monkeypatch.setattr(Method, "brings_callbacks", True)


def figures(folder: Path) -> dict:
    summary = json.loads((folder / "summary.json").read_text())
    return {k: v for k, v in summary.items() if k not in ("seconds", "peak_memory_mb")}


def plain(folder: Path, method: Method, data: L.LightningDataModule, *own: L.Callback) -> list:
    """Fit and test; the callbacks that the trainer ends with."""
    trainer = L.Trainer(default_root_dir=folder, callbacks=list(own), **QUIET)
    trainer.fit(method, datamodule=data)
    trainer.test(method, datamodule=data, verbose=False)
    return trainer.callbacks


def test_asyrp(place: Place, tmp_path: Path) -> None:
    """The user's own callbacks come in another order, and some not at all; validation within the
    fit, which is Lightning's default, changes nothing."""
    intervals = {"model.init_args.t_edit": "null", "intervals.images": 2,
                 "intervals.edit_threshold": 0.001, "intervals.boost_threshold": 0.5}  # fmt: skip
    status, _, err = call(place.arguments("fit", "asyrp", **intervals))
    assert status == 0, err
    L.seed_everything(0, verbose=False)
    method = Asyrp(backbone=place.backbone, steps=6, t_boost=100, t_start=None)
    data = faces(4, validation=3, test=3)
    own = [Grids(images=2), Evaluate(resize=True), Strength(strengths=[0.5, 1.5], resize=True),
           Intervals(images=2, edit_threshold=0.001, boost_threshold=0.5)]  # fmt: skip
    callbacks = plain(tmp_path, method, data, *own)
    assert figures(tmp_path) == figures(place.runs / "asyrp")
    assert [c for c in callbacks if c in own] == list(reversed(own))
    expected = (place.runs / "asyrp" / "directions" / "Smiling.safetensors").read_bytes()
    assert (tmp_path / "directions" / "Smiling.safetensors").read_bytes() == expected
    assert (tmp_path / "grid.png").exists()


def test_linear(place: Place, tmp_path: Path) -> None:
    options = {
        "model": "hsl.methods.linear.Linear", "model.init_args.steps": 6,
        "model.init_args.timesteps": "[200,600]", "model.init_args.attributes": "[Smiling]",
        "data.init_args.where": "{}", "data.init_args.train": 20, "data.init_args.validation": 10,
    }  # fmt: skip
    small = {k: v for k, v in SMALL.items() if not k.startswith("model.")}
    status, _, err = call(place._replace(small=small).arguments("fit", "linear", **options))
    assert status == 0, err
    L.seed_everything(0, verbose=False)
    method = Linear(backbone=place.backbone, steps=6, timesteps=[200, 600], attributes=["Smiling"])
    data = faces(20, validation=10, test=3, where={})
    own = [Strength(strengths=[0.5, 1.5], resize=True), Evaluate(resize=True), Grids(images=2)]
    callbacks = plain(tmp_path, method, data, *own)
    kinds = [type(each) for each in callbacks if type(each).__module__.startswith("hsl.")]
    assert kinds == [Sampled, Mixing, Strength, Directions, Evaluate, Grids]
    assert figures(tmp_path) == figures(place.runs / "linear")
    for name in ("accuracy.csv", "directions/Smiling.safetensors"):
        assert (tmp_path / name).read_bytes() == (place.runs / "linear" / name).read_bytes()


class Own(L.Callback):
    """A callback of the user's."""


class Stricter(Evaluate):
    """A user's variant of one of ours."""


def test_the_users_own_stay_and_keep_their_order(tmp_path: Path) -> None:
    first, second = Own(), Own()
    grids, stricter = Grids(), Stricter(None, None, None)
    trainer = L.Trainer(callbacks=[grids, first, stricter, second], logger=False,
                        enable_checkpointing=False, **QUIET)  # fmt: skip
    once = brought(trainer, [Directions, Evaluate, Grids])
    assert [type(each) for each in once] == [Directions, Stricter, Grids]
    assert once[1] is stricter and once[2] is grids
    assert trainer.callbacks == [first, second]
    trainer.callbacks += once
    assert brought(trainer, [Directions, Evaluate, Grids]) == once  # as of a second verb
    assert trainer.callbacks == [first, second]


def test_a_method_may_bring_none(tmp_path: Path) -> None:
    trainer = L.Trainer(logger=False, enable_checkpointing=False, **QUIET)
    assert brought(trainer, [Directions, Grids], by_default=False) == []


def test_a_method_brings_them_unless_it_is_told_otherwise() -> None:
    """Asked in a process of its own, in which no test has said otherwise."""
    code = "from hsl.methods.asyrp import Asyrp; assert Asyrp.brings_callbacks"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("strategy", ["ddp_spawn", "fsdp"])
def test_what_would_lose_its_results_is_refused_in_one_line(place: Place, strategy: str) -> None:
    arguments = place.arguments("fit", strategy, **{"trainer.strategy": strategy})
    status, _, err = call(arguments)
    assert status == 2 and len(err) == 1 and "trainer" in err[0].lower(), err
    assert strategy == "fsdp" or "give strategy ddp" in err[0]  # without a GPU Lightning says it
    assert not (place.runs / strategy).exists()
