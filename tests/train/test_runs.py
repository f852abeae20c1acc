"""Run folders: what is replaced and what is not, who writes, names, other verbs, signals."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from hsl.errors import HslError
from hsl.files import locks
from hsl.train import command as train
from hsl.train import jobs, resume
from hsl.train.folder import Run
from runs import TESTS, Place, saved_backbone
from test_train import SMALL


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("runs")
    return Place(root, saved_backbone(root / "backbone"), SMALL)


@pytest.fixture(autouse=True)
def environment(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    monkeypatch.setenv("HSL_PROGRESS", "0")
    monkeypatch.setenv("HSL_RUN", "")


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs a command; its exit status, and the lines of both streams."""

    def run(arguments: list[str]) -> tuple[int, list[str], list[str]]:
        os.environ["HSL_RUN"] = ""
        capsys.readouterr()
        status = train.main(arguments)
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return run


@pytest.fixture(scope="module")
def finished(place: Place) -> Path:
    """The folder of a finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HSL_RUN", "")
        patch.setenv("HSL_PROGRESS", "0")
        patch.setattr(sys, "argv", ["hsl.train"])
        assert train.main(place.arguments("fit", "finished")) == 0
    return place.runs / "finished"


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def old_run(folder: Path, checkpoint: str = resume.FINAL) -> dict[str, tuple[int, int]]:
    """What an earlier run left, with an attribute that the next has not."""
    for name in (checkpoint, "directions/Old.safetensors", "grid_Old.png", "summary.json",
                 "metrics.csv", "config.yaml", "test/summary.json", "notes.txt"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"old {name}")
    return contents(folder)


def one_line(result: tuple[int, list[str], list[str]]) -> str:
    status, _, err = result
    assert status == 2 and len(err) == 1, err
    return err[0]


# What is replaced.


@pytest.mark.parametrize(
    ("checkpoint", "advice"), [(resume.FINAL, "--overwrite"), (resume.LAST, "--resume")]
)
def test_a_run_is_not_replaced_by_the_next(checkpoint, advice, place: Place, call) -> None:
    before = old_run(place.runs / f"kept {Path(checkpoint).stem}", checkpoint)
    line = one_line(call(place.arguments("fit", f"kept {Path(checkpoint).stem}")))
    assert advice in line and "--overwrite" in line
    assert contents(place.runs / f"kept {Path(checkpoint).stem}") == before


def test_files_of_no_run_are_not_replaced(place: Place, call) -> None:
    folder = place.runs / "mine"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text("mine")
    assert "summary.json" in one_line(call(place.arguments("fit", "mine")))
    assert (folder / "summary.json").read_text() == "mine"


@pytest.mark.parametrize("text", ["mine: 1\n", "a: [\n", "model: 1\n"])
def test_a_configuration_of_another_program_makes_no_run(text: str, place: Place, call) -> None:
    folder = place.runs / "theirs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text)
    assert "config.yaml: is there, and of no run" in one_line(
        call(place.arguments("fit", "theirs"))
    )
    assert (folder / "config.yaml").read_text() == text


@pytest.mark.parametrize("name", [".lock", "replaced"])
def test_something_else_in_the_place_of_hsls_own(name: str, place: Place, call) -> None:
    folder = place.runs / f"place of {name}"
    folder.mkdir(parents=True)
    (os.mkfifo if name == ".lock" else Path.touch)(folder / name)
    line = one_line(call(place.arguments("fit", folder.name)))
    assert f"{folder / name}: is " in line
    assert os.listdir(folder) == [name]


def test_overwrite_leaves_nothing_of_the_old_run(place: Place, call) -> None:
    folder = place.runs / "again"
    old_run(folder)
    status, out, _ = call([*place.arguments("fit", "again"), "--overwrite"])
    assert status == 0 and out[-1] == str(folder)
    found = contents(folder)
    assert "directions/Smiling.safetensors" in found and resume.FINAL in found
    assert (folder / "notes.txt").read_text() == "old notes.txt"  # the user's own
    assert not [name for name in found if "Old" in name or name.startswith(("test/", "replaced"))]
    assert yaml.safe_load((folder / "config.yaml").read_text())["overwrite"] is False


def test_an_error_puts_the_old_run_back(place: Place, call, monkeypatch) -> None:
    """Until the new run has found something, the old is not lost."""
    folder, seen = place.runs / "back", []
    before = old_run(folder)

    def fail(*_: object) -> None:
        seen.extend(contents(folder))
        raise OSError("No space left on device")

    monkeypatch.setattr("hsl.methods.asyrp.Asyrp.training_step", fail)
    assert "No space" in one_line(call([*place.arguments("fit", "back"), "--overwrite"]))
    assert f"replaced/{resume.FINAL}" in seen and resume.FINAL not in seen
    assert contents(folder) == before


def test_a_killed_overwrite_loses_nothing(tmp_path: Path) -> None:
    """The old run lies aside until the new one is complete, however often that is begun."""
    old_run(tmp_path)
    for _ in range(2):
        run = Run(tmp_path, "fit")
        run.claim()
        run.begin(anew=True, overwrite=True)
        (tmp_path / "config.yaml").write_text("new")
        run.close()  # as its process does
    aside = tmp_path / "replaced"
    assert (aside / resume.FINAL).read_text() == f"old {resume.FINAL}"
    assert (aside / "config.yaml").read_text() == "old config.yaml"
    assert resume.progress(tmp_path) == "nothing"
    (tmp_path / resume.FINAL).parent.mkdir()
    (tmp_path / resume.FINAL).write_text("new")
    run = Run(tmp_path, "fit")  # killed before the old one went
    run.claim()
    run.begin(anew=True, overwrite=True)
    assert (aside / resume.FINAL).read_text() == "new"  # the last complete one
    run.complete()
    run.close()
    assert not aside.exists()


# Its own configuration.


def test_a_run_from_its_config_is_another_run(finished: Path, place: Place, call) -> None:
    before = contents(finished)
    other = "--model.init_args.attribute=Young"
    status, out, err = call(["fit", f"--config={finished / 'config.yaml'}", other])
    assert status == 0, err
    folder = Path(out[-1])
    assert folder.parent == place.runs and folder != finished
    assert contents(finished) == before
    text = (folder / "config.yaml").read_text()
    assert "# filled in: data.init_args.where.test.Young: 0" in text


def test_the_config_says_which_run_is_resumed_or_tested(finished: Path, call) -> None:
    before = contents(finished)
    config = f"--config={finished / 'config.yaml'}"
    status, out, err = call(["fit", config, "--resume"])
    assert status == 0 and out[-1] == str(finished) and "complete already" in err[-1]
    checkpoint = f"--ckpt_path={finished / resume.FINAL}"
    status, out, err = call(["test", config, checkpoint])
    assert status == 0 and out[-1] == str(finished / "test"), err
    assert {k: v for k, v in contents(finished).items() if not k.startswith("test/")} == before
    assert (finished / "test" / "summary.json").exists()
    assert "--overwrite" in one_line(call(["test", config, checkpoint]))
    assert call(["test", config, checkpoint, "--overwrite"])[0] == 0


def test_filled_in_by_an_older_version(tmp_path: Path) -> None:
    """Its file says what this one fills in, and is resumed."""
    (tmp_path / "config.yaml").write_text("data: {where: {test: {Smiling: 0}}, train: 96}")
    given = "data: {where: null, train: null}"
    resume.require_alike(tmp_path, given, filled="data: {where: {test: {Smiling: 0}}, train: 96}")
    with pytest.raises(HslError, match="train"):
        resume.require_alike(tmp_path, given, filled="data: {where: null, train: 7}")


def test_fast_dev_run_leaves_no_trace(place: Place, call) -> None:
    before = old_run(place.runs / "interrupted", resume.LAST)
    others = set(place.runs.iterdir())
    arguments = place.arguments("fit", "interrupted", **{"trainer.fast_dev_run": "true"})
    status, out, err = call(arguments)
    assert status == 0 and out[-1] == "fast_dev_run: nothing is kept", err
    assert contents(place.runs / "interrupted") == before
    assert set(place.runs.iterdir()) == others
    assert "fast_dev_run" in one_line(call([*arguments, "--resume"]))


# Names.


@pytest.mark.parametrize(
    "name", ["latest", "Latest", ".", "..", ".hidden", "a/b", "/tmp", "a\\b", "a\nb", "a" * 201]
)
def test_names_that_no_run_can_have(name: str, place: Place, call) -> None:
    before = set(place.runs.iterdir()) if place.runs.exists() else set()
    line = one_line(call(place.arguments("fit", name)))
    assert line.startswith("hsl.train: --name")
    assert (set(place.runs.iterdir()) if place.runs.exists() else set()) == before


@pytest.mark.parametrize("made", ["folder", "file"])
def test_latest_that_is_no_link(made: str, tmp_path: Path) -> None:
    latest = tmp_path / "latest"
    if made == "folder":
        latest.mkdir()
    else:
        latest.write_text("mine")
    (tmp_path / "a").mkdir()
    line = jobs.point_latest(tmp_path / "a")
    assert line is not None and "latest" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "latest"]


def test_no_symbolic_links(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    (tmp_path / "a").mkdir()
    assert "privilege" in str(jobs.point_latest(tmp_path / "a"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_damaged_latest_is_mended(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "latest").symlink_to("latest")  # a ring
    for name in ("a", "b"):
        assert jobs.point_latest(tmp_path / name) is None
        assert (tmp_path / "latest").resolve() == tmp_path / name


def test_interactive_jobs_have_no_name(monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    assert jobs.job() == "slurm-7" and not jobs.by_hand()
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert jobs.job() is None and jobs.by_hand()
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    assert not jobs.by_hand()


# Several writers.

HOLDER = """
import sys, time
from pathlib import Path
from hsl.files.locks import Lock
Lock(Path(sys.argv[1])).take()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds a folder."""
    folder = tmp_path / "runs" / "held"
    folder.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process, folder
    process.kill()
    process.wait()


def test_a_run_that_lives_is_left_alone(holder, place: Place, call) -> None:
    """One line says who writes it; when that process is killed, the lock dies with it."""
    process, folder = holder
    old_run(folder, resume.LAST)
    before = contents(folder)
    for more in ([], ["--resume"], ["--overwrite"]):
        arguments = [*place.arguments("fit", "held", runs=folder.parent), *more]
        line = one_line(call(arguments))
        assert f"process {process.pid} on " in line and " since " in line, more
    assert contents(folder) == before
    process.kill()
    process.wait()
    locks.require_unlocked(folder)
    lock = locks.Lock(folder)
    lock.take()
    with pytest.raises(HslError, match=f"process {os.getpid()}"):
        locks.Lock(folder).take()  # twice in one process
    lock.release()
    assert not (folder / locks.NAME).exists()


def test_an_error_does_not_take_away_the_folder_of_another(holder) -> None:
    _, folder = holder
    run = Run(folder, "fit")
    run._fresh = folder  # it was not there a moment ago
    with pytest.raises(HslError, match="is being written by"):
        run.claim()
    assert not run.undo() and folder.exists()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    lock = locks.Lock(tmp_path)
    lock.take()
    lock.release()
    assert not list(tmp_path.iterdir())


# Signals.


@pytest.mark.parametrize(
    ("number", "status", "where"),
    [
        (signal.SIGTERM, 143, "hsl.callbacks.Strength.on_train_end"),
        (signal.SIGINT, 130, "hsl.callbacks.Evaluate.on_test_batch_end"),
    ],
)
def test_a_stopped_fit_goes_on(number, status, where, place: Place, call, monkeypatch) -> None:
    arguments = place.arguments("fit", f"stopped {status}")
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(where, lambda *_, **__: signal.raise_signal(number))
        found, _, err = call(arguments)
    assert found == status and err[-1] == "hsl.train: stopped; go on with --resume"
    assert not [line for line in err if "Traceback" in line]
    assert not (place.runs / f"stopped {status}" / locks.NAME).exists()
    assert signal.getsignal(number) is before
    assert call([*arguments, "--resume"])[0] == 0


def test_a_stopped_closed_form_and_a_fit_without_a_name(place: Place, call, monkeypatch) -> None:
    changed = {
        "model": "hsl.methods.linear.Linear", "model.init_args.timesteps": "[200,600]",
        "model.init_args.attributes": "[Smiling]", "data.init_args.where": "{}",
    }  # fmt: skip
    small = {k: v for k, v in SMALL.items() if not k.endswith(("t_edit", "t_boost", "t_start"))}
    arguments = place._replace(small=changed | small).arguments("fit", "")
    arguments = [argument for argument in arguments if not argument.startswith("--name")]
    monkeypatch.setattr(
        "hsl.methods.linear.Linear.training_step", lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    status, _, err = call(arguments)
    assert status == 143
    assert err[-1].startswith("hsl.train: stopped; go on with --name 2"), err
    assert err[-1].endswith(" --resume")


def test_a_stopped_overwrite_leaves_the_old_run(place: Place, call, monkeypatch) -> None:
    before = old_run(place.runs / "old")
    monkeypatch.setattr(
        "hsl.methods.asyrp.Asyrp.training_step", lambda *_: signal.raise_signal(signal.SIGINT)
    )
    status, _, err = call([*place.arguments("fit", "old"), "--overwrite"])
    assert status == 130 and err[-1] == "hsl.train: stopped"
    assert contents(place.runs / "old") == before


# Loggers and progress bars.


def test_wandb_that_is_off_or_not_installed(tmp_path: Path, monkeypatch) -> None:
    from hsl.train.loggers import loggers

    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert len(loggers(tmp_path, "a", "offline", None)) == 1
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert len(loggers(tmp_path, "a", "offline", None)) == 1
    with pytest.raises(HslError, match="pip install wandb"):
        loggers(tmp_path, "a", "online", None)


@pytest.mark.parametrize(
    "changed",
    [
        {"trainer.enable_progress_bar": "false"},
        {"trainer.callbacks": "[{class_path: TQDMProgressBar}]"},
        {"trainer.logger": "{class_path: CSVLogger, init_args: {save_dir: logs}}"},
    ],
)
def test_another_progress_bar_or_logger(changed, place: Place, call, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = call(place.arguments("fit", f"bar {next(iter(changed))}", **changed))
    assert status == 0, err
    assert (Path(out[-1]) / "summary.json").exists()


def test_a_logger_that_is_not_installed(place: Place, call) -> None:
    logger = "{class_path: CometLogger, init_args: {workspace: a}}"
    line = one_line(call(place.arguments("fit", "comet", **{"trainer.logger": logger})))
    assert "comet" in line and not (place.runs / "comet").exists()


# Machines.


def test_slurm_variables_without_srun(place: Place, call, monkeypatch) -> None:
    """As in ``salloc -n 4``: the run works, and SLURM's own plugin is refused."""
    for name, value in (("JOB_ID", "77"), ("JOB_NAME", "job"), ("NTASKS", "4")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    status, out, err = call(place.arguments("predict", "alone", **cached(place)))
    assert status == 0 and out[-1] == str(place.runs / "alone" / "predict"), err
    plugin = "{class_path: lightning.pytorch.plugins.environments.SLURMEnvironment}"
    arguments = place.arguments("fit", "srun", **{"trainer.plugins": f"[{plugin}]"})
    assert "srun" in one_line(call(arguments))


def cached(place: Place) -> dict[str, object]:
    return {"model.init_args.cache": place.root / "cache"}


def test_predict_sweeps_what_a_killed_one_left(place: Place, call) -> None:
    folder = place.root / "swept"
    assert call(place.arguments("predict", "one", **{"model.init_args.cache": folder}))[0] == 0
    record = next(folder.glob("??/*.safetensors"))
    code = "from hsl.files.leftovers import temporary_name as name; print(name('.safetensors'))"
    name = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
    ).stdout.strip()  # fmt: skip
    left, living = record.with_name(name), record.with_name(".hsl-0123456789abcdef0123")
    for path in (left, living):
        path.write_bytes(b"half")
    assert call(place.arguments("predict", "two", **{"model.init_args.cache": folder}))[0] == 0
    assert not left.exists() and living.exists()  # that of another machine may be written now


AGREEING = """
    import sys, time
    from pathlib import Path
    from hsl.train import jobs
    import os
    time.sleep(2 * int(os.environ["RANK"]))
    print(jobs.agreed(lambda: jobs.new_folder(Path(sys.argv[1]))))
"""


@pytest.mark.slow
def test_ranks_that_a_launcher_starts_agree_on_a_name(tmp_path: Path) -> None:
    script = tmp_path / "agree.py"
    script.write_text(textwrap.dedent(AGREEING))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         str(script), str(tmp_path / "runs")],
        capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = [path.name for path in (tmp_path / "runs").iterdir()]
    assert len(names) == 1 and done.stdout.split() == names * 2


@pytest.mark.parametrize("given", ["a/b", "../x", "a\nb", "x" * 300])
def test_the_name_of_a_job_is_that_of_one_folder(given: str, monkeypatch) -> None:
    """torchrun's ``--rdzv-id`` is any text."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", given)
    name = str(jobs.job())
    jobs.require_name(name)
    assert name.startswith("torchrun-") and name == jobs.job()
