"""The parser of commands with classes among their options."""

import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile, Namespace  # type: ignore[attr-defined]
from lightning.pytorch.cli import LightningArgumentParser

from hsl.errors import HslError
from hsl.names import meant
from hsl.options.classes import guard_jsonargparse
from hsl.options.documents import Document, stated, superseded
from hsl.options.shipped import configuration
from hsl.options.yamls import use_in_jsonargparse

#: How jsonargparse says that there is no such option, of a parser or of a class.
_UNKNOWN = re.compile(
    r"unrecognized arguments: (?P<option>[^\s=]+).*|Option '(?P<key>[^']+)' is not accepted"
)

guard_jsonargparse()
use_in_jsonargparse()


class Parser(LightningArgumentParser):
    """jsonargparse's, but a class that replaces another starts from its own defaults: neither the
    defaults of the class before it nor what was given with that one's name come to it
    (`superseded`). What a user gives without naming a class stays."""

    #: What the configuration files still to be taken up say, and whether that is all of them.
    documents: list[tuple[Document, bool]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: How classes are made: a function, a class, and whether those derived from it, too.
        self.makers: list[tuple[Callable[..., Any], type, bool]] = []

    def add_instantiator(
        self, instantiator: Any, class_type: Any, subclasses: bool = True, prepend: bool = False
    ) -> None:
        """Keep what Lightning says here for `instantiate`, which jsonargparse wants to be told."""
        maker = (instantiator, class_type, subclasses)
        self.makers.insert(0 if prepend else len(self.makers), maker)

    def instantiate_classes(self, cfg: Any, **options: Any) -> Namespace:
        """`instantiate`, by the name that Lightning has for it."""
        return self.instantiate(cfg, instantiators=self.makers, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse options; of one that there is not, say what was meant."""
        unknown = _UNKNOWN.fullmatch(message)
        if unknown and ", did you mean " not in message:  # by the parser of the verb
            message += self._meant(unknown["option"] or unknown["key"])
        super().error(message, ex)

    def _meant(self, name: str) -> str:
        known = [f"--{action.dest}" for action in self._actions]
        parts = {option.partition(".")[0] for option in known}
        head, dot, tail = name.partition(".")
        if dot and head not in parts and (near := meant(head, parts)):
            return f"{near.removesuffix('?')}.{tail}?"
        if not name.startswith("-"):
            known = [option.removeprefix("--") for option in known]
        return meant(name, known)

    def dump(self, cfg: Any, *more: Any, **options: Any) -> str:
        """As YAML; Lightning says ``skip_none``, which is called ``skip_unset`` now."""
        if "skip_none" in options:
            options["skip_unset"] = options.pop("skip_none")
        return str(super().dump(cfg, *more, **options))

    def get_defaults(self, skip_validation: bool = False, **more: Any) -> Namespace:
        """The defaults, of a default class its name alone: the rest is filled in when it is known
        which class it is to be."""
        found = super().get_defaults(skip_validation, **more)
        for action in self._actions:
            if isinstance(action.default, dict | Namespace) and "class_path" in action.default:
                found[action.dest] = Namespace(action.default)  # type: ignore[no-untyped-call]
        return found

    def parse_args(  # type: ignore[override]
        self, args: Any = None, *more: Any, **options: Any
    ) -> Namespace:
        """Parse; configuration files are looked at before anything is made of them."""
        arguments = self._own(list(sys.argv[1:] if args is None else args))
        said = stated(arguments)
        kept = superseded([document for _, document in said])
        self.documents = [
            (after, after == before)
            for (of_file, before), after in zip(said, kept, strict=True)
            if of_file
        ]
        return super().parse_args(args, *more, **options)

    def require_sections(self, document: Document) -> None:
        """Refuse a document that names a group of options and does not give them.

        Raises:
            HslError: it does.
        """
        for key, value in document.items():
            inside = any(action.dest.startswith(f"{key}.") for action in self._actions)
            if value is None and (inside or key in ("model", "data")):
                raise HslError(f"--config: {key} is null: give its options, or leave it out")
            by_name = key in ("model", "data") and isinstance(value, str)
            if inside and not isinstance(value, dict) and not by_name:
                raise HslError(f"--config: {key} is {value!r}: want its options by name")

    def _own(self, arguments: list[str]) -> list[str]:
        """The arguments before a verb, whose parser looks at the rest."""
        if self._subparsers is None:
            return arguments
        verbs = self._subparsers._group_actions[0].choices or ()
        ends = [i for i, argument in enumerate(arguments) if argument in verbs]
        return arguments[: ends[0]] if ends else arguments


class ConfigFile(ActionConfigFile):
    """``--config``: takes up a file that was looked at before, without what is void of it."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        """Add its options to the namespace."""
        document, whole = parser.documents.pop(0)
        parser.require_sections(document)
        text = configuration(values) if whole else yaml.safe_dump(document)
        super().__call__(parser, cfg, text, option_string)  # type: ignore[no-untyped-call]
