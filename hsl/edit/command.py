"""The command itself: options in, an exit status out."""

import argparse
import sys

from hsl.edit.jobs import edit, replay, save_mean
from hsl.edit.options import parse
from hsl.edit.rules import contradictions
from hsl.errors import HslError


def main(arguments: list[str] | None = None) -> int:
    """Edit images from the command line; the exit status: 0, or 2 after one line of what is wrong,
    with nothing written."""
    try:
        options = parse(arguments)
        contradictions(options)
        job = replay if options.replay else save_mean if options.save_mean else edit
        job(options)
    except (HslError, argparse.ArgumentError, OSError) as error:
        print(f"hsl.edit: {error}", file=sys.stderr)
        return 2
    return 0
