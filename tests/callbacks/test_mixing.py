"""The mixing step is chosen on validation images; tables and pictures are left behind."""

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from hsl.backbones import load
from hsl.callbacks import Directions, Mixing
from hsl.callbacks.mixing import heat_map
from hsl.directions import Direction
from hsl.errors import HslError
from hsl.methods.linear import Linear
from hsl.solvers import Figures, MeanDifference, figures
from hsl.train import command as train
from runs import asyrp, faces, saved_backbone, trainer

NAMES = ["Male", "Smiling"]
TIMES = [199, 599, 999]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def linear(folder: str, **arguments) -> Linear:
    defaults = {"steps": 6, "timesteps": TIMES, "attributes": NAMES, "solver": MeanDifference()}
    return Linear(backbone=folder, **(defaults | arguments))


def data(n: int = 24, **arguments):
    return faces(n, **({"where": {}, "batch_size": 8, "validation": 21} | arguments))


def fit(method: Linear, path: Path, *callbacks, **arguments):
    run = trainer(path, *callbacks, **arguments)
    run.fit(method, datamodule=data())
    return run


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "accuracy.csv").open() as file:
        return list(csv.DictReader(file))


def with_accuracies(x: list[list[float]], h: list[list[float]]) -> dict:
    """Figures whose balanced accuracies by timestep and attribute are these, to tenths."""
    found: dict = {}
    for space, accuracies in (("x", x), ("h", h)):
        for t, of_each in zip(TIMES, accuracies, strict=True):
            labels = torch.cat([torch.ones(10, 2), -torch.ones(10, 2)])
            scores = torch.ones(20, 2)
            for a, accuracy in enumerate(of_each):
                right = round(10 * accuracy)
                scores[right:10, a] = scores[10 : 10 + right, a] = -1
            found[space, t] = figures(scores, labels)
    return found


def test_the_curve_is_the_mean_over_attributes_and_spaces() -> None:
    found = with_accuracies(
        x=[[0.9, 0.7], [0.6, 0.6], [0.5, 0.3]], h=[[1, 1], [0.8, 1], [0.5, 0.5]]
    )
    assert Mixing(space="x").curve(found) == pytest.approx({199: 0.8, 599: 0.6, 999: 0.4})
    assert Mixing(space="h").curve(found) == pytest.approx({199: 1, 599: 0.9, 999: 0.5})
    assert Mixing().curve(found) == pytest.approx({199: 0.9, 599: 0.75, 999: 0.45})
    only_h = {key: value for key, value in found.items() if key[0] == "h"}
    assert Mixing().curve(only_h) == pytest.approx({199: 1, 599: 0.9, 999: 0.5})
    with pytest.raises(HslError, match="no boundaries in x"):
        Mixing(space="x").curve(only_h)


def test_an_attribute_of_one_class_does_not_count() -> None:
    scores, labels = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([[1, 1], [-1, 1]])
    assert Mixing().curve({("x", 199): figures(scores, labels)}) == {199: 1.0}


@pytest.mark.parametrize(
    ("tolerance", "space", "expected"),
    [(0.02, "x", 199), (0.2, "x", 599), (0.1, "h", 599), (0.16, "both", 599), (1.0, "both", 999)],
)
def test_the_chosen_step(folder, tmp_path, monkeypatch, tolerance, space, expected) -> None:
    found = with_accuracies(
        x=[[0.9, 0.7], [0.6, 0.6], [0.5, 0.3]], h=[[1, 1], [0.8, 1], [0.5, 0.5]]
    )
    method = linear(folder)
    monkeypatch.setattr(method, "held_out", lambda samples: found)
    fit(method, tmp_path, Mixing(tolerance, space))
    assert method.t == expected and {b.t for b in method.directions.values()} == {expected}
    assert method.grid[-1] == expected and method.edit("Male").t_edit == expected
    assert {row["t"] for row in rows(tmp_path)} == {str(t) for t in TIMES}


def test_what_is_given_stays(folder: str, tmp_path: Path) -> None:
    method = linear(folder, t=600)
    fit(method, tmp_path, Mixing(tolerance=1))
    assert method.t == 599 and method.grid[-1] == 599


