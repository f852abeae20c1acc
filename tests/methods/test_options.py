"""What all methods take, and how the command line sees it."""

import pytest

from hsl.backbones import load
from hsl.errors import HslError
from hsl.methods.asyrp import Asyrp
from hsl.methods.linear import Linear
from hsl.train import command
from runs import asyrp, saved_backbone


def configuration(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The whole configuration of a fit of a method, as YAML."""
    with pytest.raises(SystemExit):
        command.main(["fit", f"--model=hsl.methods.{name}", "--print_config"])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("asyrp.Asyrp", ["steps: 40", "t_start: 770", "refine: 1", "injection: asymmetric"]),
        ("linear.Linear", ["steps: 40", "t_boost: 0", "refine: 1", "backbone: toyfaces"]),
    ],
)
def test_the_command_line_has_every_default(name: str, defaults: list[str], capsys) -> None:
    """Also those of the base, behind ``**options``."""
    shown = [line.strip() for line in configuration(name, capsys).splitlines()]
    assert all(default in shown for default in defaults)


def test_a_linear_method_has_no_options_that_it_decides_itself(capsys) -> None:
    model = configuration("linear.Linear", capsys).partition("\nmodel:")[2].partition("\ndata:")[0]
    assert "injection" not in model and "t_edit" not in model and "invert_steps" not in model


def test_a_method_takes_a_loaded_backbone(tmp_path) -> None:
    net = load(saved_backbone(tmp_path / "backbone"), "middle")
    made = Linear(backbone=net, attributes=["Smiling"], timesteps=[500])
    assert made.backbone is net and made.backbone.tap == "middle"
    with pytest.raises(HslError, match="loaded with tap middle"):
        Linear(backbone=net, tap="before")


def test_options_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        Asyrp("Smiling", "a face")  # type: ignore[misc]


def test_the_learning_rate_is_one_option(tmp_path) -> None:
    made = asyrp(saved_backbone(tmp_path / "backbone"), lr=0.25)
    optimizer = made._optimizer(list(made.directions.parameters()))
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}
    with pytest.raises(HslError, match="lr"):
        asyrp(saved_backbone(tmp_path / "other"), lr=0)
