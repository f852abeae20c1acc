"""Options that are looked at before anything is computed or written."""

import contextlib
import io
import json
import sys
from pathlib import Path

import pytest
import torch

from hsl.callbacks import Intervals
from hsl.data.folder import ImagesDataModule
from hsl.data.toyfaces import ATTRIBUTES, ToyFacesDataModule
from hsl.errors import HslError
from hsl.methods.asyrp import Asyrp
from hsl.methods.linear import Linear
from hsl.train import command as train
from runs import Place, asyrp, faces, saved_backbone, trainer
from test_train import SMALL


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("preflight")
    return Place(root, saved_backbone(root / "backbone"), SMALL)


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    monkeypatch.setenv("HSL_RUN", "")
    monkeypatch.setenv("HSL_PROGRESS", "0")


def spec(name: str, **arguments: object) -> str:
    """A class of ``torch.optim`` with arguments, as an option has it."""
    return json.dumps({"class_path": f"torch.optim.{name}", "init_args": arguments})


WRONG = {
    "strength.batch": (0, "fit"),
    "strength.images": (0, "fit"),
    "strength.strengths": ("null", "fit"),
    "grids.images": (-1, "fit"),
    "grids.factors": ("[]", "fit"),
    "grids.factors ": ("[.nan]", "fit"),
    "intervals.images": (0, "fit"),
    "trainer.max_time": ("00:00:00:00", "fit"),
    "mixing.tolerance": ("nan", "fit"),
    "data.init_args.train": (0, "fit"),
    "data.init_args.validation": (0, "fit"),
    "data.init_args.test": (0, "fit"),
    "data.init_args.test ": (0, "test"),
    "data.init_args.size": (16, "fit"),
    "data.init_args.size ": (16, "predict"),
    "seed_everything": (-1, "fit"),
    "seed_everything ": (2**40, "test"),
    "trainer.max_epochs": (0, "fit"),
    "trainer.max_steps": (0, "fit"),
    "trainer.gradient_clip_val": (-1, "fit"),
    "trainer.limit_train_batches": (0, "fit"),
    "trainer.limit_test_batches": (0, "test"),
    "model.init_args.optimizer": ("null", "fit"),
    "model.init_args.optimizer ": (spec("SGD", lr=-1), "fit"),
    "model.init_args.optimizer  ": (spec("Adam", fused=True, foreach=True), "fit"),
    "model.init_args.optimizer   ": (spec("LBFGS"), "fit"),
    "model.init_args.optimizer    ": (spec("SparseAdam"), "fit"),
    "model.init_args.lr_scheduler": (spec("lr_scheduler.StepLR", step_size=0), "fit"),
    "model.init_args.lr_scheduler ": (spec("lr_scheduler.OneCycleLR", max_lr=1), "fit"),
    "model.init_args.lr_scheduler  ": (spec("lr_scheduler.ReduceLROnPlateau", factor=3), "fit"),
    "model.init_args.cache": ("/dev/null", "fit"),
    "model.init_args.l1_weight": ("nan", "fit"),
    "model.init_args.steps": ("null", "fit"),
}


@pytest.mark.parametrize("option", WRONG)
def test_one_line_and_nothing_written(option: str, place: Place, monkeypatch) -> None:
    def worked(*_: object) -> None:
        raise AssertionError("it was not looked at before the work")

    monkeypatch.setattr(train.HslCLI, "_run_subcommand", worked)
    value, verb = WRONG[option]
    arguments = place.arguments(verb, "wrong", **{option.strip(): value})
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        assert train.main(arguments) == 2
    (line,) = err.getvalue().splitlines()
    assert option.strip().rpartition(".")[2] in line or str(value) in line, line
    assert not place.runs.exists()


@pytest.mark.parametrize("name", ["runs", "wandb", "resume", "overwrite"])
def test_null_for_an_option_of_the_run(name: str, place: Place, tmp_path: Path, capsys) -> None:
    (tmp_path / "null.yaml").write_text(f"{name}: null\n")
    given = [a for a in place.arguments("fit", "null") if not a.startswith(f"--{name}=")]
    assert train.main([*given, "--config", str(tmp_path / "null.yaml")]) == 2
    assert f"{name} is null" in capsys.readouterr().err and not place.runs.exists()


