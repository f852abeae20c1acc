"""LightningCLI whose runs have folders: named, locked, resumed, measured, and left in order."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningCLI

from hsl.commands.signals import Stopped
from hsl.errors import HslError
from hsl.files.locks import require_unlocked
from hsl.methods.surroundings import SPAWNED, require_strategy
from hsl.progress import is_terminal
from hsl.store import folder as records
from hsl.train import jobs, preflight, resume
from hsl.train.checkpoints import WholeFiles
from hsl.train.folder import Run, origin
from hsl.train.inside_lightning import spawns, take_over
from hsl.train.kept import check_checkpoint
from hsl.train.launching import end_ranks, environments, require_srun
from hsl.train.lines import EpochLines
from hsl.train.loggers import finish, loggers

#: Of a run's name, what a ``fast_dev_run`` of it is called while it lasts.
_PASSING = ".fast_dev_run"


class Finished(Exception):
    """The run that is to be resumed, in the folder given, is complete."""


class RunCLI(LightningCLI):
    """LightningCLI with run folders."""

    #: The run of the command that is at work.
    at_work: ClassVar[Run | None] = None
    run: Run
    #: The configuration as it was given, before anything is filled in.
    given: Any
    #: How far the run got that is resumed; None: no run is resumed.
    progress: resume.Progress | None = None
    #: The checkpoint that the resumed run left.
    checkpoint: dict[str, Any] | None = None

    def _set_seed(self) -> None:
        """Take a seed, which is the last that is given."""
        super()._set_seed()
        self.given = self.config[self.subcommand].clone()
        # these are of this command alone, and not of a later one that begins with its file
        self.given.name, self.given.resume, self.given.overwrite = None, False, False

    def instantiate_classes(self) -> None:
        """Find the run's folder and, of a run that is to be resumed, how far it got; then make the
        method, the data and the trainer.

        Raises:
            Finished: the run is complete.
        """
        config, fits = self.config[self.subcommand], self.subcommand == "fit"
        require_srun(config.trainer.plugins)
        runs = Path(config.runs)
        missing = [path for path in (runs, *runs.parents) if not path.exists()]
        stated, ending = self._name(config), _PASSING if config.trainer.fast_dev_run else ""
        name = stated or jobs.agreed(lambda: jobs.new_folder(runs, ending))
        self.run = Run(runs / f"{name}{ending}", str(self.subcommand), bool(ending))
        self.run.missing, RunCLI.at_work = missing, self.run
        is_named = bool(config.name or os.environ.get("HSL_RUN"))
        self.run.named = config.name is not None
        os.environ["HSL_RUN"] = name  # ranks that this process starts use it too
        if config.trainer.enable_progress_bar is False:
            os.environ["HSL_PROGRESS"] = "0"
        requeued = jobs.restarted() and fits and bool(stated) and self.run.folder.is_dir()
        if resumes := bool(config.resume or requeued):
            self._resume(config)
        else:
            self._require_other(config.ckpt_path)
            self.run.require_free(config.overwrite, is_named)
        self.run.claim()
        if resumes and self.run.first and resume.progress(self.run.folder) != self.progress:
            raise HslError(f"{self.run.folder}: another command has just gone on with it")
        super().instantiate_classes()
        # a store in memory is filled again by `Checkpoints`, batch by batch as in the first run
        self.model.store.whole = resumes and self.model.store.folder is not None

    def _name(self, config: Any) -> str | None:
        """The name of the run: the one given, else that of the run whose ``config.yaml`` is given,
        else the job's; None where there is none of these.

        Raises:
            HslError: a name that no run can have, or nothing that can be resumed.
        """
        if config.name is not None:
            jobs.require_name(config.name)
        name = config.name or os.environ.get("HSL_RUN")
        if not name and (config.resume or self.subcommand != "fit"):
            name = origin(config.get("config"), Path(config.runs))
        name = name or jobs.job()
        if config.resume and self.subcommand != "fit":
            raise HslError(f"--resume: {self.subcommand} has nothing to resume; give it to fit")
        if config.resume and (config.overwrite or config.trainer.fast_dev_run):
            raise HslError("--resume goes on with a run: give no --overwrite, and no fast_dev_run")
        if config.resume and name is None:
            raise HslError("--resume: which run? Give its --name")
        return name

    def _resume(self, config: Any) -> None:
        """Look at the run that is to be resumed, and take its checkpoint.

        Raises:
            HslError: no such run, another run, or one whose checkpoint is damaged.
            Finished: the run is complete.
        """
        folder = self.run.folder
        if self.run.first:
            require_unlocked(folder)
        self.progress = resume.progress(folder)
        if self.progress == "done":
            self.run.complete()
            raise Finished(folder)
        anew = self.progress == "nothing"
        if not anew or (folder / "config.yaml").exists():
            dump = self._parser("fit").dump
            now, filled = (dump(options, skip_unset=False) for options in (self.given, config))
            resume.require_alike(folder, now, anew, filled)
        if anew:
            return
        self.save_config_callback = None  # config.yaml is there already, and stays as it is
        path = folder / (resume.LAST if self.progress == "training" else resume.FITTED)
        self.checkpoint = check_checkpoint(str(path), self.progress == "training")
        if self.progress == "training":
            config.ckpt_path = str(path)

    def _require_other(self, checkpoint: str | None) -> None:
        """Refuse to begin a fit with a checkpoint that it would replace.

        Raises:
            HslError: it would.
        """
        checkpoints = (self.run.folder / "checkpoints").resolve()
        fits = self.subcommand == "fit" and checkpoint is not None
        if fits and Path(str(checkpoint)).resolve().is_relative_to(checkpoints):
            raise HslError(f"--ckpt_path {checkpoint} would be replaced by this run: go on with it "
                           "by --resume, or give another --name")  # fmt: skip

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """A trainer that logs to the run folder, unless the config names loggers."""
        config, run = self.config_init[self.subcommand], self.run
        preflight.check_made(config, run.verb, self.model, self.datamodule)
        kwargs["default_root_dir"] = str(run.out)
        plugins = config.trainer.plugins or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        added: list[Any] = list(environments(plugins))
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            added.append(WholeFiles())
        kwargs["plugins"] = [*plugins, *added]
        if config.trainer.enable_checkpointing is False:
            self._parser(self.subcommand).callback_keys.remove("checkpoints")
        if config.trainer.logger in (None, True) and not run.passing:
            kwargs["logger"] = loggers(run.out, run.folder.name, config.wandb, self.checkpoint)
        self.save_config_kwargs["given"] = self.given
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (TypeError, ValueError) as error:  # what Lightning says of its options' values
            words = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise HslError(f"trainer: {words}") from error
        require_strategy(trainer)
        if spawns(trainer):
            raise HslError(SPAWNED)
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if not is_terminal():  # where a bar cannot move; one of the user's own stays
            users = config.trainer.callbacks or []
            users = users if isinstance(users, list) else [users]
            bars = [c for c in callbacks if isinstance(c, ProgressBar) and c not in users]
            callbacks = [c for c in callbacks if c not in bars]
        trainer.callbacks = [EpochLines(), *callbacks]  # type: ignore[attr-defined]
        take_over(trainer)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the verb in a folder that holds nothing else of it."""
        overwrite = self.config[subcommand].overwrite
        self.run.begin(anew=self.progress in (None, "nothing"), overwrite=overwrite)
        if self.run.first and self.model.store.folder is not None:
            records.sweep(self.model.store.folder)
        try:
            super()._run_subcommand(subcommand)
        except Stopped:
            end_ranks(self.trainer)
            raise
        self.run.complete()

    def fit(self, **arguments: Any) -> None:
        """Train, unless that is done already; then save what was found with its strengths."""
        if self.progress == "fitted":
            ended = (self.checkpoint or {}).get("loops", {}).get("fit_loop")
            if ended:  # loggers get the test's figures at the step at which the training ended
                self.trainer.fit_loop.load_state_dict(ended)
            return
        self.trainer.fit(**arguments)
        self.trainer.save_checkpoint(self.run.folder / resume.FITTED, weights_only=False)
        if self.run.first:
            (self.run.folder / resume.LAST).unlink(missing_ok=True)

    def after_fit(self) -> None:
        """Edit held-out images and measure them; then the run is complete."""
        # given by its path: without one Lightning would load the checkpoint of a requeued job
        path = self.run.folder / resume.FITTED
        self.trainer.test(
            self.model,
            datamodule=self.datamodule,
            ckpt_path=str(path),
            verbose=False,
            weights_only=True,
        )
        if self.run.first:
            path.rename(self.run.folder / resume.FINAL)


