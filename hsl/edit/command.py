"""The command itself: options in, an exit status out."""

from hsl import commands
from hsl.edit.options import parse
from hsl.edit.rules import contradictions


def main(arguments: list[str] | None = None) -> int:
    """Edit images from the command line; the exit status: 0, or 2 after one line of what is wrong,
    with nothing written."""
    return commands.run("hsl.edit", lambda: _edit(arguments))


def _edit(arguments: list[str] | None) -> None:
    options = parse(arguments)
    contradictions(options)
    with commands.importing():  # after what is refused without it
        from hsl.backbones import devices
        from hsl.edit import jobs
    options.device = options.device or devices.usual()
    job = jobs.replay if options.replay else jobs.save_mean if options.save_mean else jobs.edit
    job(options)
