"""Every shipped configuration is understood by the command line."""

import ast
import contextlib
import inspect
import io
import itertools
import json
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import Namespace

from hsl.backbones import SOURCES, Speed
from hsl.bundled import BUNDLED
from hsl.data.texts import source_and_target
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.errors import HslError
from hsl.losses import DirectionalClipLoss
from hsl.methods.asyrp import Asyrp
from hsl.methods.linear import Linear
from hsl.options.documents import read_document
from hsl.options.parser import Parser
from hsl.options.shipped import configuration
from hsl.train import command as train
from hsl.train import preflight
from runs import saved_backbone

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FILES = sorted(p for kind in ("backbone", "data", "method") for p in CONFIGS.glob(f"{kind}/*.yaml"))
HUB = [p for p in FILES if p.parent.name == "backbone" and p.stem != "toyfaces"]


class Stopped(Exception):
    """Carries the command line out of ``main`` before it runs."""


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    monkeypatch.setenv("HSL_RUN", "")


def stop_at(step: str, arguments: list[str], monkeypatch) -> train.HslCLI:
    """The command line as it is when it comes to ``step``."""

    def stop(self, *_: Any) -> None:
        raise Stopped(self)

    monkeypatch.setattr(train.HslCLI, step, stop)
    with pytest.raises(Stopped) as stopped:
        train.main(arguments)
    return stopped.value.args[0]


def options(*paths: Path) -> list[str]:
    return [f"--config={path}" for path in paths]


def holds(config: Any, wanted: Any) -> bool:
    """Whether all that a file says is in the configuration."""
    if isinstance(wanted, dict):
        return all(holds(config.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(config, list):
        pairs = zip(config, wanted, strict=False)
        return len(config) == len(wanted) and all(holds(*pair) for pair in pairs)
    return config == wanted


def test_there_are_configurations() -> None:
    assert {p.parent.name for p in FILES} == {"backbone", "data", "method"} and HUB


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_each_file_is_understood(path: Path, monkeypatch) -> None:
    cli = stop_at("instantiate_classes", ["fit", *options(path)], monkeypatch)
    assert isinstance(cli.config, Namespace)
    assert holds(cli.config.fit, yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("kind", ["backbone", "data", "method", "trainer"])
def test_files_have_short_names(kind: str, parser: Parser, tmp_path: Path, monkeypatch) -> None:
    """Where no checkout is; a file of that path comes first, and is what it says."""
    monkeypatch.chdir(tmp_path)
    for path in sorted(CONFIGS.glob(f"{kind}/*.yaml")):
        short = f"{kind}/{path.stem}"
        for name in (short, f"{short}.yaml", f"configs/{short}.yaml"):
            assert Path(configuration(name)).samefile(path)
        assert read_document(short) == yaml.safe_load(path.read_text())
        if path.stem != "slurm":
            by_name = parser.parse_args([f"--config={short}"])
            assert by_name.trainer == parser.parse_args(options(path)).trainer
            assert by_name.model == parser.parse_args(options(path)).model
    Path(kind).mkdir()
    Path(f"{short}.yaml").write_text("runs: mine\n")
    assert read_document(f"{short}.yaml") == {"runs": "mine"}
    with pytest.raises(HslError, match=f"did you mean {short}"):
        configuration(f"{short}s")


@pytest.fixture(scope="module")
def parser() -> Parser:
    """That of fit, made once: all combinations of files are resolved by it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hsl.train"])
        cli = stop_at("parse_arguments", ["fit"], patch)
    return cli._parser("fit")


def handed_on(init: Callable[..., None]) -> set[str]:
    """The arguments that a constructor itself hands on to its base's by name."""
    calls = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(init))))
    return {
        keyword.arg
        for call in calls
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
        for keyword in call.keywords
        if keyword.arg
    }


