"""A run that is killed at any time, and resumed, ends as one that was left alone."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hsl.data.items import Order
from hsl.directions import Direction
from hsl.errors import HslError
from hsl.store import Store
from hsl.train import command as train
from hsl.train import resume
from hsl.train.checkpoints import _prepare
from runs import TESTS, Place, faces, saved_backbone

#: Four batches of two or one images in each of three epochs, of two steps each.
SMALL = {
    "strength.resize": "true",
    "evaluate.resize": "true",
    "model.init_args.steps": 4,
    "model.init_args.t_edit": 300,
    "model.init_args.t_boost": 100,
    "model.init_args.t_start": "null",
    "data.init_args.size": 8,
    "data.init_args.train": 7,
    "data.init_args.validation": 2,
    "data.init_args.test": 3,
    "data.init_args.batch_size": 2,
    "trainer.max_epochs": 3,
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "checkpoints.every_n_batches": 1,
    "strength.strengths": "[0.5,1.5]",
    "grids.images": 2,
    "wandb": "disabled",
}
BATCHES = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("resume")
    return Place(root, saved_backbone(root / "backbone"), SMALL)


def run(place: Place, *runs: tuple[list[str], object]) -> list[int]:
    """Start runs one after the other, kill each at its moment; their exit statuses."""
    script, log = place.root / "runs.json", place.root / "log.txt"
    script.write_text(json.dumps(runs))
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "HSL_PROGRESS": "0", "HSL_RUN": ""}
    environment |= {"OMP_NUM_THREADS": "1"}
    with log.open("w") as err:
        done = subprocess.run(
            [sys.executable, TESTS / "killing.py", script],
            env=environment, stdout=subprocess.PIPE, stderr=err, text=True, timeout=600,
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, log.read_text()[-2000:]
    statuses: list[int] = json.loads(done.stdout)
    return statuses


@pytest.fixture(scope="module")
def alone(place: Place) -> Path:
    """The folder of a run that was left alone, beside that of one that was killed twice."""
    arguments = place.arguments("fit", "often")
    later = [*arguments, "--resume"]
    statuses = run(
        place,
        (place.arguments("fit", "alone"), None),
        (arguments, MOMENTS["within the second epoch"]),
        (later, MOMENTS["while a checkpoint is written"]),
        (later, None),
    )
    assert statuses == [0, KILLED, KILLED, 0]
    return place.runs / "alone"


def weights(folder: Path) -> dict[str, Tensor]:
    return {
        f"{path.stem}.{key}": value
        for path in sorted((folder / "directions").iterdir())
        for key, value in Direction.load(path).state_dict().items()
    }


def assert_the_same(folder: Path, other: Path) -> None:
    """Weights bit for bit, all figures, all rows of the metrics."""
    one, two = weights(folder), weights(other)
    assert one.keys() == two.keys() and one
    for key in one:
        assert torch.equal(one[key], two[key]), key
    figures = [json.loads((f / "summary.json").read_text()) for f in (folder, other)]
    for found in figures:
        for part in (found, *(value for value in found.values() if isinstance(value, dict))):
            for name in ("seconds", "peak_memory_mb"):
                part.pop(name, None)
    assert figures[0] == figures[1]
    if (folder / "metrics.csv").exists():
        tables = [list(csv.DictReader((f / "metrics.csv").open())) for f in (folder, other)]
        assert tables[0] == tables[1]
    kept = {path.name for path in (other / "checkpoints").iterdir()}
    assert kept == {"final.ckpt"}
    assert not [path for path in other.rglob(".*")]  # nothing temporary


STEP = "hsl.methods.asyrp:Asyrp.training_step"
MOMENTS = {
    "before the first checkpoint": f"{STEP}:1",
    "within the first epoch": f"{STEP}:3",
    "within the second epoch": f"{STEP}:{BATCHES + 2}",
    "between epochs": "hsl.methods.asyrp:Asyrp.on_train_epoch_start:2",
    "while a checkpoint is written": "torch:save:6",
    "before the first one gets its name": "os:replace:2",
    "before an epoch's figures are written": "hsl.train.checkpoints:Checkpoints._save:5",
    "after the last epoch": "hsl.train.inside_lightning:FitLoop.on_run_end:1",
    "while strengths are chosen": "hsl.callbacks:Strength.on_train_end:1",
    "before directions are exported": "hsl.callbacks:Directions.on_train_end:1",
    "while the last checkpoint is written": "torch:save:13",
    "before the test": "hsl.train.command:HslCLI.after_fit:1",
    "within the test": "hsl.callbacks:Evaluate.on_test_batch_end:2",
    "before the last pictures": "hsl.callbacks:Grids.on_test_end:1",
}
KILLED = -signal.SIGKILL


def test_killed_and_resumed(place: Place, alone: Path) -> None:
    assert_the_same(alone, place.runs / "often")


@pytest.mark.slow
def test_killed_at_each_moment(place: Place, alone: Path) -> None:
    runs: list[tuple[list[str], object]] = []
    for i, moment in enumerate(MOMENTS.values()):
        arguments = place.arguments("fit", f"moment {i}")
        runs += [(arguments, moment), ([*arguments, "--resume"], None)]
    *statuses, again = run(place, *runs, ([*place.arguments("fit", "alone"), "--resume"], None))
    assert again == 0  # a complete run is left as it is
    for i, moment in enumerate(MOMENTS):
        assert statuses[2 * i : 2 * i + 2] == [KILLED, 0], moment
        assert_the_same(alone, place.runs / f"moment {i}")


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{}, {"checkpoints.every_n_batches": "null"}])
def test_killed_at_random_times(place: Place, alone: Path, changed: dict) -> None:
    """With a folder for what is kept of each image, and without; a run that is killed before its
    next checkpoint does not get on, so that the times grow."""
    name, cached = f"random {len(changed)}", {"model.init_args.cache": place.root / "cache"}
    generator = random.Random(len(changed))
    arguments = place.arguments("fit", name, **changed, **(cached if changed else {}))
    later = [*arguments, "--resume"]
    times = [generator.uniform(1.0, 2.0 + i) for i in range(6)]
    begun = (arguments, MOMENTS["before the first checkpoint"])
    statuses = run(place, begun, *((later, seconds) for seconds in times), (later, None))
    assert KILLED in statuses and statuses[-1] == 0
    assert_the_same(alone, place.runs / name)


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["shift", "global", "eps"])
def test_several_attributes_and_other_directions(place: Place, direction: str) -> None:
    options = {
        "model.init_args.attribute": "[Smiling,Young]",
        "model.init_args.direction": direction,
        "data.init_args.where": "{validation: {Smiling: 0}, test: {Smiling: 0}}",
        "checkpoints.every_n_batches": 3,
    }
    alone, killed = (
        place.arguments("fit", f"{direction} {n}", **options) for n in ("alone", "killed")
    )
    later = [*killed, "--resume"]
    assert run(place, (alone, None), (killed, f"{STEP}:5"), (later, f"{STEP}:4"), (later, None)) \
        == [0, KILLED, KILLED, 0]  # fmt: skip
    assert_the_same(place.runs / f"{direction} alone", place.runs / f"{direction} killed")


LINEAR = {
    "model": "hsl.methods.linear.Linear",
    "model.init_args.steps": 6,
    "model.init_args.timesteps": "[200,600]",
    "model.init_args.attributes": "[Smiling]",
    "data.init_args.size": 8,
    "data.init_args.train": 13,
    "data.init_args.validation": 6,
    "data.init_args.test": 3,
    "data.init_args.batch_size": 4,
    "data.init_args.where": "{}",
    "trainer.max_epochs": 1,
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "strength.strengths": "[0.5,1.5]",
    "grids.images": 2,
    "wandb": "disabled",
}


def linear(place: Place, verb: str, name: str, **changed: object) -> list[str]:
    options = LINEAR | {"model.init_args.backbone": place.backbone, "runs": place.runs}
    options |= {"name": name, "model.init_args.cache": place.root / f"cache of {name}"} | changed
    return [verb, *(f"--{key}={value}" for key, value in options.items())]


@pytest.mark.slow
def test_closed_forms(place: Place) -> None:
    """Killed while features are kept, while they are written, and at the end."""
    alone, killed = (linear(place, "fit", f"linear {name}") for name in ("alone", "killed"))
    later = [*killed, "--resume"]
    moments = [
        "hsl.methods.linear:Linear.training_step:3",
        "hsl.store:Store.put:3",
        "hsl.methods.linear:Linear.fit_boundaries:1",
        "hsl.callbacks:Strength.on_train_end:1",
        "hsl.callbacks:Evaluate.on_test_batch_end:1",
    ]
    runs = [(alone, None), (killed, moments[0]), *((later, m) for m in moments[1:]), (later, None)]
    assert run(place, *runs) == [0, *[KILLED] * len(moments), 0]
    assert_the_same(place.runs / "linear alone", place.runs / "linear killed")
    tables = [
        (place.runs / f"linear {n}" / "accuracy.csv").read_text() for n in ("alone", "killed")
    ]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_predict_takes_up_where_it_stopped(place: Place) -> None:
    cache = place.root / "cache of inverted"
    arguments = linear(place, "predict", "inverted")
    assert run(place, (arguments, "hsl.store:Store.put:8")) == [KILLED]
    first = {path: path.stat().st_mtime_ns for path in cache.rglob("*/*.safetensors")
             if not path.name.startswith(".")}  # fmt: skip
    assert len(first) == 7
    assert run(place, (arguments, None)) == [0]
    records = {path: path.stat().st_mtime_ns for path in cache.rglob("*/*.safetensors")}
    assert len([path for path in records if not path.name.startswith(".")]) == 13 + 6 + 3
    assert all(records[path] == when for path, when in first.items())  # not made again


def refused(place: Place, arguments: list[str], capsys) -> str:
    """The one line with which a command is refused, by a status of 2."""
    os.environ["HSL_RUN"] = ""
    assert train.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_what_cannot_be_resumed(place: Place, alone: Path, capsys) -> None:
    """One line says why and what to do; nothing is written."""
    unfinished = place.runs / "unfinished"
    shutil.copytree(alone, unfinished)
    (unfinished / "checkpoints" / "final.ckpt").rename(unfinished / "checkpoints" / "last.ckpt")
    before = contents(place.runs)
    line = refused(place, [*place.arguments("fit", "nowhere"), "--resume"], capsys)
    assert "nowhere" in line and "without --resume" in line
    changed = place.arguments(
        "fit", "unfinished", **{"model.init_args.steps": 6, "seed_everything": 1}
    )
    line = refused(place, [*changed, "--resume"], capsys)
    assert "model.init_args.steps was 4, is 6" in line and "seed_everything was 0, is 1" in line
    nameless = [a for a in place.arguments("fit", "x") if not a.startswith("--name")]
    assert "--name" in refused(place, [*nameless, "--resume"], capsys)
    arguments = [*place.arguments("fit", "unfinished"), "--resume"]
    cached = [*arguments, "--model.init_args.cache=elsewhere"]
    assert "cache was None, is 'elsewhere'" in refused(place, cached, capsys)
    test = ["test", *arguments[1:]]
    assert "give it to fit" in refused(place, test, capsys)
    assert contents(place.runs) == before
    own = place.arguments("fit", "alone", ckpt_path=alone / "checkpoints" / "final.ckpt")
    assert "another --name" in refused(place, own, capsys)
    shutil.move(unfinished / "checkpoints", place.root / "checkpoints")  # as before the first
    other = f"--ckpt_path={alone / 'checkpoints' / 'final.ckpt'}"
    assert "ckpt_path was None, is" in refused(place, [*arguments, other], capsys)
    assert "was 4, is 6" in refused(place, [*changed, "--resume"], capsys)
    shutil.move(place.root / "checkpoints", unfinished / "checkpoints")
    (unfinished / "checkpoints" / "last.ckpt").write_bytes(b"junk")
    assert "last.ckpt: neither" in refused(place, arguments, capsys)
    (unfinished / "config.yaml").write_text("{")
    assert "config.yaml" in refused(place, arguments, capsys)


@pytest.mark.slow
def test_a_checkpoint_to_begin_with(place: Place, alone: Path) -> None:
    """A run that began with another's checkpoint, killed before it had one of its own, begins with
    that again, and later goes on from its own."""
    other = alone / "checkpoints" / "final.ckpt"
    options = {"ckpt_path": other, "trainer.max_epochs": 5}
    unkilled, killed = (place.arguments("fit", f"warm {n}", **options) for n in ("alone", "killed"))
    later = [*killed, "--resume"]
    before, within = f"{STEP}:1", f"{STEP}:{BATCHES + 2}"
    assert run(place, (unkilled, None), (killed, before)) == [0, KILLED]
    assert run(place, (later, within), (later, None)) == [KILLED, 0]
    assert_the_same(place.runs / "warm alone", place.runs / "warm killed")


def test_other_verbs_leave_a_fit_as_it_is(place: Place, alone: Path, capsys) -> None:
    """Its settings and metrics; a complete one needs no settings."""
    names, folder = ("config.yaml", "metrics.csv"), place.runs / "tested"
    shutil.copytree(alone, folder)
    before = {name: (folder / name).read_bytes() for name in names}
    checkpoint = folder / "checkpoints" / "final.ckpt"
    fit = place.arguments("fit", "tested", **{"model.init_args.steps": 6})
    os.environ["HSL_RUN"] = ""
    assert train.main(["test", *fit[1:], f"--ckpt_path={checkpoint}"]) == 0
    assert {name: (folder / name).read_bytes() for name in names} == before
    assert not list(folder.glob("metrics-*.csv"))
    assert "steps: 6" in (folder / "test" / "config.yaml").read_text()
    os.environ["HSL_RUN"] = ""
    assert train.main([*fit, "--resume"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"{folder} is complete already"


def test_runs_of_a_job(place: Place, alone: Path, capsys, monkeypatch) -> None:
    """A second fit without a name is refused; a job that is started again resumes its run."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
    shutil.copytree(alone, place.runs / "torchrun-7")
    before = contents(place.runs)
    nameless = [a for a in place.arguments("fit", "") if not a.startswith("--name")]
    assert "give --name" in refused(place, nameless, capsys)
    for variable in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "1")
            os.environ["HSL_RUN"] = ""
            assert train.main(nameless) == 0
            assert "complete already" in capsys.readouterr().err
    assert contents(place.runs) == before


