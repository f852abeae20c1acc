"""How far a run got, by what its folder holds; whether a command is the one that made it.

``checkpoints/last.ckpt`` is there while a run trains, ``fitted.ckpt`` from the end of its training
on, and ``final.ckpt`` when all is done. Each appears whole or not at all.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hsl.errors import HslError
from hsl.files import read_text, replacing
from hsl.files.leftovers import is_temporary
from hsl.options.yamls import parse_yaml, read_yaml

Progress = Literal["nothing", "training", "fitted", "done"]
LAST, FITTED, FINAL = (f"checkpoints/{name}.ckpt" for name in ("last", "fitted", "final"))
#: Options that may differ between a run and its resumption: where things lie, what is shown.
_FREE = re.compile(
    r"(config|resume|overwrite|runs|name|ckpt_path|weights_only|wandb|checkpoints"
    r"|data\.init_args\.num_workers|trainer\.enable_progress_bar)(\.|$)"
)
#: The cache may lie elsewhere, but may not be added or left out.
_CACHE = "model.init_args.cache"


def progress(folder: Path) -> Progress:
    """How far the run in a folder got.

    Raises:
        HslError: there is no such run.
    """
    if not folder.is_dir():
        raise HslError(f"{folder}: no run to resume; begin it without --resume")
    for name, stage in ((FITTED, "fitted"), (LAST, "training"), (FINAL, "done")):
        if (folder / name).is_file():
            return stage  # type: ignore[return-value]
    return "nothing"


def require_alike(folder: Path, config: str, anew: bool = False, filled: str = "{}") -> None:
    """Check that a run's ``config.yaml`` agrees with the configuration that is to go on with it.

    Args:
        folder: of the run.
        config: the configuration, as YAML.
        anew: whether the run begins anew: its ``ckpt_path`` must be the same then, too.
        filled: the configuration with what is filled in of itself, as YAML: where ``config`` says
            nothing, ``config.yaml`` may also say what stands here.

    Raises:
        HslError: they differ, or the run's cannot be read.
    """
    path = folder / "config.yaml"
    try:
        options = read_yaml(path)
        if not isinstance(options, dict):
            raise HslError(f"{path}: holds no options")
    except HslError as error:
        raise HslError(f"{error}: missing or damaged, so the run cannot be resumed") from error
    was, now = dict(flat(options)), dict(flat(parse_yaml(config)))
    filled_in = {k: v for k, v in flat(parse_yaml(filled)) if now.get(k) is None}
    differing = [
        f"{name} was {was.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(was.keys() | now.keys())
        if _differs(name, was.get(name), now.get(name), anew)
        and (name not in filled_in or was.get(name) != filled_in[name])
    ]
    if differing:
        more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
        raise HslError(f"{folder} was begun with other settings: {'; '.join(differing[:3])}{more}; "
                       "resume it with its own, or begin another run")  # fmt: skip


def sweep(folder: Path) -> None:
    """Remove what a killed run was writing."""
    for path in folder.rglob(".*"):
        if is_temporary(path.name):
            path.unlink(missing_ok=True)
    # SLURM's requeueing saves in the middle of a step, where no run can go on as if not killed
    for path in folder.glob("hpc_ckpt_*.ckpt"):
        path.unlink(missing_ok=True)


def cut_metrics(path: Path, steps: int | None, row: Mapping[str, float]) -> list[dict[str, str]]:
    """The rows of a ``metrics.csv`` that were written before a checkpoint. Those of a test are left
    out: it follows the last checkpoint, and is done again.

    Args:
        path: the file; it need not exist.
        steps: batches done at the checkpoint; None: keep every row.
        row: figures that were due at the checkpoint: they are written when the run goes on.

    Raises:
        HslError: the file is damaged.
    """
    if not path.exists():
        return []
    rows = []
    for step, values in _rows(path):
        behind = -1 if steps is None else step - (steps - 1)
        due = bool(row) and behind == 0 and values.keys() - {"step"} == row.keys()
        tested = any(name.startswith("test/") for name in values)
        if behind <= 0 and not due and not tested:
            rows.append(values)
    return rows


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The steps and rows of a ``metrics.csv``, without empty fields."""
    text = read_text(path, "the metrics.csv of a run")
    complete = text[: text.rfind("\n") + 1]  # a kill may have cut the last line
    try:
        if "\0" in complete:
            raise ValueError("it has NUL")
        for row in csv.DictReader(complete.splitlines(), restkey="", strict=True):
            if "" in row or None in row.values():
                raise ValueError("a row of another length")
            values = {name: value for name, value in row.items() if value}
            yield int(values["step"]), values
    except (KeyError, ValueError, csv.Error) as error:
        raise HslError(f"{path}: damaged ({str(error)[:80]}), so the run cannot be resumed with "
                       "it: move it away to go on without its rows") from error  # fmt: skip


def write_metrics(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows as the CSV logger does: its columns are sorted."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted(set().union(*rows)))
        writer.writeheader()
        writer.writerows(rows)


def _differs(name: str, was: Any, now: Any, anew: bool) -> bool:
    if name == _CACHE:
        return (was is None) != (now is None)
    free = _FREE.match(name) and not (anew and name == "ckpt_path")
    return bool(was != now and not free)


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested options as pairs of a dotted name and a value."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from flat(part, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value
