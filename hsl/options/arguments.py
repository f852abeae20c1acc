"""The arguments of a command, checked as those of every command are."""

import sys
from collections.abc import Sequence

from hsl.errors import HslError


def given(arguments: Sequence[str] | None) -> list[str]:
    """The arguments of a command; None: those of this process.

    Raises:
        HslError: one of them is empty, as where a shell's variable is not set; or an option's
            value is ``--``, which argparse does not take for a value.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    for before, argument in zip(["", *words], words, strict=False):
        option, equals, value = argument.partition("=")
        if option.startswith("-") and value == "--":
            raise HslError(f"{option}: -- is no value; give another, or leave it out")
        if not argument.strip():
            option = before.partition("=")[0] if before.startswith("-") else "an argument"
        elif not (option.startswith("-") and equals and not value.strip()):
            continue
        raise HslError(f"{option} is empty: give a value, or leave it out (is a variable of the "
                       "shell not set?)")  # fmt: skip
    return words
