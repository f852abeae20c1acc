"""``python -m hsl.train``: LightningCLI over methods and data.

Without any option ``python -m hsl.train fit`` trains Asyrp for Smiling on the bundled faces,
edits held-out ones, measures them by the judges, and writes a run folder, whose path is the last
line printed. A run that was killed is taken up by the same command with ``--resume``.
"""

import logging
import os
from importlib import import_module
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from hsl import commands
from hsl.bundled import BUNDLED
from hsl.callbacks import Directions, Evaluate, Grids, Intervals, Mixing, Sampled, Strength
from hsl.data.options import know_data_modules
from hsl.errors import HslError
from hsl.methods.base import Method
from hsl.options.arguments import given
from hsl.options.parser import ConfigFile, Parser
from hsl.options.reasons import reason
from hsl.train import preflight
from hsl.train.checkpoints import Checkpoints
from hsl.train.cli import RunCLI, run_of_its_own
from hsl.train.defaults import SEED, TRAINER, ignore_advice
from hsl.train.kept import SaveConfig, check_checkpoint

#: Modules of methods, whose classes options name without their path.
_METHODS = ("hsl.methods.asyrp", "hsl.methods.linear", "hsl.methods.saved")


class HslCLI(RunCLI):
    """LightningCLI with hsl's defaults, callbacks and run folders."""

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
            "--overwrite", action="store_true", help="replace what a run of this name has found"
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
                "data": {"class_path": BUNDLED.data},
            }
            | {f"trainer.{name}": value for name, value in TRAINER.items()}
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The verbs: fit, validate (how well boundaries hold on other images), test, predict (which
        fills the cache of inverted latents)."""
        every = LightningCLI.subcommands()
        return {verb: every[verb] for verb in ("fit", "validate", "test", "predict")}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; check values and the checkpoint before anything is made of them."""
        self.config = parser.parse_args(args)  # Lightning's own way warns where sys.argv differs
        config = self.config[self.config.subcommand]
        preflight.check(config, self.config.subcommand)
        if config.get("ckpt_path") in ("last", "best") and not config.trainer.callbacks:
            raise HslError(f"--ckpt_path {config.ckpt_path}: no callback keeps such checkpoints; "
                           "to go on with a killed run give --resume")  # fmt: skip
        check_checkpoint(config.get("ckpt_path"), self.config.subcommand == "fit")

    def before_instantiate_classes(self) -> None:
        """Fill in what depends on other options."""
        preflight.complete(self.config[self.subcommand], str(self.subcommand))


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; the exit status. (`hsl.train.front` looks at options before all of this is
    imported.)"""
    return commands.run("hsl.train", lambda: work(given(arguments)), reason)


def work(arguments: list[str]) -> None:
    """Run a verb."""
    ignore_advice()
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).addFilter(_worth_saying)
    os.environ.setdefault("WANDB_SILENT", "true")
    torch.set_float32_matmul_precision("high")
    know_data_modules()
    for module in _METHODS:
        import_module(module)
    with run_of_its_own():
        HslCLI(
            Method,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=SEED,
            auto_configure_optimizers=False,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            parser_kwargs={"exit_on_error": False},
            args=arguments,
        )


def _worth_saying(record: logging.LogRecord) -> bool:
    """Not an advertisement, not the seed, which is in config.yaml."""
    return not any(words in record.getMessage() for words in ("Tip:", "Seed set to"))
