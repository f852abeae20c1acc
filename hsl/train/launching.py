"""How a trainer's processes are started, told of signals, and ended: torchrun, SLURM, or Lightning
itself."""

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from hsl.errors import HslError
from hsl.train.inside_lightning import started


def end_ranks(trainer: L.Trainer, seconds: float = 3.0) -> None:
    """End the ranks that this process started; those that hang in a collective call, by force."""
    processes = list(started(trainer))
    # Lightning's watcher kills this process when one on its list has ended: leave it none
    started(trainer).clear()
    for process in processes:
        with contextlib.suppress(OSError):
            process.terminate()
    until = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environments(plugins: Sequence[Any]) -> list[ClusterEnvironment]:
    """What to tell Lightning where SLURM's variables are there but srun did not start this process,
    as in ``salloc`` and ``sbatch`` without srun: to start its ranks itself."""
    has_environment = any(isinstance(plugin, ClusterEnvironment) for plugin in plugins)
    return [] if has_environment or by_srun() else [LightningEnvironment()]


def by_srun() -> bool:
    """False: SLURM's variables are those of a job, and srun did not start this process."""
    tasks = os.environ.get("SLURM_NTASKS")
    if tasks is None:
        return True
    stepped = "SLURM_STEP_ID" in os.environ or "SLURM_STEPID" in os.environ
    return "SLURM_PROCID" in os.environ and (stepped or tasks == "1")


def require_srun(plugins: Any) -> None:
    """Check that the ranks that a configuration leaves to SLURM are there.

    Args:
        plugins: the trainer's, as configured.

    Raises:
        HslError: srun did not start this process.
    """
    stated = plugins if isinstance(plugins, list) else [plugins]
    paths = [str(getattr(plugin, "class_path", plugin)) for plugin in stated]
    if not by_srun() and any(path.endswith("SLURMEnvironment") for path in paths):
        raise HslError("trainer.plugins has SLURMEnvironment, but srun did not start this process: "
                       "begin the command with srun, or leave the plugin out")  # fmt: skip
