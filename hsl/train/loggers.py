"""Where a run's metrics go: ``metrics.csv``, and W&B where it is wanted and installed."""

import os
import sys
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from hsl import ranks
from hsl.errors import HslError
from hsl.train import resume
from hsl.train.inside_lightning import leave_out_anonymous
from hsl.train.jobs import first_rank


def loggers(folder: Path, name: str, wandb: str, checkpoint: dict[str, Any] | None) -> list[Logger]:
    """The loggers of a run.

    Args:
        folder: to write to.
        name: of the run.
        wandb: online, offline or disabled.
        checkpoint: from which the run goes on; None: it begins.

    Raises:
        HslError: W&B is to be online, and is not installed, or nobody is logged in.
    """
    metrics = CSVLogger(folder.parent, name=folder.name, version="")
    if checkpoint is not None:
        _go_on(metrics, checkpoint)
    if not _has(wandb):
        return [metrics]
    return [metrics, _wandb(folder, name, wandb, begun=checkpoint is not None)]


def require_login() -> None:
    """Refuse to log online where W&B knows no user: it would ask for one in the middle of a job,
    and wait. Where its variables keep it offline nobody has to be known.

    Raises:
        HslError: nobody is logged in.
    """
    import wandb  # takes seconds, which only those wait who use it

    if os.environ.get("WANDB_MODE", "").lower() in ("offline", "dryrun"):
        return
    tells = "prompt" in signature(wandb.login).parameters  # older ones ask, whatever they are told
    if tells and not wandb.login(prompt=False, verify=False):
        raise HslError("--wandb online: nobody is logged in to W&B; run wandb login, set "
                       "WANDB_API_KEY, or leave it out, to log offline")  # fmt: skip


def finish(exit_code: int = 0) -> None:
    """Let W&B end, if it was used."""
    if (wandb := sys.modules.get("wandb")) is not None and hasattr(wandb, "finish"):
        wandb.finish(exit_code=exit_code)


def _has(wandb: str) -> bool:
    """Whether to log to W&B: its own variables may say that it is not to."""
    off = os.environ.get("WANDB_MODE", "").lower() == "disabled"
    off = off or os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes")
    if wandb == "disabled" or off:
        return False
    if find_spec("wandb") is not None:
        if wandb == "online" and first_rank():
            require_login()
        return True
    if wandb == "online":
        raise HslError("--wandb online: W&B is not installed; pip install wandb")
    ranks.warn("W&B is not installed, so metrics go to metrics.csv alone "
                   "(--wandb disabled says no more of it)")  # fmt: skip
    return False


def _wandb(folder: Path, name: str, mode: str, begun: bool) -> Logger:
    """W&B's logger in a folder; of a run that was ``begun``, with its identity."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = sorted((folder / "wandb").glob("*run-*-*")) if begun else []
    identity: dict[str, Any] = (
        {"id": runs[-1].name.rpartition("-")[2], "resume": "allow"} if runs else {}
    )
    logger = WandbLogger(
        name=name, save_dir=folder, project="hsl", offline=mode == "offline", **identity
    )
    leave_out_anonymous(logger)
    return logger


def _go_on(logger: CSVLogger, checkpoint: dict[str, Any]) -> None:
    """Let a logger go on after the rows that were written before ``checkpoint``."""
    if not first_rank():
        return
    path = Path(logger.log_dir) / "metrics.csv"
    aside = path.with_name("metrics-before.csv")  # the logger deletes what it finds under its name
    state = checkpoint.get("callbacks", {}).get("Checkpoints") or {}
    source = path if path.exists() else aside
    rows = resume.cut_metrics(source, state.get("steps"), state.get("row", {}))
    if path.exists():
        path.replace(aside)
    logger.experiment.metrics_keys = sorted(set().union(*rows))
    if rows:
        resume.write_metrics(path, rows)
    aside.unlink(missing_ok=True)