def test_null_for_a_network_that_chooses() -> None:
    with pytest.raises(HslError, match="distance is None: want a text"):
        Intervals(distance=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "name", "arguments", "said"),
    [("callbacks", "callbacks.Timer", {"duration": "x"}, "not a valid duration"),
     ("callbacks", "callbacks.GradientAccumulationScheduler", {"scheduling": {"0": 0}}, "Got [0]"),
     ("callbacks", "callbacks.ModelCheckpoint", {"every_n_epochs": -1}, "every_n_epochs=-1"),
     ("logger", "loggers.TensorBoardLogger", {"save_dir": "x"}, "pip install")],
)  # fmt: skip
def test_what_a_library_refuses_is_one_line(
    option: str,
    name: str,
    arguments: dict[str, object],
    said: str,
    place: Place,
    monkeypatch,
    capsys,
) -> None:
    monkeypatch.setattr("lightning.fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning.fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    made = {"class_path": f"lightning.pytorch.{name}", "init_args": arguments}
    value = json.dumps([made] if option == "callbacks" else made)
    assert train.main(place.arguments("fit", "refused", **{f"trainer.{option}": value})) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not place.runs.exists()


def test_what_a_fit_does_not_need_may_be_left_out(place: Place, monkeypatch) -> None:
    """Without a guide no validation image; to fill the cache, none of those left out."""

    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr(train.HslCLI, "_run_subcommand", stop)
    none = {"data.init_args.validation": 0, "trainer.max_epochs": 1}
    with pytest.raises(Stopped):
        train.main(place.arguments("fit", "a", **none, **{"strength.guide": "null"}))
    with pytest.raises(Stopped):
        train.main(place.arguments("predict", "b", **none, **{"data.init_args.test": 0}))


def test_the_rate_falls_as_long_as_the_training_is(place: Place, tmp_path: Path) -> None:
    method = asyrp(place.backbone, clip="toyfaces/guide")
    run = trainer(tmp_path, epochs=3)
    run.fit(method, datamodule=faces(2))
    (group,) = method.optimizers().param_groups
    assert group["lr"] == pytest.approx(6e-5)  # a tenth
    assert isinstance(method.lr_schedulers(), torch.optim.lr_scheduler.LinearLR)


def test_faces_suit_the_method_without_the_command_line(place: Place, tmp_path: Path) -> None:
    """As many as it asks for where none were, and to validate and test on those that lack what it
    edits; what was given stays; of several attributes, or of boundaries, all faces are taken."""
    data = ToyFacesDataModule(train=2, validation=3, batch_size=2)
    assert data.where == {} and len(data.faces("test")) == 64  # drawn before there is a method
    trainer(tmp_path).fit(asyrp(place.backbone, attribute="Not_Young"), datamodule=data)
    assert data.counts == {"train": 2, "validation": 3, "test": Asyrp.faces["test"]}
    young = ATTRIBUTES.index("Young")
    for split, n in (("validation", 3), ("test", 64)):
        labels = data.faces(split).labels[:, young]
        assert len(labels) == n and labels.min() == 1
    assert set(data.where) == {"validation", "test"}
    trainer(tmp_path).fit(asyrp(place.backbone, attribute=["Smiling"]), datamodule=data)
    assert data.where == {} and data.faces("test").labels[:, young].min() == 0
    given = faces(2)
    trainer(tmp_path).fit(asyrp(place.backbone, attribute="Bald"), datamodule=given)
    assert given.where == faces().where
    data.follow(data.options_for(Linear.faces, None))
    assert data.counts == {"train": 2, "validation": 3, "test": Linear.faces["test"]}


def test_images_that_are_there_already_are_taken_as_they_are() -> None:
    assert ImagesDataModule.options_for(Linear.faces, "Smiling") == {}


def test_images_suit_the_backbone(place: Place, tmp_path: Path) -> None:
    """In Python, too: of the backbone's size if none is given, else refused."""
    data = ToyFacesDataModule(train=2, validation=1, test=1, batch_size=2)
    assert data.size == 32 and data.faces("train").images.shape[-1] == 32
    trainer(tmp_path).fit(asyrp(place.backbone), datamodule=data)
    assert data.size == 8 and data.faces("train").images.shape[-1] == 8
    with pytest.raises(HslError, match="size is 16, and the backbone takes images of 8"):
        trainer(tmp_path).test(asyrp(place.backbone), datamodule=faces(2, size=16), verbose=False)
    with pytest.raises(HslError, match="takes images of 8 x 8 pixels, not 16 x 16"):
        asyrp(place.backbone).x_T(torch.zeros(1, 3, 16, 16))