@contextmanager
def run_of_its_own() -> Iterator[None]:
    """Make a `RunCLI`, which does all its work while it is made, within this block: afterwards the
    folder is printed, and it is in order whatever ended the work."""
    RunCLI.at_work, progress_before = None, os.environ.get("HSL_PROGRESS")
    try:
        yield
        finish()  # W&B's own last words come before ours
    except Finished as folder:
        print(f"{folder} is complete already", file=sys.stderr)
        print(folder)
        return
    except BaseException as error:
        if RunCLI.at_work is not None:
            _leave(RunCLI.at_work, error)
        raise
    finally:
        os.environ.pop("HSL_RUN", None)
        os.environ.pop("HSL_PROGRESS", None)
        if progress_before is not None:
            os.environ["HSL_PROGRESS"] = progress_before
        if RunCLI.at_work is not None:
            RunCLI.at_work.close()
    if RunCLI.at_work is not None and RunCLI.at_work.first:
        _show(RunCLI.at_work)


def _leave(run: Run, error: BaseException) -> None:
    """Remove a run that found nothing; of one that can go on, say how."""
    if run.first:
        finish(exit_code=1)
    stopped = isinstance(error, Stopped)
    undone = run.undo(keep_begun=stopped)
    if not isinstance(error, Stopped):
        return
    if not run.first:
        error.advice = None
    elif run.verb == "predict":
        error.advice = "the same command goes on from here"
    elif run.can_go_on and not undone:
        error.advice = f"go on with {'' if run.named else f'--name {run.folder.name} '}--resume"


def _show(run: Run) -> None:
    """Print the folder; let ``latest`` point to it, unless a job made it."""
    if run.passing:
        print("fast_dev_run: nothing is kept")
        return
    if jobs.by_hand() and (line := jobs.point_latest(run.folder)):
        print(f"hsl.train: {line}", file=sys.stderr)
    print(run.out)