def defaults(path: str) -> dict[str, Any]:
    """What a class's own signature says, with that of the classes it hands its arguments on to."""
    found: dict[str, Any] = {}
    fixed: set[str] = set()
    for base in locate(path).__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        found = {name: value for name, value in given.items() if name not in fixed} | found
        fixed |= handed_on(vars(base)["__init__"]) - given.keys()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return found
    raise AssertionError(path)


def resolved(parser: Parser, *paths: Path) -> Namespace:
    config = parser.parse_args(options(*paths))
    preflight.check(config, "fit")
    preflight.complete(config, "fit")
    return config


def check_values(config: Namespace, paths: Sequence[Path]) -> None:
    """Each value is what the files say, the last first, and else the class's own default."""
    said: dict[str, Any] = {"data": {"class_path": BUNDLED.data},
                            "model": {"class_path": "hsl.methods.asyrp.Asyrp"}}  # fmt: skip
    for path in paths:
        for key, part in yaml.safe_load(path.read_text()).items():
            before = said.setdefault(key, {})
            arguments = before.get("init_args", {}) | part.get("init_args", {})
            said[key] = before | part | ({"init_args": arguments} if key in PARTS else {})
    for key in PARTS:
        wanted = defaults(said[key]["class_path"]) | said[key]["init_args"]
        if key == "data" and said[key]["class_path"] == BUNDLED.data:
            method = locate(said["model"]["class_path"])
            wanted |= method.faces  # the faces that it asks for
            wanted.pop("where")
        assert locate(config[key].class_path) is locate(said[key]["class_path"])
        for name, value in wanted.items():
            value = vars(value) if isinstance(value, Speed) else value
            assert holds(config[key].init_args[name], value), (key, name)
        assert set(wanted) - {"where"} == set(vars(config[key].init_args)) - {"where"}
    assert config.trainer.max_epochs == said.get("trainer", {}).get("max_epochs", 7)
    for key in set(said) - {*PARTS, "trainer"}:
        assert holds(config[key], said[key]), key


PARTS = ("data", "model")
KINDS = {kind: sorted(CONFIGS.glob(f"{kind}/*.yaml")) for kind in ("backbone", "data", "method")}


@pytest.mark.parametrize("data", KINDS["data"], ids=lambda p: p.stem)
def test_files_go_together(data: Path, parser: Parser) -> None:
    """Every method with every data set, the backbones in turn, in every order."""
    place, backbones = KINDS["data"].index(data), KINDS["backbone"]
    for i, method in enumerate(KINDS["method"]):
        paths = [method, backbones[(place + i) % len(backbones)], data]
        paths = list(itertools.permutations(paths))[(place + i) % 6]
        check_values(resolved(parser, *paths), paths)


@pytest.mark.slow
@pytest.mark.parametrize("data", KINDS["data"], ids=lambda p: p.stem)
@pytest.mark.parametrize("backbone", KINDS["backbone"], ids=lambda p: p.stem)
def test_all_files_go_together(backbone: Path, data: Path, parser: Parser) -> None:
    trainers = sorted(CONFIGS.glob("trainer/*.yaml"))
    for i, method in enumerate(KINDS["method"]):
        paths = (method, backbone, data)
        config = resolved(parser, *paths, trainers[i % len(trainers)])
        check_values(config, paths)
        assert holds(config, yaml.safe_load(trainers[i % len(trainers)].read_text()))


@pytest.mark.parametrize("data", KINDS["data"], ids=lambda p: p.stem)
def test_images_are_of_the_backbones_size(data: Path, parser: Parser) -> None:
    """And of real ones there are as many as papers take, one in a batch, read by processes."""
    arguments = resolved(parser, CONFIGS / "backbone" / "celebahq.yaml", data).data.init_args
    if data.stem == "toyfaces":
        wanted: dict[str, Any] = {"size": None, "batch_size": 16, "num_workers": 0, **Asyrp.faces}
    else:
        wanted = {"batch_size": 4 if data.stem == "sampled" else 1,
                  "train": 100, "validation": 16, "test": 64}  # fmt: skip
        if data.stem != "sampled":
            wanted |= {"size": None, "num_workers": None}
    assert {name: arguments[name] for name in wanted} == wanted
    assert arguments.get("size") is None


