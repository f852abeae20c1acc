"""What an option may name by its import path."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hsl.data import __main__ as data
from hsl.errors import HslError
from hsl.options.classes import named
from hsl.train import command as train

RUN = {"command": "touch pwned"}


@pytest.mark.parametrize(
    "path",
    ["torch.optim.Adam", "torch.optim.lr_scheduler.StepLR", "hsl.methods.asyrp.adam",
     "hsl.methods.asyrp.decay", "hsl.solvers.SVM", "hsl.data.folder.ImagesDataModule",
     "lightning.pytorch.loggers.CSVLogger", "lightning.pytorch.callbacks.EarlyStopping",
     "lightning.pytorch.strategies.DDPStrategy", "torch.nn.Identity", "torch.float32",
     "hsl.backbones.PLAIN", "lightning.pytorch.plugins.environments.SLURMEnvironment"],
)  # fmt: skip
def test_classes_that_options_stand_for(path: str) -> None:
    found: Any = torch if path.startswith("torch") else __import__(path.rpartition(".")[0])
    for part in path.split(".")[1:]:
        found = getattr(found, part)
    assert named(path) is found


@pytest.mark.parametrize(
    "path",
    ["os.system", "posix.system", "subprocess.Popen", "builtins.exec", "shutil.rmtree",
     "torch.load", "torch.hub.load", "torch.save", "torch.serialization.os.system",
     "wandb.init", "hsl.train.command.main", "hsl.files.writing.os.system", "yaml.unsafe_load"],
)  # fmt: skip
def test_all_else(path: str) -> None:
    with pytest.raises(HslError, match=f"^{path}: no class that an option"):
        named(path)


def test_a_module_of_the_standard_library_is_not_imported(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    with pytest.raises(HslError):
        named("antigravity.webbrowser")
    assert "antigravity" not in sys.modules


def spec(path: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": path, "init_args": arguments}


EVIL = {
    "optimizer": {"model": {"init_args": {"optimizer": spec("os.system", **RUN)}}},
    "optimizer by name": {"model": {"init_args": {"optimizer": "os.system"}}},
    "lr_scheduler": {"model": {"init_args": {"lr_scheduler": spec("os.system", **RUN)}}},
    "loads code": {"model": {"init_args": {"optimizer": spec("torch.hub.load", repo="a/b")}}},
    "lr_lambda": {"model": {"init_args": {"lr_scheduler": spec(
        "torch.optim.lr_scheduler.LambdaLR", lr_lambda=spec("os.system", **RUN))}}},
    "lambda by name": {"model": {"init_args": {"lr_scheduler": spec(
        "torch.optim.lr_scheduler.LambdaLR", lr_lambda="os.system")}}},
    "identity": {"model": {"init_args": {"identity": spec("os.system", **RUN)}}},
    "Popen": {"model": {"init_args": {"identity": spec("subprocess.Popen", args="x")}}},
    "model": {"model": spec("os.system", **RUN)},
    "data": {"data": spec("os.system", **RUN)},
    "solver": {"model": spec("hsl.methods.linear.Linear", solver=spec("os.system", **RUN))},
    "logger": {"trainer": {"logger": spec("os.system", **RUN)}},
    "loggers": {"trainer": {"logger": [spec("os.system", **RUN)]}},
    "callbacks": {"trainer": {"callbacks": [spec("os.system", **RUN)]}},
    "plugins": {"trainer": {"plugins": [spec("os.system", **RUN)]}},
    "strategy": {"trainer": {"strategy": spec("os.system", **RUN)}},
    "hook": {"trainer": {"strategy": spec(
        "lightning.pytorch.strategies.DDPStrategy", ddp_comm_hook=spec("os.system", **RUN))}},
    "accelerator": {"trainer": {"accelerator": spec("os.system", **RUN)}},
    "profiler": {"trainer": {"profiler": spec("os.system", **RUN)}},
    "any": {"trainer": {"logger": spec(
        "lightning.pytorch.loggers.WandbLogger", settings=spec("os.system", **RUN))}},
    "kwargs": {"trainer": {"logger": {
        "class_path": "lightning.pytorch.loggers.WandbLogger",
        "dict_kwargs": {"config": spec("os.system", **RUN)}}}},
    "strength": {"strength": {"guide": spec("os.system", **RUN)}},
}  # fmt: skip


@pytest.mark.parametrize("which", EVIL)
def test_a_configuration_runs_no_command(which: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    monkeypatch.setenv("HSL_RUN", "")
    Path("evil.yaml").write_text(yaml.safe_dump(EVIL[which]))
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        status = train.main(["fit", "--config=evil.yaml", "--wandb=disabled"])
    (line,) = err.getvalue().splitlines()
    assert status == 2 and line.startswith("hsl.train: "), line
    assert [path.name for path in tmp_path.iterdir()] == ["evil.yaml"], line


def test_a_description_of_data_runs_none_either(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.yaml").write_text(yaml.safe_dump({"data": spec("os.system", **RUN)}))
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        assert data.main(["describe", "--config=evil.yaml"]) == 2
    (line,) = err.getvalue().splitlines()
    assert "os.system: no class" in line
    assert [path.name for path in tmp_path.iterdir()] == ["evil.yaml"]
