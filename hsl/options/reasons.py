"""What of an error a user can mend, in one line."""

import re
from argparse import ArgumentError
from collections.abc import Iterator
from pickle import UnpicklingError

from lightning.fabric.utilities.exceptions import MisconfigurationException

from hsl.errors import HslError
from hsl.options.classes import REFUSAL

#: Bad options, missing or damaged files, a device that is not there.
_MENDABLE = (HslError, ArgumentError, OSError, MisconfigurationException, UnpicklingError)
#: What libraries raise where they refuse their settings, or what is around them.
_REFUSALS = (ValueError, TypeError, RuntimeError, ModuleNotFoundError, MisconfigurationException)
_REFUSED = re.compile(rf"\S+: {REFUSAL}[^\n]*")
#: A hint of hsl's; jsonargparse's own errors, which led to it, have none.
_MEANT = re.compile(r", did you mean [^\n]*\?$", re.MULTILINE)
_KEY = re.compile(r'Parser key "([^"]+)"')


def reason(error: BaseException) -> str | None:
    """In one line, what of an error a user can mend; None if it is no such error.

    jsonargparse wraps what a constructor raises: the last link of the chain says what is wrong, and
    the first one with which option. A loader's worker process passes on its error as text.
    """
    links = list(chain(error))
    ours = [link for link in links if isinstance(link, HslError)]
    if ours:
        return _first_line(str(ours[0]).rpartition("HslError: ")[2], ours[0])
    if refused := next(filter(None, (_REFUSED.search(str(link)) for link in links)), None):
        return refused[0]  # where an option takes one of several types, it is left as text alone
    if isinstance(error, ArgumentError):
        suggesting = [link for link in links if _MEANT.search(str(link))]
        last = suggesting[-1] if suggesting else links[-1]
        text = _first_line(str(last).removeprefix("'"), last)
        keys = [key for key in dict.fromkeys(_KEY.findall(str(error))) if key not in text]
        return f"--{'.'.join(keys)}: {text}" if keys else text
    for link in links:  # jsonargparse's message lists it beside what else the value might be
        if isinstance(link, ModuleNotFoundError) and (line := str(link)) and line in str(error):
            return _first_line(line, link)
    if _raised_in(error, "jsonargparse.") and isinstance(links[-1], _REFUSALS):
        return _first_line(str(links[-1]), links[-1])  # of a callback's or logger's constructor
    mendable = isinstance(error, _MENDABLE) or _of_a_library(error)
    return _first_line(str(error), error) if mendable else None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    links: list[BaseException] = []
    while error is not None and error not in links:
        links.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _of_a_library(error: BaseException) -> bool:
    """Whether Lightning or a logger refuses its settings, its surroundings, or to be without what
    is not installed."""
    if type(error).__module__.startswith("wandb."):
        return True
    if isinstance(error, AttributeError):  # so its tuners say that a model is not made for them
        return _raised_in(error, "lightning.pytorch.tuner.")
    refuses = isinstance(error, ValueError | RuntimeError | ModuleNotFoundError)
    return refuses and _raised_in(error, "lightning.pytorch.", "lightning.fabric.")


def _raised_in(error: BaseException, *modules: str) -> bool:
    """Whether an error was raised in a module whose name begins so."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return name.startswith(modules)


def _first_line(text: str, error: BaseException) -> str:
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if line.strip(" -")]
    return lines[0] if lines else type(error).__name__
