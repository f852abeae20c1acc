"""A run's folder while a command writes into it: whose it is, what lay there before, and what is
left when the command ends.

What an earlier run left is put aside, into ``replaced/``, when another begins in its place, and
removed when that is complete; where nothing comes of it, it is put back.
"""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hsl.errors import HslError
from hsl.files import require_writable_folder, saying
from hsl.files.locks import NAME, Lock, require_unlocked
from hsl.options.yamls import read_yaml
from hsl.train import resume
from hsl.train.jobs import first_rank

#: What hsl writes into a run folder.
_PRODUCTS = (
    "checkpoints", "config.yaml", "directions", "summary.json", "images.csv", "metrics*.csv",
    "hparams.yaml", "grid*.png", "accuracy.*", "leave_one_out.csv", "LPIPS_distance_*.tsv", "wandb",
)  # fmt: skip
#: What test and validate find.
_RESULTS = ("summary.json", "accuracy.csv")
_ASIDE = "replaced"
VERBS = ("validate", "test", "predict")


class Run:
    """The folder of a run, of which other verbs than fit have a part of their own (``test/``).

    Args:
        folder: of the run.
        verb: that writes: fit, validate, test, predict.
        passing: leave nothing of it (``fast_dev_run``).

    Attributes:
        out: where this verb writes.
        first: whether this process is the job's first, which alone changes the folder.
        named: whether the user gave the name.
        missing: folders around it that were not there when the command began, innermost first.
    """

    named = True
    missing: Sequence[Path] = ()

    def __init__(self, folder: Path, verb: str, passing: bool = False) -> None:
        self.folder, self.verb, self.passing = folder, verb, passing
        self.out = folder if verb == "fit" else folder / verb
        self.first = first_rank()
        self._lock, self._claimed = Lock(self.out), False
        #: The outermost folder that was not there, or was empty.
        self._fresh = next((f for f in (folder, self.out) if _is_empty(f)), None)

    def require_free(self, overwrite: bool, named: bool = True) -> None:
        """Check that the verb may write here anew; changes nothing.

        Raises:
            HslError: something else writes here, or it would replace what is here.
        """
        require_writable_folder(self.out)
        if not self.first or self.passing:
            return
        places = [self.out] + [self.folder / v for v in VERBS if overwrite and self.verb == "fit"]
        for place in places:
            require_unlocked(place)
        if (aside := self.out / _ASIDE).is_file():
            raise HslError(f"{aside}: is in the place of a folder of hsl's; move it away")
        if overwrite or not self.out.is_dir():
            return
        if self.verb != "fit":
            if self._done():
                raise HslError(f"{self.out}: holds results; give another --name, or replace them "
                               "by --overwrite")  # fmt: skip
            return
        progress = resume.progress(self.folder)
        if progress == "done":
            advice = "give another --name, or replace it by --overwrite" if named else "give --name"
            of_job = "" if named else " of this job"
            raise HslError(f"{self.folder}: holds a finished run{of_job}: {advice}")
        if progress != "nothing":
            raise HslError(f"{self.folder}: holds an interrupted run: go on with it by --resume, "
                           "give another --name, or replace it by --overwrite")  # fmt: skip
        if not self._is_run() and (foreign := self._products()):
            raise HslError(f"{foreign[0]}: is there, and of no run; give another --name, or "
                           "replace it by --overwrite")  # fmt: skip

    def claim(self) -> None:
        """Make the folder and lock it.

        Raises:
            HslError: something else writes here.
        """
        if self.first:
            with saying(self.out):
                self.out.mkdir(parents=True, exist_ok=True)
            self._lock.take()
            self._claimed = True

    def begin(self, anew: bool, overwrite: bool) -> None:
        """Clear away what a killed run was writing and, to begin ``anew``, put aside what an
        earlier one left: all of it to ``overwrite`` it."""
        if not self.first:
            return
        if self.passing:
            _remove(path for path in self.out.iterdir() if path.name != NAME)
            return
        resume.sweep(self.out)
        if not anew:
            return
        aside = self.out / _ASIDE
        if self._done():  # what that run replaced may still lie aside
            self.complete()
        # the checkpoints first: without them no run is taken for a complete one
        for path in self._products(with_verbs=overwrite):
            if (aside / path.name).exists():  # of a run that began since, and got nowhere
                _remove([path])
            else:
                aside.mkdir(exist_ok=True)
                path.rename(aside / path.name)

    def complete(self) -> None:
        """The run is complete: what it replaced goes."""
        if self.first and (self.out / _ASIDE).exists():
            shutil.rmtree(self.out / _ASIDE, ignore_errors=True)

    @property
    def can_go_on(self) -> bool:
        """Whether this is a fit that was begun and is not complete."""
        begun = self.verb == "fit" and not self.passing and (self.out / "config.yaml").exists()
        return begun and not self._done()

    def undo(self, keep_begun: bool = False) -> bool:
        """After an error, put the folder back as it was before the command, unless the verb found
        something that stays; whether it was put back.

        Args:
            keep_begun: a run that has just begun in a folder of its own stays, so that it can be
                resumed.
        """
        if keep_begun and self.can_go_on and not (self.out / _ASIDE).exists():
            return False
        aside = self.out / _ASIDE
        patterns = ("directions/*", "checkpoints/*.ckpt") if self.verb == "fit" else _RESULTS
        has_results = any(path for name in patterns for path in self.out.glob(name))
        if not self._claimed or (has_results and not self.passing):
            return False
        fresh = self.folder if self.passing else self._fresh
        if fresh is not None:
            self._remove(fresh)
            return True
        if not aside.is_dir():
            return False
        _remove(self._products())
        # the checkpoints last: without them no run is taken for a complete one
        for path in sorted(aside.iterdir(), key=lambda path: path.name == "checkpoints"):
            if not (self.out / path.name).exists():
                path.rename(self.out / path.name)
        shutil.rmtree(aside, ignore_errors=True)
        return True

    def close(self) -> None:
        """Release the folder; remove one that is to leave nothing."""
        if self._claimed and self.passing:
            self._remove(self.folder)
        self._lock.release()

    def _remove(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # others have runs there
            for parent in self.missing:
                parent.rmdir()

    def _done(self) -> bool:
        if self.verb == "fit":
            return resume.progress(self.folder) == "done"
        return any((self.out / name).exists() for name in _RESULTS)

    def _is_run(self) -> bool:
        """Whether a run was begun here: the ``config.yaml`` of another program is none of hsl's."""
        try:
            options = read_yaml(self.folder / "config.yaml")
        except HslError:
            return False
        return isinstance(options, dict) and {"model", "data", "runs"} <= options.keys()

    def _products(self, with_verbs: bool = False) -> list[Path]:
        names = (*_PRODUCTS, *VERBS) if with_verbs and self.verb == "fit" else _PRODUCTS
        return [path for name in names for path in sorted(self.out.glob(name))]


def origin(files: Iterable[object] | None, runs: Path) -> str | None:
    """The name of the run in ``runs`` whose own config.yaml is among configuration files."""
    for file in reversed(list(files or [])):
        path = Path(str(file)).resolve()
        if path.name == "config.yaml" and path.parent.parent == runs.resolve():
            return path.parent.name
    return None


def _is_empty(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