def test_an_error_late_in_training_leaves_its_checkpoint(place: Place, capsys, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    arguments = place.arguments("fit", "late")
    with monkeypatch.context() as patch:
        patch.setattr("hsl.callbacks.Strength.on_train_end", fail)
        os.environ["HSL_RUN"] = ""
        assert train.main(arguments) == 2
        assert "No space left" in capsys.readouterr().err
    assert (place.runs / "late" / resume.LAST).exists()
    os.environ["HSL_RUN"] = ""
    assert train.main([*arguments, "--resume"]) == 0
    assert (place.runs / "late" / resume.FINAL).exists()


@pytest.mark.parametrize(
    ("limit", "first", "taken"),
    [(2, 0, [(0, 2), (1, 2), (2, 1)]), (2, 1, [(1, 2), (2, 1)]), (3, 0, [(0, 3)])],
)
def test_what_a_resumed_run_takes_up(limit: int, first: int, taken: list) -> None:
    """In the third epoch, after its first batch: of the first epoch alone if that saw all images,
    else of all; in the batches that they were in."""
    data, seen = faces(6, batch_size=2), list[Tensor]()
    epochs, batches = SimpleNamespace(ready=3, processed=2), SimpleNamespace(processed=1)
    loop = SimpleNamespace(batch_progress=SimpleNamespace(current=batches))
    data.trainer = trainer = SimpleNamespace(
        fit_loop=SimpleNamespace(epoch_progress=SimpleNamespace(current=epochs), epoch_loop=loop),
        world_size=1, global_rank=0, num_training_batches=limit, datamodule=data,
    )  # type: ignore[assignment]  # fmt: skip
    method = SimpleNamespace(
        store=Store(), device="cpu", prepare=seen.append,
        transfer_batch_to_device=lambda batch, *_: batch,
    )  # fmt: skip
    _prepare(trainer, method, first)  # type: ignore[arg-type]
    images = data.dataset("train")
    wanted = []
    for epoch, count in taken:
        order = set_epoch(data.order(images), epoch).order()
        wanted += [order[2 * i : 2 * i + 2] for i in range(count)]
    assert len(seen) == len(wanted)
    for batch, rows in zip(seen, wanted, strict=True):
        assert torch.equal(batch, torch.stack([images[i].image for i in rows]))


def test_order_of_a_resumed_epoch() -> None:
    """The order is that of a loader whose generator goes on, which the shipped figures had; of two
    ranks it is the same, dealt out; and what was seen before is left out of its epoch alone."""
    data, generator = faces(6, batch_size=2), torch.Generator().manual_seed(0)
    images = data.dataset("train")
    loader = DataLoader(range(6), 2, shuffle=True, generator=generator)
    for epoch in range(3):
        batches = iter(loader)
        wanted = torch.cat([next(batches) for _ in range(3)]).tolist()
        dealt = ((1, 0, (0, 0)), (2, 0, (1, 2)), (2, 1, (1, 2)))
        orders = [
            list(set_epoch(data.order(images, *ranks, begin=begin), epoch))
            for *ranks, begin in dealt
        ]
        assert orders[0] == wanted
        seen = 2 if epoch == 1 else 0
        assert orders[1:] == [wanted[0::2][seen:], wanted[1::2][seen:]]


def set_epoch(order: Order, epoch: int) -> Order:
    order.set_epoch(epoch)
    return order


def test_a_batch_that_was_half_kept_is_made_as_a_whole() -> None:
    store, asked = Store(), []

    def compute(rows: list[int]) -> list[dict[str, Tensor]]:
        asked.append(rows)
        return [{"row": torch.tensor([row])} for row in rows]

    store.put("a", {"row": torch.tensor([7])})
    store.many(["a", "b"], compute)
    store.whole = True
    found = store.many(["a", "c", "b", "c"], compute)
    assert asked == [[1], [0, 1, 2]]  # all of the batch, each once
    assert [int(record["row"]) for record in found] == [7, 1, 1, 1]  # what was there stays
    store.many(["a", "b"], compute)
    assert len(asked) == 2


def test_the_rows_before_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    assert resume.cut_metrics(path, 4, {}) == []
    path.write_text("epoch,loss,lr,step\n0,,1,0\n0,,1,3\n0,0.5,,3\n1,0.4,,7\n1,0.")
    rows = resume.cut_metrics(path, 4, {"loss": 0.5, "epoch": 0})
    assert [row["step"] for row in rows] == ["0", "3"] and "loss" not in rows[1]
    assert len(resume.cut_metrics(path, None, {})) == 4
    tested = tmp_path / "tested.csv"  # killed after its figures were logged, before it was complete
    tested.write_text("epoch,loss,step,test/effect\n0,0.5,3,\n1,,4,0.9\n")
    assert [row["step"] for row in resume.cut_metrics(tested, None, {})] == ["3"]
    resume.write_metrics(path, rows)
    assert path.read_text().splitlines() == ["epoch,lr,step", "0,1,0", "0,1,3"]


DAMAGED = {
    "not text": b"epoch,step\n\xff\xfe,1\n",
    "NUL": b"epoch,step\n\x00,1\n",
    "no step": b"epoch,loss\n0,1\n",
    "no number": b"epoch,step\n0,one\n",
    "digits": b"epoch,step\n0," + b"9" * 5000 + b"\n",
    "longer row": b"epoch,step\n0,1,2\n",
    "shorter row": b"epoch,loss,step\n0,1\n",
    "quotes": b'epoch,step\n"0"x,1\n',
    "a field without end": b'epoch,step\n"' + b"x" * 200_000 + b'",1\n',
}


@pytest.mark.parametrize("which", DAMAGED)
def test_damaged_rows_are_one_line(which: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(DAMAGED[which])
    with pytest.raises(HslError, match=r"metrics\.csv: ") as refused:
        resume.cut_metrics(path, 4, {})
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
    with pytest.raises(HslError, match="a folder"):
        resume.cut_metrics(tmp_path, 4, {})


@pytest.mark.parametrize(
    "text",
    [b"{", b"", b"- a", b"a: &a [*a]", b"name: L\xe4", b"a: !!python/name:os.system",
     b"a: " + b"[" * 20_000, b"a: " + b"9" * 5000],
)  # fmt: skip
def test_a_damaged_configuration_is_one_line(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(text)
    with pytest.raises(HslError, match=r"config\.yaml: .*cannot be resumed") as refused:
        resume.require_alike(tmp_path, "a: 1\n")
    assert "\n" not in str(refused.value)
