"""``python -m hsl.train``: what a run leaves behind, and how it refuses."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from hsl.backbones import load
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.directions import Direction
from hsl.store import Store
from hsl.train import command as train
from runs import Place, saved_backbone

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "strength.resize": "true",
    "evaluate.resize": "true",
    "model.init_args.steps": 6,
    "model.init_args.t_edit": 300,
    "model.init_args.t_boost": 100,
    "model.init_args.t_start": "null",
    "data.init_args.size": 8,
    "data.init_args.train": 4,
    "data.init_args.validation": 3,
    "data.init_args.test": 3,
    "data.init_args.batch_size": 2,
    "trainer.max_epochs": 1,
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "strength.strengths": "[0.5,1.5]",
    "grids.images": 2,
    "wandb": "disabled",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("train")
    return Place(root, saved_backbone(root / "backbone"), SMALL)


@pytest.fixture(autouse=True, scope="module")
def environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hsl.train"])  # Lightning warns of options beside ours
        patch.setenv("HSL_PROGRESS", "0")
        patch.setenv("HSL_RUN", "")  # set by a run; put back afterwards
        yield


def call(arguments: list[str]) -> tuple[int, list[str], list[str]]:
    """Exit status, and the lines of standard output and standard error."""
    os.environ["HSL_RUN"] = ""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = train.main(arguments)
    return status, out.getvalue().splitlines(), err.getvalue().splitlines()


@pytest.fixture(scope="module")
def run(place: Place) -> Path:
    """The folder of one small fit."""
    status, out, err = call(place.arguments("fit", "one"))
    assert status == 0
    assert out[-1] == str(place.runs / "one")
    assert not [line for line in out + err if "it/s" in line]  # no bar, where none can move
    return place.runs / "one"


def figures(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_a_run_folder_is_complete(run: Path) -> None:
    files = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert files >= {
        "directions/Smiling.safetensors", "grid.png", "metrics.csv", "config.yaml", "summary.json"
    }  # fmt: skip
    assert not [name for name in files if Path(name).name.startswith(".")]  # nothing temporary
    Image.open(run / "grid.png").verify()
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert any(row.get("train/loss") for row in rows)
    assert figures(run)["images"] == 3 and figures(run)["strength"] in (0.5, 1.5)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["t_edit"] == 300
    assert config["name"] is config["data"]["init_args"]["where"] is None  # as it was given
    lines = (run / "config.yaml").read_text().splitlines()
    assert "# filled in: data.init_args.where.test.Smiling: 0" in lines


def test_latest_points_to_the_run(run: Path, place: Place) -> None:
    link = place.runs / "latest"
    assert link.is_symlink() and link.resolve().is_dir()
    cache = {"model.init_args.cache": place.root / "another cache"}
    assert call(place.arguments("predict", "later", **cache))[0] == 0
    assert link.resolve() == (place.runs / "later").resolve()
    assert not Path(os.readlink(link)).is_absolute()  # the folder of runs can be moved


def test_the_saved_direction_can_be_used(run: Path, place: Place) -> None:
    path = run / "directions" / "Smiling.safetensors"
    about = Direction.load(path, load(place.backbone)).about
    assert about["t_edit"] == 300 and about["backbone_hash"]
    assert about["strength"] == figures(run)["strength"]


def test_a_checkpoint_tests_alike(run: Path, place: Place) -> None:
    checkpoint = run / "checkpoints" / "final.ckpt"
    held = torch.load(checkpoint, weights_only=True)
    assert all(key.startswith("directions.") for key in held["state_dict"])
    status, out, _ = call(place.arguments("test", "again", ckpt_path=checkpoint))
    assert status == 0 and out[-1] == str(place.runs / "again" / "test")
    first, second = figures(run), figures(place.runs / "again" / "test")
    for name in ("strength", "t_edit", "t_boost", "target_after", "leakage", "s_dir"):
        assert second[name] == pytest.approx(first[name], abs=1e-5), name
    assert (place.runs / "again" / "test" / "grid.png").exists()
    assert not (place.runs / "again" / "grid.png").exists()


def test_a_config_file_repeats_its_run(run: Path, place: Place) -> None:
    config = f"--config={run / 'config.yaml'}"
    status, _, err = call(["fit", config, "--name=repeated", f"--runs={place.runs}"])
    assert status == 0, err
    paths = [folder / "directions" / "Smiling.safetensors"
             for folder in (run, place.runs / "repeated")]  # fmt: skip
    one, other = (Direction.load(path).state_dict() for path in paths)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_several_attributes_in_one_run(place: Place) -> None:
    """Each is measured on the faces that it can be brought to."""
    names = ["Smiling", "Not_Young"]
    several = {"model.init_args.attribute": f"[{', '.join(names)}]", "data.init_args.test": 6}
    status, out, err = call(place.arguments("fit", "several", **several))
    assert status == 0, err
    folder = Path(out[-1])
    found = {path.stem: Direction.load(path) for path in (folder / "directions").iterdir()}
    assert set(found) == set(names)
    assert found["Not_Young"].about["texts"] == ["face", "old face"]
    summaries = figures(folder)
    data = ToyFacesDataModule(size=8, test=6)
    labels = dict(zip(data.names, data.faces("test").labels.T, strict=True))
    assert summaries["Smiling"]["images"] == int((labels["Smiling"] == 0).sum())
    assert summaries["Not_Young"]["images"] == int((labels["Young"] == 1).sum())
    assert 0 <= summaries["Not_Young"]["target_after"] <= 1
    assert all((folder / f"grid_{name}.png").exists() for name in names)


def test_an_attribute_that_has_no_label(place: Place) -> None:
    """A name of one's own with texts of one's own is edited and tested on all faces."""
    own = {
        "model.init_args.attribute": "grin",
        "model.init_args.source": "face",
        "model.init_args.target": "smiling face",
    }
    status, out, err = call(place.arguments("fit", "own", **own))
    assert status == 0, err
    assert (Path(out[-1]) / "directions" / "grin.safetensors").exists()
    config = yaml.safe_load((Path(out[-1]) / "config.yaml").read_text())
    assert config["data"]["init_args"]["where"] is None


def test_predict_fills_the_cache(place: Place) -> None:
    cache = {"model.init_args.cache": place.root / "cache"}
    status, out, _ = call(place.arguments("predict", "inverted", **cache))
    assert status == 0 and out[-1] == str(place.runs / "inverted" / "predict")
    records = list((place.root / "cache").rglob("*.safetensors"))
    assert len(records) == 4 + 3 + 3
    assert set(Store(place.root / "cache").get(records[0].stem)) == {"x_T"}


def test_runs_of_one_second_have_folders_of_their_own(place: Place, monkeypatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "now")
    last = []
    for _ in range(2):
        cache = {"model.init_args.cache": place.root / "shared cache"}
        arguments = place.arguments("predict", "", **cache)
        last += call([item for item in arguments if not item.startswith("--name")])[1][-1:]
    assert last == [str(place.runs / name / "predict") for name in ("now", "now-2")]


WRONG = {
    "misspelt": ({"model.init_args.stepps": 6}, "stepps"),
    "misspelt at the top": ({"stepps": 6}, "stepps"),
    "no number": ({"model.init_args.steps": "many"}, "many"),
    "one step": ({"model.init_args.steps": 1}, "steps"),
    "unknown attribute": ({"model.init_args.attribute": "Zebra"}, "Zebra"),
    "unknown word": ({"model.init_args.target": "zebra"}, "zebra"),
    "unknown class": ({"model": "Nonsense"}, "Nonsense"),
    "no backbone": ({"model.init_args.backbone": "/nowhere/here"}, "/nowhere/here"),
    "no network": ({"model.init_args.backbone": "google/ddpm-ema-celebahq-256"}, "network"),
    "judge trains": ({"model.init_args.clip": "toyfaces/judge"}, "judge"),
    "judge chooses": ({"strength.guide": "toyfaces/judge"}, "judge"),
    "guide measures": ({"evaluate.attributes": "toyfaces/guide"}, "guide"),
    "guide clip measures": ({"evaluate.clip": "toyfaces/guide"}, "guide"),
    "no config": ({"config": "/nowhere.yaml"}, "/nowhere.yaml"),
    "no faces": ({"data.init_args.train": 0}, "train is 0"),
    "no checkpoint": ({"ckpt_path": "/nowhere.ckpt"}, "/nowhere.ckpt"),
    "no last checkpoint": ({"ckpt_path": "last"}, "--resume"),
    "no devices": ({"trainer.devices": "[1"}, "trainer: "),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_is_wrong_is_said_in_one_line(which: str, place: Place) -> None:
    changed, message = WRONG[which]
    status, _, err = call(place.arguments("fit", f"wrong {which}", **changed))
    assert status == 2
    assert len(err) == 1 and message in err[0] and err[0].startswith("hsl.train: ")
    assert not (place.runs / f"wrong {which}").exists()  # no half-written run
    assert not (place.runs / "latest").is_symlink() or (place.runs / "latest").exists()


def test_a_checkpoint_of_another_backbone_or_a_damaged_one(run: Path, place: Place) -> None:
    checkpoint = run / "checkpoints" / "final.ckpt"
    other = saved_backbone(place.root / "other", seed=1)
    junk = place.root / "junk.ckpt"
    junk.write_bytes(b"junk")
    for changed in (
        {"ckpt_path": checkpoint, "model.init_args.backbone": other},
        {"ckpt_path": junk},
    ):
        status, _, err = call(place.arguments("test", "wrong", **changed))
        assert status == 2 and len(err) == 1 and not (place.runs / "wrong").exists()


def test_the_command_itself(place: Place) -> None:
    """A subprocess: no traceback, no advice of libraries, exit status 2."""
    arguments = place.arguments("fit", "wrong", **{"model.init_args.attribute": "Zebra"})
    done = subprocess.run(
        [sys.executable, "-m", "hsl.train", *arguments],
        cwd=place.root, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HSL_RUN": ""},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1 and "Zebra" in done.stderr, done.stderr


@pytest.mark.slow
def test_weights_and_biases_offline(place: Place) -> None:
    status, out, _ = call(place.arguments("fit", "tracked", wandb="offline"))
    assert status == 0 and out[-1] == str(place.runs / "tracked")
    assert list((place.runs / "tracked").rglob("*.wandb"))
    assert (place.runs / "tracked" / "metrics.csv").exists()
