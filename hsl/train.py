"""``python -m hsl.train``: LightningCLI over methods and data.

Without any option ``python -m hsl.train fit`` trains Asyrp for Smiling on ToyFaces, edits
held-out faces, measures them by the judges, and writes a run folder, whose path is the last line
printed.
"""

import logging
import os
import shutil
import sys
import time
import warnings
from argparse import ArgumentError
from pathlib import Path
from pickle import UnpicklingError
from pydoc import locate
from typing import Any

import lightning as L
import torch
import wandb
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from hsl.callbacks import Directions, Evaluate, Grids, Intervals, Mixing, Sampled, Strength
from hsl.errors import HslError
from hsl.methods.base import Method
from hsl.types import attribute_and_value

#: Warnings that ask for what is meant to be so: frozen networks stay in evaluation mode, a few
#: hundred small images need no worker processes, a run may be continued in its folder, a closed
#: form takes no optimizer.
_NOT_NEEDED = (
    ".*in eval mode at the start of training.*",
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*treespec, LeafSpec.*",
    ".*have no `validation_step`.*",
    ".*will run with no optimizer.*",
)
#: What a user can mend: bad options, missing or damaged files, a device that is not there.
_MENDABLE = (HslError, ArgumentError, OSError, MisconfigurationException, UnpicklingError)
TOYFACES = "hsl.data.toyfaces.ToyFacesDataModule"


class HslCLI(LightningCLI):
    """LightningCLI with hsl's defaults, callbacks and run folders."""

    #: The run folder, if this run is to make it: taken away again if the input is bad.
    fresh: Path | None = None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks' options, the run's name, and the defaults."""
        parser.add_argument("--runs", default="runs", help="folder of run folders")
        parser.add_argument("--name", default=None, help="of the run; the date and time if none")
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
        """Parse, and look at a checkpoint before anything is made of it."""
        super().parse_arguments(parser, args)
        _check_checkpoint(self.config[self.config.subcommand].get("ckpt_path"))

    def before_instantiate_classes(self) -> None:
        """On ToyFaces, take as many faces as the method asks for, and validate and test on those
        that lack the attribute to be edited; with several, those are found where it is measured."""
        config = self.config[self.subcommand]
        if config.get("weights_only", True) is None:
            config.weights_only = True
        if self.subcommand == "validate" and config.trainer.limit_val_batches == 0:
            config.trainer.limit_val_batches = 1.0  # 0 is for fit, where callbacks look after it
        attribute = config.model.get("init_args", {}).get("attribute")
        toyfaces = config.data.class_path.endswith("ToyFacesDataModule")
        if toyfaces and isinstance(attribute, str) and config.data.init_args.where is None:
            target, value = attribute_and_value(attribute)
            lacking = {target: 1 - value}
            config.data.init_args.where = {"validation": lacking, "test": lacking}
        method = locate(config.model.class_path)
        if toyfaces and isinstance(method, type) and issubclass(method, Method):
            for split, count in method.faces.items():
                if config.data.init_args[split] is None:
                    config.data.init_args[split] = count

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """A trainer that logs to the run folder, unless the config names loggers."""
        config = self.config_init[self.subcommand]
        name = config.name or os.environ.get("HSL_RUN") or _stamp()
        os.environ["HSL_RUN"] = name  # the ranks that this process starts use the same folder
        folder = Path(config.runs) / name
        HslCLI.fresh = None if folder.exists() else folder
        kwargs["default_root_dir"] = str(folder)
        if config.trainer.logger in (None, True):
            _keep(folder / "metrics.csv")
            loggers: list[Logger] = [CSVLogger(config.runs, name=name, version="")]
            if config.wandb != "disabled":
                loggers.append(_wandb(folder, name, offline=config.wandb == "offline"))
            kwargs["logger"] = loggers
        trainer = super().instantiate_trainer(**kwargs)
        self.folder = folder
        return trainer

    def after_fit(self) -> None:
        """Save what was found with its strengths, edit held-out images and measure them."""
        path = self.folder / "checkpoints" / "final.ckpt"
        self.trainer.save_checkpoint(path, weights_only=False)
        # named, so that no checkpoint of a requeued job is loaded in its place
        self.trainer.test(
            self.model,
            datamodule=self.datamodule,
            ckpt_path=str(path),
            verbose=False,
            weights_only=True,
        )


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
        cli = HslCLI(
            Method,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"exit_on_error": False},
            trainer_defaults={"callbacks": [RichProgressBar()]},
            args=arguments,
        )
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        _take_away(HslCLI.fresh)
        print(f"hsl.train: {reason}", file=sys.stderr)
        return 2
    finally:
        os.environ.pop("HSL_RUN", None)
    if getattr(rank_zero_only, "rank", 0) == 0:
        wandb.finish()  # its own last words come before ours
        _point_latest(cli.folder)
        print(cli.folder)
    return 0


def _check_checkpoint(path: str | None) -> None:
    """Refuse a checkpoint that cannot be read, before anything is written.

    Raises:
        HslError: no such file, or it is damaged or holds code.
    """
    if path is None or path in ("last", "best", "hpc"):
        return
    if not Path(path).is_file():
        raise HslError(f"{path}: no such checkpoint")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever the bytes lead it to
        raise HslError(f"{path}: damaged, or no checkpoint of hsl's") from error


def _worth_saying(record: logging.LogRecord) -> bool:
    """Not an advertisement, not the seed, which is in config.yaml."""
    return not any(words in record.getMessage() for words in ("Tip:", "Seed set to"))


def _stamp() -> str:
    """A name for a run: that of SLURM's or torchrun's job, so that all its tasks agree, or the
    date and time."""
    for kind, variable in (("slurm", "SLURM_JOB_ID"), ("torchrun", "TORCHELASTIC_RUN_ID")):
        if os.environ.get(variable, "none") != "none":
            return f"{kind}-{os.environ[variable]}"
    return time.strftime("%Y%m%d-%H%M%S")


def _keep(path: Path) -> None:
    """Move an earlier run's metrics aside, which the CSV logger would delete."""
    if path.exists() and getattr(rank_zero_only, "rank", 0) == 0:
        path.rename(path.with_stem(f"metrics-{time.strftime('%Y%m%d-%H%M%S')}"))


def _wandb(folder: Path, name: str, offline: bool) -> Logger:
    folder.mkdir(parents=True, exist_ok=True)
    return WandbLogger(name=name, save_dir=folder, project="hsl", offline=offline)


def _point_latest(folder: Path) -> None:
    """Make ``latest`` beside the folder point to it, replacing what it pointed to."""
    folder.mkdir(parents=True, exist_ok=True)  # a verb may have had nothing to write
    link, temporary = folder.parent / "latest", folder.parent / f".latest.{os.getpid()}"
    temporary.symlink_to(folder.name)
    os.replace(temporary, link)


def _reason(error: BaseException) -> str | None:
    """In one line, what of an error a user can mend; None if it is no such error.

    jsonargparse wraps what a constructor raises, and says what is wrong at the bottom of its
    chain; a loader's worker process passes on its error as text.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    ours = [e for e in chain if isinstance(e, HslError)]
    if ours:
        text = str(ours[0]).rpartition("HslError: ")[2]
    elif isinstance(error, ArgumentError):
        text = str(chain[-1])
    elif isinstance(error, _MENDABLE):
        text = str(error)
    else:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _take_away(folder: Path | None) -> None:
    """Remove a run folder in which nothing was found."""
    if folder is not None and folder.exists() and not list(folder.glob("directions/*")):
        wandb.finish(exit_code=1)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
