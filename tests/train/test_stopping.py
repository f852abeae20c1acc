"""Signals to whole commands: two ranks, and SLURM's requeueing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runs import TESTS, saved_backbone
from test_ranks_fit import start
from test_resume import SMALL, assert_the_same

pytestmark = pytest.mark.slow


def wait_for(process: subprocess.Popen[bytes], path: Path) -> None:
    until = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_two_ranks_are_stopped_together(number: int, status: int, tmp_path: Path) -> None:
    """The signal reaches the process that was started: it ends the other, and says one line."""
    saved_backbone(tmp_path / "backbone")
    process = start(tmp_path, "both", "--trainer.max_epochs=500")
    wait_for(process, tmp_path / "both" / "checkpoints" / "last.ckpt")
    process.send_signal(number)
    assert process.wait(timeout=60) == status
    lines = (tmp_path / "both.log").read_text().splitlines()
    assert [line for line in lines if line.startswith("hsl.train:")] == [
        "hsl.train: stopped; go on with --resume"
    ]
    with pytest.raises(ProcessLookupError):  # nobody is left of its group
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)


SCONTROL = """#!/bin/sh
echo "$@" > {asked}
kill -TERM $PPID
sleep 1
"""


def test_slurm_requeues_and_the_run_goes_on(tmp_path: Path) -> None:
    """On SIGUSR1 Lightning asks SLURM to put the job back into its queue, and SLURM ends it."""
    backbone = saved_backbone(tmp_path / "backbone")
    asked, tool = tmp_path / "asked", tmp_path / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(SCONTROL.format(asked=asked))
    tool.chmod(0o755)
    plugin = "{class_path: lightning.pytorch.plugins.environments.SLURMEnvironment}"
    settings = SMALL | {
        "model.init_args.backbone": backbone, "runs": tmp_path / "runs",
        "trainer.plugins": f"[{plugin}]", "trainer.max_epochs": 30,
    }  # fmt: skip
    arguments = [sys.executable, "-m", "hsl.train", "fit"]
    arguments += [f"--{key}={value}" for key, value in settings.items()]
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "HSL_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    environment |= {"HSL_RUN": "", "PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}"}
    for name, value in (("JOB_ID", 77), ("JOB_NAME", "job"), ("NTASKS", 1), ("PROCID", 0),
                        ("LOCALID", 0), ("NODEID", 0), ("STEP_ID", 0)):  # fmt: skip
        environment[f"SLURM_{name}"] = str(value)
    process = subprocess.Popen(
        arguments, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    folder = tmp_path / "runs" / "slurm-77"
    wait_for(process, folder / "checkpoints" / "last.ckpt")
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err.decode()
    assert asked.read_text().split() == ["requeue", "77"]
    environment["SLURM_RESTART_COUNT"] = "1"
    for command in (arguments, [*arguments, "--name=alone"]):
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        environment.pop("SLURM_RESTART_COUNT", None)
    assert_the_same(folder, tmp_path / "runs" / "alone")
