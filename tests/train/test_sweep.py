"""The W&B sweep that is shipped: its command runs with each of its values, and logs its metric."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml

from hsl.options.yamls import parse_yaml
from hsl.train import cli
from runs import Place, saved_backbone
from test_train import SMALL, call, environment

__all__ = ["environment"]
ROOT = Path(__file__).resolve().parents[2]
SWEEP = yaml.safe_load((ROOT / "experiments" / "sweeps" / "l1_weight.yaml").read_text("utf-8"))
(PARAMETER,) = SWEEP["parameters"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("sweep")
    return Place(root, saved_backbone(root / "backbone"), SMALL)


def command(value: Any) -> list[str]:
    """The words that W&B's agent makes of the sweep's ``command`` for a value."""
    filled = {"${env}": "/usr/bin/env", "${program}": SWEEP["program"],
              "${args}": f"--{PARAMETER}={value}"}  # fmt: skip
    return [filled.get(word, word) for word in SWEEP["command"]]


def test_the_command_is_that_of_hsl() -> None:
    words = command(1.0)
    assert words[:4] == ["/usr/bin/env", "python", "-m", "hsl.train"] and words[4] == "fit"
    assert not re.search(r"\$\{", " ".join(words))
    assert SWEEP["method"] == "grid" and SWEEP["metric"]["goal"] == "maximize"
    assert SWEEP["metric"]["name"].startswith("val/")  # what chooses takes guides


@pytest.mark.parametrize("value", SWEEP["parameters"][PARAMETER]["values"])
def test_it_runs_with_each_value(value: float, place: Place, monkeypatch) -> None:
    """Offline, and small; what W&B keeps of the run has the metric that the sweep compares."""
    kept: dict[str, float] = {}

    def finish(exit_code: int = 0) -> None:
        kept.update(dict(wandb.run.summary))
        wandb.finish(exit_code=exit_code)

    monkeypatch.setattr(cli, "finish", finish)
    small = {k: v for k, v in place.small.items() if k != "wandb"}
    _, *options = place._replace(small=small).arguments("fit", f"sweep {value}")
    status, out, err = call([*command(value)[4:], *options, "--wandb=offline"])
    assert status == 0, err
    folder = Path(out[-1])
    config = parse_yaml((folder / "config.yaml").read_text("utf-8"))
    assert config["model"]["init_args"]["l1_weight"] == value
    figures = json.loads((folder / "summary.json").read_text())
    assert -1 <= kept[SWEEP["metric"]["name"]] <= 1
    assert kept["test/effect"] == pytest.approx(figures["effect"], rel=1e-5)
    assert kept["strength/Smiling"] == figures["strength"]
