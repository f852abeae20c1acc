"""What the command reads and what it may write to, known before it computes."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hsl.edit.options import OUT
from hsl.errors import HslError
from hsl.files import require_writable_folder
from hsl.files.outputs import (
    clear_pictures,
    require_distinct,
    require_other_folder,
    require_outputs,
)

_SINGLE = ("content", "replay")
_NAMED = ("direction", "boundary", "keep")


def folder(options: argparse.Namespace) -> Path:
    """The folder to write to.

    Raises:
        HslError: a file, a folder that cannot be written to, or that of the images.
    """
    try:
        out = require_writable_folder(options.out)
    except HslError as error:
        raise HslError(f"--out {error}") from error
    require_other_folder(out, options.images, "--out")
    return out


def check(
    options: argparse.Namespace,
    outputs: Sequence[str | Path],
    tensors: Sequence[str | Path] = (),
    key: str | None = None,
) -> None:
    """Refuse what shall not be written: images, and files of tensors whose headers have ``key``;
    see `hsl.files.outputs.require_outputs`.

    Raises:
        HslError: an output is read, is there and not hsl's own, or cannot be written.
    """
    inputs = list(_inputs(options))
    require_outputs(outputs, inputs, options.overwrite)
    require_outputs(tensors, inputs, options.overwrite, key)
    require_distinct([*outputs, *tensors])


def clear(options: argparse.Namespace, out: Path, outputs: Iterable[str], began: float) -> None:
    """Let the default folder hold this edit's pictures alone: remove what hsl wrote there before,
    and this job neither read nor wrote. A folder that the user named stays as it is.

    Args:
        options: of the command line.
        out: the folder.
        outputs: names in it of what this job wrote.
        began: when this job began, by the clock of files: younger files may be another job's.
    """
    if options.out == OUT:
        gone = clear_pictures(out, [out / name for name in outputs], _inputs(options), began)
        if gone:
            print(f"hsl.edit: {out}: {gone} pictures of earlier edits made way for these; --out "
                  "FOLDER keeps edits apart", file=sys.stderr)  # fmt: skip


def _inputs(options: argparse.Namespace) -> Iterator[Path]:
    """Everything on the command line that is read."""
    yield from map(Path, options.images)
    for name in _SINGLE:
        if getattr(options, name):
            yield Path(getattr(options, name))
    for name in _NAMED:
        for text in getattr(options, name) or []:
            yield from map(Path, {text, text.rpartition("=")[0] or text})
    for place in (options.backbone, options.profile):
        if place and os.path.exists(place):
            yield Path(place)
    if options.profile:  # what the names of several tables begin with
        start = Path(options.profile)
        yield from start.parent.glob(f"{start.name}_*") if start.name else ()
