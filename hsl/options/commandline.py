"""The parser of commands whose options are plain values: help that begins with examples, and one
line for what is no option. It is made before anything heavy is imported."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any

from hsl.errors import HslError
from hsl.names import meant
from hsl.options.arguments import given
from hsl.version import __version__

_OPTION = re.compile(r"--[a-z][\w.-]*")


class CommandLine(argparse.ArgumentParser):
    """argparse's, which raises instead of ending the process.

    Args:
        usage: what follows the program's name.
        description: what the command does.
        examples: command lines, one a line; they are shown before the options.
        more: of `argparse.ArgumentParser`.
    """

    def __init__(self, usage: str, description: str, examples: str = "", **more: Any) -> None:
        text = f"{description.strip()}\n\nexamples:\n{examples.strip(chr(10))}"
        super().__init__(
            usage=f"%(prog)s {usage}",
            description=text if examples else description.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            exit_on_error=False,
            **{"allow_abbrev": False, **more},
        )
        version = f"hsl {__version__}"
        self.add_argument("--version", action="version", version=version, help="show it, and exit")

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The options of a command line; None: that of this process.

        Raises:
            HslError: an unknown or an empty one.
            argparse.ArgumentError: a value of another form.
        """
        options, unknown = self.parse_known_args(given(arguments))
        if unknown:
            raise self.unknown(unknown[0])
        return options

    def unknown(self, argument: str) -> HslError:
        """What to say of an argument that is none."""
        known = set(_OPTION.findall(self.format_help()))
        near = meant(argument.partition("=")[0], known)
        return HslError(f"unknown option {argument}{near or f'; see {self.prog} --help'}")


def verb(*verbs: str) -> Callable[[str], str]:
    """The type of an argument that is one of these.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """

    def read(text: str) -> str:
        if text not in verbs:
            raise argparse.ArgumentTypeError(no_verb(text, verbs))
        return text

    return read


def no_verb(text: str, verbs: Sequence[str]) -> str:
    """What to say of a verb that there is not."""
    near = meant(text, verbs) or f": want {', '.join(verbs)}"
    return f"no verb {text!r}{near}"