def test_figures_are_those_of_validation(folder: str, tmp_path: Path, capsys) -> None:
    method, source = linear(folder), data()
    run = trainer(tmp_path, Mixing(), Directions(), limit_val_batches=1.0)
    run.fit(method, datamodule=source)
    table = capsys.readouterr().out
    assert f"held-out images at the mixing step t = {method.t}" in table and "Smiling" in table
    first = method.figures
    written = rows(tmp_path)
    assert [(r["space"], int(r["t"]), r["attribute"]) for r in written] == [
        (space, t, name) for space in "xh" for t in TIMES for name in NAMES
    ]
    for row in written:
        a, found = NAMES.index(row["attribute"]), first[row["space"], int(row["t"])]
        assert float(row["balanced_accuracy"]) == pytest.approx(found.balanced_accuracy[a].item())
        assert float(row["auc_low"]) == pytest.approx(found.auc_ci[a, 0].item())
        assert int(row["positive"]) + int(row["negative"]) == 21
    Image.open(tmp_path / "accuracy.png").verify()
    about = Direction.load(tmp_path / "directions" / "Male.safetensors").about
    assert about["t_edit"] == about["t_start"] == method.t
    assert about["accuracy"][f"h.{method.t}"] == pytest.approx(
        float(first["h", method.t].balanced_accuracy[0]), abs=1e-4
    )
    (tmp_path / "accuracy.csv").unlink()
    run.validate(method, datamodule=source, verbose=False)
    assert rows(tmp_path) == written
    for key, found in first.items():
        for one, two in zip(found, method.figures[key], strict=True):
            assert torch.allclose(one, two, equal_nan=True)


def test_other_methods_and_other_ranks_are_left_alone(folder: str, tmp_path: Path) -> None:
    trainer(tmp_path, Mixing()).fit(asyrp(folder), datamodule=faces(2))
    assert not list(tmp_path.iterdir())


def test_no_validation_images_is_an_error(folder: str, tmp_path: Path) -> None:
    source = data()
    source.val_dataloader = lambda: []
    with pytest.raises(HslError, match="no images"):
        trainer(tmp_path, Mixing()).fit(linear(folder), datamodule=source)


@pytest.mark.parametrize(("tolerance", "space"), [(-0.1, "both"), (1.1, "x"), (0.1, "eps")])
def test_bad_options(tolerance: float, space: str) -> None:
    with pytest.raises(HslError, match=r"want a number, 0 to 1|want one of x, h, both"):
        Mixing(tolerance, space)


def test_weights_and_biases_offline(folder: str, tmp_path: Path) -> None:
    logger = WandbLogger(save_dir=tmp_path, project="hsl", offline=True)
    try:
        fit(linear(folder), tmp_path, Mixing(), logger=logger)
    finally:
        logger.experiment.finish()
    media = {p.relative_to(tmp_path).parts[-2] for p in tmp_path.rglob("media/*/*")}
    assert {"images", "table"} <= media


def test_the_heat_map() -> None:
    found = with_accuracies(
        x=[[0.9, 0.7], [0.6, 0.6], [0.5, 0.3]], h=[[1, 1], [0.8, 1], [0.5, 0.5]]
    )
    figure = heat_map(found, NAMES, 599)
    x, h = figure.axes[:2]
    assert (x.get_title(), h.get_title()) == ("x_t", "h")
    assert [label.get_text() for label in x.get_xticklabels()] == ["199", "599", "999"]
    assert [label.get_text() for label in x.get_yticklabels()] == NAMES
    assert [text.get_text() for text in x.texts] == [".90", ".60", ".50", ".70", ".60", ".30"]
    assert [text.get_text() for text in h.texts][:3] == ["1.0", ".80", ".50"]
    assert x.patches[0].get_x() == 0.5 and not heat_map(found, NAMES, None).axes[0].patches
    odd = ["$5 and $6", r"$\frac{", "a\x00b"]
    labels = heat_map(found, odd, None).axes[0].get_yticklabels()
    drawn = [label._preprocess_math(label.get_text()) for label in labels]
    assert drawn == [("$5 and $6", False), (r"$\frac{", False), (r"a\x00b", False)]
    gaps: dict[tuple[str, int], Figures] = {k: v for k, v in found.items() if k[0] == "h"}
    assert len(heat_map(gaps, NAMES, 599).axes) == 2  # one panel and the colours


# The verb


