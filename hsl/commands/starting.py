"""What a command does before its imports, which take seconds and can fail themselves."""

import os
import sys
from collections.abc import Sequence

from hsl.commands.signals import end_while_importing

#: Variables of launchers that Lightning reads as numbers, the first ones while it is imported.
_NUMBERS = (
    "RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "WORLD_SIZE", "NODE_RANK",
    "GROUP_RANK", "SLURM_LOCALID", "SLURM_NODEID",
)  # fmt: skip


def start(arguments: Sequence[str]) -> None:
    """Begin ``python -m hsl.x``: signals end it in a line, and variables of launchers are looked
    at. Of other programs nothing is changed.

    Args:
        arguments: of the interpreter: `sys.orig_argv`.

    Raises:
        SystemExit: a variable that is to be a number is none.
    """
    module = arguments[arguments.index("-m") + 1] if "-m" in arguments[:-1] else ""
    if module.startswith("hsl."):
        begin(module)


def begin(module: str) -> None:
    """As `start`, of a command of ours.

    Raises:
        SystemExit: as `start`.
    """
    end_while_importing(module)
    for name in _NUMBERS:
        value = os.environ.get(name)
        if value is not None and not value.strip().isdecimal():
            print(f"{module}: the environment's {name} is {value[:50]!a}: want a whole number; "
                  "unset it where no launcher sets it", file=sys.stderr)  # fmt: skip
            raise SystemExit(2)
