"""BoundaryDiffusion's pickled boundaries to a file for ``python -m hsl.edit --boundary``."""

import argparse
from pathlib import Path

from hsl.backbones import load
from hsl.errors import HslError
from hsl.files import require_file, require_writable_folder
from hsl.released.boundaries import boundary_from_official


def run(options: argparse.Namespace) -> None:
    """Convert a boundary; the last line printed is the file's path.

    Raises:
        HslError: the options do not say where to write or what it was fitted on, there is such a
            file, or what `boundary_from_official` raises.
    """
    if options.original is None or options.out is not None:
        raise HslError("say where to write, one file: python -m hsl.convert --x FILE --h FILE "
                       "OUT.safetensors --backbone NAME --t T")  # fmt: skip
    out = Path(options.original)  # the only argument that is no option's
    for name in ("backbone", "t"):
        if getattr(options, name) is None:
            raise HslError(f"give --{name}: the files do not say what the boundary was fitted on")
    _require_free(out)
    for file in (options.x, options.h):
        if file is not None:
            require_file(file, "a boundary saved by BoundaryDiffusion")
    boundary = boundary_from_official(
        options.x, options.h, load(options.backbone), options.t, bool(options.absolute)
    )
    boundary.save(out, name=options.name or out.stem)
    print(boundary)
    print(out)


def _require_free(out: Path) -> None:
    """Refuse a file that is there, cannot be made, or would not be known by its name."""
    if out.suffix != ".safetensors":
        raise HslError(f"{out}: want a file whose name ends in .safetensors")
    require_writable_folder(out.parent)
    if out.exists() or out.is_symlink():
        raise HslError(f"{out}: exists already; remove it, or give another file")
