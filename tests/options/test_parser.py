"""A class that replaces another starts from its own defaults."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import Namespace

from hsl.data.celeba import CelebADataModule
from hsl.data.folder import ImagesDataModule
from hsl.data.options import data_module
from hsl.errors import HslError
from hsl.options.documents import read_document, superseded
from hsl.options.parser import Parser
from test_configs import stop_at

FOLDER, CELEBA = "hsl.data.folder.ImagesDataModule", "hsl.data.celeba.CelebADataModule"
LINEAR = "hsl.methods.linear.Linear"


@pytest.fixture(scope="module")
def parser() -> Parser:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hsl.train"])
        return stop_at("parse_arguments", ["fit"], patch)._parser("fit")


@pytest.fixture
def parse(parser: Parser, tmp_path: Path) -> Any:
    """Parses options; mappings among them become configuration files."""

    def parsed(*options: str | dict[str, Any]) -> Namespace:
        arguments = []
        for i, option in enumerate(options):
            if isinstance(option, dict):
                (tmp_path / f"{i}.yaml").write_text(yaml.safe_dump(option))
                option = f"--config={tmp_path / f'{i}.yaml'}"
            arguments.append(option)
        return parser.parse_args(arguments)

    return parsed


def spec(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


def test_defaults_do_not_come_along(parse) -> None:
    folder = {"data": spec(FOLDER, source="a")}
    ways: tuple[tuple[str | dict[str, Any], ...], ...] = (
        (folder,),
        (f"--data={FOLDER}", "--data.init_args.source=a"),
        ("--data", FOLDER, "--data.init_args.source", "a"),
        (f"--data.class_path={FOLDER}", "--data.init_args.source=a"),
        ("--data=" + json.dumps(folder["data"]),),
        ({"data": spec(CELEBA, source="b", train=7, box=[0, 0, 9, 9])}, folder),
        ({"data": spec("hsl.data.toyfaces.ToyFacesDataModule", size=64, seed=3)}, folder),
        ({"data": spec(CELEBA, source="b", train=7)}, f"--data={FOLDER}",
         "--data.init_args.source=a"),
    )  # fmt: skip
    for way in ways:
        data = parse(*way).data
        assert data.class_path == FOLDER
        found = {k: data.init_args[k] for k in ("source", "size", "train", "batch_size", "box",
                                                "num_workers", "seed")}  # fmt: skip
        assert found == {"source": "a", "size": None, "train": 100, "batch_size": 1, "box": None,
                         "num_workers": None, "seed": 0}, way  # fmt: skip


def test_what_is_given_without_a_name_stays(parse) -> None:
    """Before the class or after it, on the command line or in a file, even if it is the default
    of the class before."""
    folder = {"data": spec(FOLDER, source="a")}
    for way in (
        ("--data.init_args.batch_size=16", folder),
        ("--data.batch_size=16", folder),
        (folder, "--data.init_args.batch_size=16"),
        ({"data": {"init_args": {"batch_size": 16}}}, folder),
        (
            {"data": spec(CELEBA, source="b", batch_size=3)},
            "--data.init_args.batch_size=16",
            folder,
        ),
    ):
        data = parse(*way).data
        assert (data.class_path, data.init_args.batch_size) == (FOLDER, 16), way
        assert data.init_args.train == 100
    named: dict[str, Any] = {"model": {"init_args": {"backbone": "x"}}}
    for way in ("--model.init_args.backbone=x", f"--model={LINEAR}"), (named, f"--model={LINEAR}"):
        assert parse(*way).model.init_args.backbone == "x"


def test_the_same_class_keeps_what_it_was_given(parse) -> None:
    for again in (FOLDER, "ImagesDataModule"):
        data = parse({"data": spec(FOLDER, source="a", train=7)},
                     {"data": spec(again, size=16)}).data  # fmt: skip
        assert (data.init_args.source, data.init_args.train, data.init_args.size) == ("a", 7, 16)


def test_a_run_of_another_class_leaves_nothing(parse, parser: Parser, tmp_path: Path) -> None:
    """A saved config.yaml has all values of its classes."""
    saved = yaml.safe_load(parser.dump(parse(), skip_unset=False))
    config = parse(saved, {"data": spec(FOLDER, source="a")}, f"--model={LINEAR}")
    assert (config.data.init_args.size, config.data.init_args.batch_size) == (None, 1)
    assert config.model.init_args.steps == 40 and "l1_weight" not in config.model.init_args


def test_models_solvers_optimizers_loggers_and_callbacks_alike(parse) -> None:
    csv = spec("lightning.pytorch.loggers.CSVLogger", save_dir="a", version="7")
    board = spec("lightning.pytorch.loggers.TensorBoardLogger", save_dir="b")
    stop = spec("lightning.pytorch.callbacks.EarlyStopping", monitor="x", verbose=True)
    keep = spec("lightning.pytorch.callbacks.ModelCheckpoint", dirpath="c")
    sgd, adam = spec("torch.optim.SGD", lr=0.5, weight_decay=0.1), spec("torch.optim.Adam")
    before = {"trainer": {"logger": csv, "callbacks": [stop]},
              "model": spec("hsl.methods.asyrp.Asyrp", optimizer=sgd)}  # fmt: skip
    after = {"trainer": {"logger": board, "callbacks": [keep]},
             "model": {"init_args": {"optimizer": adam}}}  # fmt: skip
    config = parse(before, after)
    assert config.trainer.logger.init_args.version is None
    assert config.trainer.logger.init_args.save_dir == "b"
    assert config.trainer.callbacks[0].init_args.verbose is False
    assert config.trainer.callbacks[0].init_args.monitor is None
    assert config.model.init_args.optimizer.init_args.lr == 0.001
    assert config.model.init_args.optimizer.init_args.weight_decay == 0.0
    config = parse({"model": spec(LINEAR, solver=spec("hsl.solvers.Ridge", alpha=7.0), t=500)},
                   "--model.init_args.solver=hsl.solvers.Logistic")  # fmt: skip
    assert config.model.init_args.solver.init_args.alpha == 1.0
    assert config.model.init_args.t == 500


def test_superseded_leaves_documents_alone() -> None:
    one = {"data": spec("a.A", x=1), "n": 3, "list": [1]}
    two = {"data": {"init_args": {"y": 2}}, "list": [2]}
    three = {"data": {"class_path": "b.B"}}
    kept = superseded([one, two, three])
    assert kept == [{"data": {"class_path": "a.A"}, "n": 3}, two, three]
    assert one["data"]["init_args"] == {"x": 1}


NOT = {
    "null": "strength: null", "null data": "data: null", "null model": "model: null",
    "null arguments": "model: {init_args: null}", "a number": "data: 3", "a list": "trainer: [1]",
    "a class that is none": "data: {class_path: 3}", "names": "- a", "numbers": "1: 2",
    "nothing": "", "empty text": "runs: ''", "empty source": "data: {init_args: {source: ' '}}",
    "in a list": "trainer: {callbacks: [{class_path: null}]}",
}  # fmt: skip


@pytest.mark.parametrize("which", NOT)
def test_no_options(which: str, parser: Parser, tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(NOT[which])
    with pytest.raises(HslError):
        parser.parse_args([f"--config={tmp_path / 'some.yaml'}"])


def test_an_empty_text_within_an_option(parser: Parser) -> None:
    with pytest.raises(HslError, match=r"^--data\.init_args\.source is empty"):
        parser.parse_args(['--data={"class_path": "%s", "init_args": {"source": ""}}'
                           .replace("%s", FOLDER), "--seed_everything=1"])  # fmt: skip


def test_data_without_a_trainer(tmp_path: Path) -> None:
    """As ``hsl.data`` and ``hsl.study`` make them."""
    for name, part in (("a", spec(CELEBA, source="b", batch_size=3)),
                       ("b", spec(FOLDER, source="a"))):  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"data": part, "trainer": {"x": 1}}))
    both = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    data = data_module(both, [])
    assert isinstance(data, ImagesDataModule) and data.batch_size == 1 and data.size == 256
    options = [f"--data={CELEBA}", "--data.init_args.size=16", "--data.init_args.source=c"]
    other = data_module(both[1:], options)
    assert isinstance(other, CelebADataModule) and (other.size, other.batch_size) == (16, 1)


def test_a_text_in_the_place_of_a_file(tmp_path: Path) -> None:
    assert read_document("trainer: {max_epochs: 3}") == {"trainer": {"max_epochs": 3}}
    with pytest.raises(HslError, match="no such file"):
        read_document(str(tmp_path / "none.yaml"))
    with pytest.raises(HslError, match="a folder"):
        read_document(str(tmp_path))
