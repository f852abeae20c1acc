"""The front of ``python -m hsl.train``: help, the version, and what can be refused before Lightning
is imported, which takes seconds."""

import sys

from hsl import commands
from hsl.errors import HslError
from hsl.options.arguments import given
from hsl.options.commandline import no_verb
from hsl.options.documents import CONFIG, read_document
from hsl.train.pages import page
from hsl.version import __version__

#: fit finds directions, validate scores them on other images, test edits held-out images and
#: measures them, predict inverts images and fills the cache.
VERBS = ("fit", "validate", "test", "predict")


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; the exit status."""
    return commands.run("hsl.train", lambda: _run(arguments), _reason)


def _run(arguments: list[str] | None) -> None:
    words = given(arguments)
    if (text := shown(words)) is not None:
        print(text)
        return
    refuse(words)
    with commands.importing():  # after what is refused without it
        from hsl.train.command import work
    work(["--help" if word == "--help.all" else word for word in words])


def shown(words: list[str]) -> str | None:
    """What is to be shown, and nothing else done: help or the version; None: there is work to do.
    ``VERB --help.all`` is work of the parser that knows all classes."""
    if "--version" in words[:2]:
        return f"hsl {__version__}"
    if words[:1] in (["-h"], ["--help"]):
        return page()
    if words[0:1] and words[0] in VERBS and words[1:2] in (["-h"], ["--help"]):
        return page(words[0])
    return None


def refuse(words: list[str]) -> None:
    """Refuse no verb, an unknown one, and configuration files that cannot be read.

    Raises:
        HslError: there is such a thing.
    """
    if not words:
        raise HslError("give a verb: python -m hsl.train fit; --help says more")
    if not words[0].startswith("-") and words[0] not in VERBS:
        raise HslError(no_verb(words[0], VERBS))
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if option in CONFIG and equals:
            read_document(value)
        elif before in CONFIG:
            read_document(word)


def _reason(error: Exception) -> str | None:
    """In one line, what of an error a user can mend; of those before the import, without it."""
    if "hsl.train.command" not in sys.modules:
        return commands.mendable(error)
    from hsl.options.reasons import reason

    return reason(error)
