"""``python -m hsl.train``: LightningCLI over methods and data.

Without any option ``python -m hsl.train fit`` trains Asyrp for Smiling on ToyFaces, edits
held-out faces, measures them by the judges, and writes a run folder, whose path is the last line
printed. A run that was killed is taken up by the same command with ``--resume``.
"""

import logging
import os
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
import wandb
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from hsl import checkpoints, resume
from hsl.callbacks import Directions, Evaluate, Grids, Intervals, Mixing, Sampled, Strength
from hsl.callbacks.checkpoints import Checkpoints, FitLoop, WholeFiles
from hsl.callbacks.common import run_folder
from hsl.cli import preflight
from hsl.errors import HslError
from hsl.files import replacing
from hsl.methods.base import Method
from hsl.methods.checkpoint import about_of
from hsl.options.arguments import given
from hsl.options.parser import ConfigFile, Parser
from hsl.options.reasons import reason

#: Warnings that ask for what is meant to be so: frozen networks stay in evaluation mode, a few
#: hundred small images need no worker processes, a run may be continued in its folder, a closed
#: form takes no optimizer, our loaders go on within an epoch by themselves.
_NOT_NEEDED = (
    ".*in eval mode at the start of training.*",
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*treespec, LeafSpec.*",
    ".*have no `validation_step`.*",
    ".*will run with no optimizer.*",
    ".*your dataloader is not resumable.*",
)
TOYFACES = "hsl.data.toyfaces.ToyFacesDataModule"