@pytest.mark.parametrize("data", KINDS["data"], ids=lambda p: p.stem)
def test_files_of_data_say_what_is_not_so_by_default(data: Path) -> None:
    said = yaml.safe_load(data.read_text())["data"]
    usual = defaults(said["class_path"])
    same = [k for k, v in said.get("init_args", {}).items() if k in usual and usual[k] == v]
    assert not same


@pytest.mark.parametrize("path", KINDS["backbone"], ids=lambda p: p.stem)
def test_files_of_backbones_name_them_alone(path: Path) -> None:
    name = path.stem.replace("_", "-")
    assert yaml.safe_load(path.read_text()) == {"model": {"init_args": {"backbone": name}}}


def test_the_defaults_of_the_code_are_the_toyfaces_files(monkeypatch) -> None:
    bare = stop_at("instantiate_classes", ["fit"], monkeypatch).config.fit
    paths = [CONFIGS / f"{kind}.yaml" for kind in ("method/asyrp", "backbone/toyfaces")]
    paths.append(CONFIGS / "data" / "toyfaces.yaml")
    given = stop_at("instantiate_classes", ["fit", *options(*paths)], monkeypatch).config.fit
    for key in ("model", "data", "trainer", "intervals", "strength", "evaluate", "grids"):
        assert bare[key] == given[key], key


def test_the_default_job_is_built(tmp_path: Path, monkeypatch) -> None:
    """With a backbone of a few kilobytes in place of the bundled one."""
    backbone = saved_backbone(tmp_path / "backbone")
    arguments = [f"--model.init_args.backbone={backbone}", "--wandb=disabled"]
    arguments += [f"--runs={tmp_path / 'runs'}", *options(CONFIGS / "trainer" / "cpu.yaml")]
    cli = stop_at("_run_subcommand", ["fit", *arguments], monkeypatch)
    assert isinstance(cli.model, Asyrp) and isinstance(cli.datamodule, ToyFacesDataModule)
    assert cli.datamodule.where == {split: {"Smiling": 0} for split in ("validation", "test")}
    names = [type(callback).__name__ for callback in cli.trainer.callbacks]
    for name in ("Intervals", "Strength", "Directions", "Evaluate", "Grids"):
        assert name in names
    assert names.index("Strength") < names.index("Directions")  # which writes the strength down


def test_the_papers_optimiser_is_built(tmp_path: Path, monkeypatch) -> None:
    backbone = saved_backbone(tmp_path / "backbone")
    (path,) = CONFIGS.glob("method/asyrp_paper.yaml")
    arguments = [f"--model.init_args.backbone={backbone}", "--wandb=disabled",
                 "--model.init_args.clip=toyfaces/guide", "--model.init_args.templates=['a {}']",
                 "--intervals.distance=toyfaces", f"--runs={tmp_path / 'runs'}"]  # fmt: skip
    cli = stop_at("_run_subcommand", ["fit", *options(path), *arguments], monkeypatch)
    (optimizer,), (scheduler,) = cli.model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.param_groups[0]["lr"] == 0.5
    assert (scheduler.step_size, scheduler.gamma) == (20, 0.9)
    assert cli.model.t_start is None and cli.model.l1_weight == 3.0


