"""The command itself: options in, an exit status out."""

from hsl import commands
from hsl.edit.jobs import edit, replay, save_mean
from hsl.edit.options import parse
from hsl.edit.rules import contradictions


def main(arguments: list[str] | None = None) -> int:
    """Edit images from the command line; the exit status: 0, or 2 after one line of what is wrong,
    with nothing written."""
    return commands.run("hsl.edit", lambda: _edit(arguments))


def _edit(arguments: list[str] | None) -> None:
    options = parse(arguments)
    contradictions(options)
    job = replay if options.replay else save_mean if options.save_mean else edit
    job(options)
