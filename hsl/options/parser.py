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

    #: Of each configuration file still to be added: its options that count, and whether all do.
    documents: list[tuple[Document, bool]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: How classes are made: a function, a class, and whether those derived from it, too.
        self.makers: list[tuple[Callable[..., Any], type, bool]] = []

    def add_instantiator(
        self, instantiator: Any, class_type: Any, subclasses: bool = True, prepend: bool = False
    ) -> None:
        """Keep what Lightning adds here until `instantiate`, which takes it as an argument now."""
        maker = (instantiator, class_type, subclasses)
        self.makers.insert(0 if prepend else len(self.makers), maker)

    def instantiate_classes(self, cfg: Any, **options: Any) -> Namespace:
        """`instantiate`, by the name that Lightning has for it."""
        return self.instantiate(cfg, instantiators=self.makers, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse options; of one that there is not, say what was meant."""
        unknown = _UNKNOWN.fullmatch(message)
        if unknown and ", did you mean " not in message:  # the verb's parser may have said so
            message += self._meant(unknown["option"] or unknown["key"])
        super().error(message, ex)

    def _meant(self, name: str) -> str:
        names = [f"--{action.dest}" for action in self._actions]
        groups = {option.partition(".")[0] for option in names}
        head, dot, tail = name.partition(".")
        if dot and head not in groups and (near := meant(head, groups)):
            return f"{near.removesuffix('?')}.{tail}?"
        if not name.startswith("-"):
            names = [option.removeprefix("--") for option in names]
        return meant(name, names)

    def dump(self, cfg: Any, *more: Any, **options: Any) -> str:
        """As YAML; Lightning says ``skip_none``, which is called ``skip_unset`` now."""
        if "skip_none" in options:
            options["skip_unset"] = options.pop("skip_none")
        return str(super().dump(cfg, *more, **options))

    def get_defaults(self, skip_validation: bool = False, **more: Any) -> Namespace:
        """The defaults; of a default class its name alone. Its options are filled in when it is
        known that no other class takes its place."""
        defaults = super().get_defaults(skip_validation, **more)
        for action in self._actions:
            if isinstance(action.default, dict | Namespace) and "class_path" in action.default:
                defaults[action.dest] = Namespace(action.default)  # type: ignore[no-untyped-call]
        return defaults

    def parse_args(  # type: ignore[override]
        self, args: Any = None, *more: Any, **options: Any
    ) -> Namespace:
        """Parse; configuration files are checked before anything is made of them."""
        arguments = self._own(list(sys.argv[1:] if args is None else args))
        statements = stated(arguments)
        effective = superseded([document for _, document in statements])
        self.documents = [
            (after, after == before)
            for (of_file, before), after in zip(statements, effective, strict=True)
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
        """The arguments before a verb; its own parser looks at the rest."""
        if self._subparsers is None:
            return arguments
        verbs = self._subparsers._group_actions[0].choices or ()
        ends = [i for i, argument in enumerate(arguments) if argument in verbs]
        return arguments[: ends[0]] if ends else arguments


class ConfigFile(ActionConfigFile):
    """``--config``: adds a file's options without those that `Parser.parse_args` found void."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        """Add the options to the namespace."""
        document, is_whole = parser.documents.pop(0)
        parser.require_sections(document)
        text = configuration(values) if is_whole else yaml.safe_dump(document)
        super().__call__(parser, cfg, text, option_string)  # type: ignore[no-untyped-call]