PRESETS = {"celeba": "CelebA_HQ", "church": "church_outdoor", "bedroom": "bedroom",
           "afhq": "AFHQ dog", "metfaces": "MetFaces"}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_the_interval_of_a_data_set_goes_with_the_paper(name: str, tmp_path, monkeypatch) -> None:
    backbone = saved_backbone(tmp_path / "backbone")
    paths = [CONFIGS / "method" / f"{stem}.yaml" for stem in ("asyrp_paper", f"asyrp_{name}")]
    arguments = [f"--model.init_args.backbone={backbone}", "--wandb=disabled",
                 "--model.init_args.clip=toyfaces/guide", "--model.init_args.templates=['a {}']",
                 "--intervals.distance=toyfaces", f"--runs={tmp_path / 'runs'}"]  # fmt: skip
    # the bundled CLIP does not know the words
    monkeypatch.setattr(DirectionalClipLoss, "__init__", lambda *a: torch.nn.Module.__init__(a[0]))
    method = stop_at("_run_subcommand", ["fit", *options(*paths), *arguments], monkeypatch).model
    wanted = yaml.safe_load(paths[1].read_text())["model"]["init_args"]
    name = wanted["attribute"]
    assert method.texts_of(name) == source_and_target(name)
    assert (method.t_edit, method.t_boost) == (wanted["t_edit"], wanted["t_boost"])
    assert method.l1_weight == 3.0 and list(method.directions) == [wanted["attribute"]]


@pytest.mark.parametrize("name", PRESETS)
def test_the_interval_of_a_data_set_is_the_recorded_one(name: str, golden_dir) -> None:
    path = golden_dir("asyrp") / "auto_timesteps.json"
    if not path.exists():
        pytest.skip("no recorded timesteps")
    recorded = json.loads(path.read_text())["datasets"][PRESETS[name]]
    text = (CONFIGS / "method" / f"asyrp_{name}.yaml").read_text()
    wanted = yaml.safe_load(text)["model"]["init_args"]
    assert wanted["t_edit"] == recorded["t_edit"]["0.90"]
    assert wanted["t_boost"] == recorded["t_boost"]["xt_table_th1.2"]
    (table,) = re.findall(r"^# (\d+ at 1, .*)\.$", text, flags=re.MULTILINE)
    for t, cosine in (entry.split(" at ") for entry in table.split(", ")):
        assert int(t) == recorded["t_edit"][f"{float(cosine):.2f}"]


@pytest.mark.parametrize("name", ["svm", "probe", "mean", "ridge", "boundary_paper"])
def test_linear_methods_are_built(name: str, tmp_path: Path, monkeypatch) -> None:
    """With their solver, in one epoch, on as many faces as they ask for."""
    backbone = saved_backbone(tmp_path / "backbone")
    arguments = [f"--model.init_args.backbone={backbone}", "--wandb=disabled",
                 f"--runs={tmp_path / 'runs'}"]  # fmt: skip
    path = CONFIGS / "method" / f"{name}.yaml"
    cli = stop_at("_run_subcommand", ["fit", *options(path), *arguments], monkeypatch)
    wanted = yaml.safe_load(path.read_text())["model"]["init_args"]["solver"]["class_path"]
    assert isinstance(cli.model, Linear)
    assert f"hsl.solvers.{type(cli.model.solver).__name__}" == wanted
    assert cli.trainer.max_epochs == 1
    assert cli.datamodule.counts == Linear.faces


@pytest.mark.parametrize("path", HUB, ids=lambda p: p.stem)
def test_weights_that_cannot_be_had_are_one_line(path: Path, tmp_path: Path, monkeypatch) -> None:
    """It says what to put where; the file says so, too, and under which licence."""
    monkeypatch.setenv("HSL_WEIGHTS", str(tmp_path / "weights"))
    text = path.read_text()
    name = yaml.safe_load(text)["model"]["init_args"]["backbone"]
    source = SOURCES[name]
    assert path.stem == name.replace("-", "_")
    comment = " ".join(line.removeprefix("# ") for line in text.splitlines() if line[0] == "#")
    assert source.about[1:] in comment and (source.hub or source.file) in comment
    assert (source.url or "") in comment
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        status = train.main(["fit", *options(path), f"--runs={tmp_path / 'runs'}"])
    lines = err.getvalue().splitlines()
    wanted = [source.hub, "network"] if source.hub else [source.file, source.url, "weights"]
    assert status == 2 and len(lines) == 1 and all(part in lines[0] for part in wanted)
    assert not (tmp_path / "runs").exists()


def test_every_named_checkpoint_has_a_file() -> None:
    assert {p.stem for p in HUB} == {name.replace("-", "_") for name in SOURCES}