class HslCLI(LightningCLI):
    """LightningCLI with hsl's defaults, callbacks and run folders."""

    #: The run folder, if this run is to make it: taken away again if the input is bad.
    fresh: Path | None = None
    folder: Path
    #: How far the run got that is resumed; None if none is.
    progress: resume.Progress | None = None
    #: The checkpoint that it left.
    kept: dict[str, Any]

    def init_parser(self, **options: Any) -> LightningArgumentParser:
        """A parser of a verb, or of the verbs."""
        parser = Parser(**options)
        parser.add_argument("-c", "--config", action=ConfigFile, help="a file with options (YAML)")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks' options, the run's name, and the defaults."""
        parser.add_argument("--runs", type=str, default="runs", help="folder of run folders")
        parser.add_argument(
            "--name", type=str | None, default=None, help="of the run; the date and time if none"
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="go on with a fit that was killed: the same command, and this",
        )
        parser.add_argument(
            "--wandb",
            default="offline",
            choices=["offline", "online", "disabled"],
            help="what to do with Weights & Biases",
        )
        for key, callback in (
            ("sampled", Sampled),
            ("intervals", Intervals),
            ("mixing", Mixing),
            ("strength", Strength),
            ("directions", Directions),
            ("evaluate", Evaluate),
            ("grids", Grids),
            ("checkpoints", Checkpoints),
        ):
            parser.add_lightning_class_args(callback, key)
        parser.set_defaults(
            {
                "model": {"class_path": "hsl.methods.asyrp.Asyrp"},
                "data": {"class_path": TOYFACES},
                "trainer.max_epochs": 7,
                "trainer.limit_val_batches": 0,
                "trainer.num_sanity_val_steps": 0,
                "trainer.log_every_n_steps": 1,
                "trainer.enable_model_summary": False,
            }
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The verbs: fit, validate (how well boundaries hold on other images), test, predict (which
        fills the cache of inverted latents)."""
        every = LightningCLI.subcommands()
        return {verb: every[verb] for verb in ("fit", "validate", "test", "predict")}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and look at values and a checkpoint before anything is made of them."""
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        preflight.check(config, self.config.subcommand)
        if config.get("ckpt_path") in ("last", "best") and not config.trainer.callbacks:
            raise HslError(f"--ckpt_path {config.ckpt_path}: no callback keeps such checkpoints; "
                           "to go on with a killed run give --resume")  # fmt: skip
        _check_checkpoint(config.get("ckpt_path"))

    def before_instantiate_classes(self) -> None:
        """Fill in what depends on other options."""
        preflight.complete(self.config[self.subcommand], str(self.subcommand))

    def instantiate_classes(self) -> None:
        """Find the run folder, and how far a run got that is to be resumed, before anything is
        made.

        Raises:
            Finished: the run is complete.
        """
        config = self.config[self.subcommand]
        named = config.name or os.environ.get("HSL_RUN")
        name = named or _job()
        self.folder = Path(config.runs) / (name or _stamp())
        os.environ["HSL_RUN"] = self.folder.name  # ranks that this process starts use it too
        fits = self.subcommand == "fit"
        wanted = config.resume or (_restarted() and fits and self.folder.is_dir())
        if wanted:
            self._resume(config, name)
        elif fits:
            self._require_free(config.ckpt_path, bool(named))
        if not fits:  # config.yaml is that of the fit
            self.save_config_kwargs["config_filename"] = f"{self.subcommand}/config.yaml"
        HslCLI.fresh = None if self.folder.exists() else self.folder
        super().instantiate_classes()
        # what is kept in memory is taken up in the order in which it was made
        self.model.store.whole = wanted and self.model.store.folder is not None

    def _resume(self, config: Any, name: str | None) -> None:
        """Look at the run that is to be resumed, and take its checkpoint.

        Raises:
            HslError: no such run, another run, or one whose checkpoint is damaged.
            Finished: the run is complete.
        """
        if self.subcommand != "fit":
            raise HslError(f"--resume: {self.subcommand} has nothing to resume; give it to fit")
        if name is None:
            raise HslError("--resume: which run? Give its --name")
        self.progress = resume.progress(self.folder)
        if self.progress == "done":
            raise Finished(self.folder)
        anew = self.progress == "nothing"
        if not anew or (self.folder / "config.yaml").exists():
            now = self._parser("fit").dump(config, skip_none=False)
            resume.require_alike(self.folder, now, anew)
        if anew:
            return
        self.save_config_callback = None  # it is there, and shall not be half-written
        path = self.folder / (resume.LAST if self.progress == "training" else resume.FITTED)
        self.kept = _check_checkpoint(str(path))
        if self.progress == "training":
            config.ckpt_path = str(path)

    def _require_free(self, checkpoint: str | None, named: bool) -> None:
        """Look whether a fit may begin in its folder, where it replaces all checkpoints.

        Raises:
            HslError: it would begin with one of them, or replace those of a run that its job has
                finished, for want of a name.
        """
        own = (self.folder / "checkpoints").resolve()
        if checkpoint is not None and Path(checkpoint).resolve().is_relative_to(own):
            raise HslError(f"--ckpt_path {checkpoint} would be replaced by this run: go on with it "
                           "by --resume, or give another --name")  # fmt: skip
        if not named and (self.folder / resume.FINAL).exists():
            raise HslError(f"{self.folder} holds a finished run of this job: give --name")

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """A trainer that logs to the run folder, unless the config names loggers."""
        config, folder = self.config_init[self.subcommand], self.folder
        preflight.check_made(config, str(self.subcommand), self.model, self.datamodule)
        kwargs["default_root_dir"] = str(folder)
        plugins = config.trainer.plugins or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            kwargs["plugins"] = [*plugins, WholeFiles()]
        if config.trainer.enable_checkpointing is False:
            self._parser(self.subcommand).callback_keys.remove("checkpoints")
        if config.trainer.logger in (None, True):
            where = folder if self.subcommand == "fit" else folder / str(self.subcommand)
            metrics = CSVLogger(where.parent, name=where.name, version="")
            loggers: list[Logger] = [metrics]
            if self.progress in ("training", "fitted"):
                _go_on(metrics, self.kept)
            else:
                _keep(where / "metrics.csv")
            if config.wandb != "disabled":
                begun = self.progress in ("training", "fitted")
                loggers.append(_wandb(where, folder.name, config.wandb == "offline", begun))
            kwargs["logger"] = loggers
        trainer = super().instantiate_trainer(**kwargs)
        trainer.fit_loop.__class__ = FitLoop
        return trainer

    def before_fit(self) -> None:
        """Clear away what a killed run was writing and, to begin anew, earlier checkpoints."""
        if _first_rank():
            resume.sweep(self.folder, anew=self.progress in (None, "nothing"))

    def fit(self, **arguments: Any) -> None:
        """Train, unless that is done already; then save what was found with its strengths."""
        if self.progress == "fitted":
            return
        self.trainer.fit(**arguments)
        self.trainer.save_checkpoint(self.folder / resume.FITTED, weights_only=False)
        if _first_rank():
            (self.folder / resume.LAST).unlink(missing_ok=True)

    def after_fit(self) -> None:
        """Edit held-out images and measure them; then the run is complete."""
        # named, so that no checkpoint of a requeued job is loaded in its place
        path = self.folder / resume.FITTED
        self.trainer.test(
            self.model,
            datamodule=self.datamodule,
            ckpt_path=str(path),
            verbose=False,
            weights_only=True,
        )
        if _first_rank():
            path.rename(self.folder / resume.FINAL)


class Finished(Exception):
    """The run that is to be resumed, in the folder given, is complete."""


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the run folder, whole or not at all; that of another verb than
    fit into its subfolder."""

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write it, on the first rank."""
        with replacing(run_folder(trainer) / self.config_filename) as temporary:
            self.parser.save(self.config, str(temporary), skip_none=False, multifile=False)


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; the exit status."""
    for advice in _NOT_NEEDED:
        warnings.filterwarnings("ignore", advice)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).addFilter(_worth_saying)
    os.environ.setdefault("WANDB_SILENT", "true")
    torch.set_float32_matmul_precision("high")
    HslCLI.fresh = None
    try:
        given(arguments)
        cli = HslCLI(
            Method,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            parser_kwargs={"exit_on_error": False},
            trainer_defaults={"callbacks": [RichProgressBar()]},
            args=arguments,
        )
    except Finished as done:
        print(f"{done} is complete already", file=sys.stderr)
        print(done)
        return 0
    except Exception as error:
        line = reason(error)
        if line is None:
            raise
        _take_away(HslCLI.fresh)
        print(f"hsl.train: {line}", file=sys.stderr)
        return 2
    finally:
        os.environ.pop("HSL_RUN", None)
    if _first_rank():
        wandb.finish()  # its own last words come before ours
        _point_latest(cli.folder)
        print(cli.folder)
    return 0