@pytest.fixture(scope="module")
def runs(folder: str, tmp_path_factory) -> Path:
    """A folder of runs, with one fit."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hsl.train"])
        patch.setenv("HSL_PROGRESS", "0")
        patch.setenv("HSL_RUN", "")
        assert train.main(arguments("fit", folder, root, name="fit")) == 0
    return root


def arguments(verb: str, backbone: str, root: Path, **changed: object) -> list[str]:
    options = {
        "runs": root, "wandb": "disabled", "model": "hsl.methods.linear.Linear",
        "model.init_args.backbone": backbone, "model.init_args.steps": 6,
        "model.init_args.timesteps": TIMES, "model.init_args.attributes": NAMES,
        "data.init_args.size": 8, "data.init_args.train": 24, "data.init_args.validation": 21,
        "data.init_args.test": 8, "trainer.max_epochs": 1, "trainer.accelerator": "cpu",
        "trainer.devices": 1, "grids.images": 2, "strength.strengths": "[0.5,1.5]",
        "strength.resize": "true", "evaluate.resize": "true",
    }  # fmt: skip
    return [verb, *(f"--{key}={value}" for key, value in (options | changed).items())]


@pytest.fixture
def call(folder: str, runs: Path, monkeypatch, capsys):
    """Exit status, and the lines of standard output and standard error, of a verb."""
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    monkeypatch.setenv("HSL_PROGRESS", "0")
    monkeypatch.setenv("HSL_RUN", "")

    def run(verb: str, **changed: object) -> tuple[int, list[str], list[str]]:
        status = train.main(arguments(verb, folder, runs, **changed))
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return run


def test_fit_leaves_boundaries_that_edit(folder: str, runs: Path) -> None:
    here = runs / "fit"
    files = {p.relative_to(here).as_posix() for p in here.rglob("*") if p.is_file()}
    assert files >= {"accuracy.csv", "accuracy.png", "summary.json", "checkpoints/final.ckpt"}
    assert files >= {f"directions/{name}.safetensors" for name in NAMES}
    summary = json.loads((here / "summary.json").read_text())
    backbone = load(folder)
    for name in NAMES:
        about = Direction.load(here / "directions" / f"{name}.safetensors", backbone).about
        assert about["t_edit"] == summary[name]["t_edit"] in TIMES
        assert about["strength"] == summary[name]["strength"] in (0.5, 1.5)


def test_validate_prints_and_writes_the_table(call, runs: Path) -> None:
    checkpoint = runs / "fit" / "checkpoints" / "final.ckpt"
    status, out, _ = call("validate", name="again", ckpt_path=checkpoint)
    assert status == 0 and out[-1] == str(runs / "again" / "validate")
    assert any("held-out images at the mixing step" in line for line in out)
    assert any("Smiling" in line for line in out)
    assert rows(runs / "again" / "validate") == rows(runs / "fit")
    Image.open(runs / "again" / "validate" / "accuracy.png").verify()


def test_test_measures_the_edits_of_the_fit(call, runs: Path) -> None:
    checkpoint = runs / "fit" / "checkpoints" / "final.ckpt"
    status, _, _ = call("test", name="test", ckpt_path=checkpoint)
    assert status == 0
    folders = (runs / "fit", runs / "test" / "test")
    one, two = (json.loads((folder / "summary.json").read_text()) for folder in folders)
    for name in NAMES:
        for key in ("images", "strength", "t_edit", "target_after", "leakage"):
            assert two[name][key] == pytest.approx(one[name][key], abs=1e-5), key


@pytest.mark.parametrize(
    ("verb", "changed", "message"),
    [
        ("validate", {}, "no boundaries yet"),
        ("test", {}, "no boundaries yet"),
        ("fit", {"model.init_args.attributes": "[Smilin]"}, "did you mean Smiling?"),
        ("fit", {"model.init_args.t": 4000}, "t=4000: want a timestep"),
        ("fit", {"model.init_args.spaces": "[eps]"}, "want x, h or both"),
        ("fit", {"mixing.space": "z"}, "mixing: space"),
    ],
)
def test_the_verbs_refuse_in_one_line(call, runs: Path, verb, changed, message) -> None:
    status, _, err = call(verb, name="bad", **changed)
    assert status == 2
    told = [line for line in err if line.startswith("hsl.train: ")]
    assert len(told) == 1 and message in told[0] and "Traceback" not in "\n".join(err)
    assert not (runs / "bad").exists()