def _check_checkpoint(path: str | None) -> dict[str, Any]:
    """What a checkpoint holds; one that cannot be read is refused before anything is written.

    Raises:
        HslError: no such file, or it is damaged or holds code.
    """
    if path is None or path in ("last", "best", "hpc"):
        return {}
    found = checkpoints.read(path)
    if not isinstance(found, dict):
        raise HslError(f"{path}: no checkpoint of hsl's; give one of a run")
    try:
        about_of(found)
    except HslError as error:
        raise HslError(f"{path}: {error}") from error
    return found


def _worth_saying(record: logging.LogRecord) -> bool:
    """Not an advertisement, not the seed, which is in config.yaml."""
    return not any(words in record.getMessage() for words in ("Tip:", "Seed set to"))


def _first_rank() -> bool:
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _job() -> str | None:
    """The name of a run of SLURM's or torchrun's job, so that all its tasks agree."""
    for kind, variable in (("slurm", "SLURM_JOB_ID"), ("torchrun", "TORCHELASTIC_RUN_ID")):
        if os.environ.get(variable, "none") != "none":
            return f"{kind}-{os.environ[variable]}"
    return None


def _restarted() -> bool:
    """Whether SLURM has put this job into its queue again, or torchrun has started it again."""
    counts = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    return any(int(os.environ.get(variable) or 0) > 0 for variable in counts)


def _stamp() -> str:
    """A name for a run: that of its job, or the date and time."""
    return _job() or time.strftime("%Y%m%d-%H%M%S")


def _keep(path: Path) -> None:
    """Move an earlier run's metrics aside, which the CSV logger would delete."""
    if path.exists() and _first_rank():
        path.rename(path.with_stem(f"metrics-{time.strftime('%Y%m%d-%H%M%S')}"))


def _go_on(logger: CSVLogger, kept: dict[str, Any]) -> None:
    """Let a logger go on after the rows that were written before the checkpoint ``kept``."""
    if not _first_rank():
        return
    path = Path(logger.log_dir) / "metrics.csv"
    aside = path.with_name("metrics-before.csv")  # the logger deletes what it finds under its name
    if path.exists():
        path.replace(aside)
    state = kept.get("callbacks", {}).get("Checkpoints") or {}
    rows = resume.cut_metrics(aside, state.get("steps"), state.get("row", {}))
    logger.experiment.metrics_keys = sorted(set().union(*rows))
    if rows:
        resume.write_metrics(path, rows)
    aside.unlink(missing_ok=True)


def _wandb(folder: Path, name: str, offline: bool, begun: bool) -> Logger:
    """W&B's logger in a folder; of a run that was ``begun``, with its identity."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = sorted((folder / "wandb").glob("*run-*-*")) if begun else []
    identity: dict[str, Any] = (
        {"id": runs[-1].name.rpartition("-")[2], "resume": "allow"} if runs else {}
    )
    return WandbLogger(name=name, save_dir=folder, project="hsl", offline=offline, **identity)


def _point_latest(folder: Path) -> None:
    """Make ``latest`` beside the folder point to it, replacing what it pointed to."""
    folder.mkdir(parents=True, exist_ok=True)  # a verb may have had nothing to write
    link, temporary = folder.parent / "latest", folder.parent / f".latest.{os.getpid()}"
    temporary.symlink_to(folder.name)
    os.replace(temporary, link)


def _take_away(folder: Path | None) -> None:
    """Remove a run folder in which nothing was found, and from which nothing can go on."""
    if folder is None or not folder.exists():
        return
    if not any([*folder.glob("directions/*"), *folder.glob("checkpoints/*.ckpt")]):
        wandb.finish(exit_code=1)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
