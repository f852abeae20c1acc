"""Options as nested mappings before they are parsed, one for each configuration file and each
option of a command line; which of them a later one makes void."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hsl.errors import HslError
from hsl.options.shipped import configuration
from hsl.options.yamls import BadYaml, parse_yaml, read_yaml

Document = dict[str, Any]
#: What names a configuration file.
CONFIG = ("--config", "-c")
_GONE: Any = object()


def read_document(where: str) -> Document:
    """The options of a configuration file (of hsl's own, by its short name), or of a text
    in its place.

    Raises:
        HslError: no such file, no YAML, or something else than options by their names; a class
            that is no text, or its arguments no mapping; an option that is empty, other than a
            trainer's (its loggers save such ones).
    """
    where = configuration(where)
    document, place = None, where
    if not Path(where).exists() and ":" in where:
        document, place = parse_yaml(where), "--config"
    if not isinstance(document, dict):
        document, place = read_yaml(where), where
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise HslError(f"{place}: holds no options by their names, as in data: ...")
    if path := _no_class(document):
        raise HslError(f"{place}: {path}: want class_path, a text, and init_args: mapping")
    for key, section in document.items():
        if key != "trainer" and (path := _empty(section, key)):
            raise HslError(f"{place}: {path} is empty: give a value, or leave it out")
    return document


def stated(arguments: Sequence[str]) -> list[tuple[bool, Document]]:
    """What each option of a command says, in order, and whether it is a ``--config``, which says
    what its file does.

    Raises:
        HslError: as `read_document`.
    """
    documents: list[tuple[bool, Document]] = []
    i = 0
    while i < len(arguments):
        option, equals, value = arguments[i].partition("=")
        i += 1
        if not option.startswith("-"):
            continue
        if not equals and i < len(arguments) and not arguments[i].startswith("--"):
            value, i = arguments[i], i + 1
        if option in CONFIG:
            documents.append((True, read_document(value)))
        else:
            document = _nested(option.lstrip("-").split("."), _value(value))
            if value and (path := _empty(document, "")):
                raise HslError(f"--{path[1:]} is empty: give a value, or leave it out")
            documents.append((False, document))
    return documents


def superseded(documents: Sequence[Document]) -> list[Document]:
    """The documents without what was given with the name of a class that a later one replaces: it
    belongs to that class, and the new one starts from its own defaults. What was given without a
    name stays. Of lists, the last one counts."""
    effective = []
    for i, document in enumerate(documents):
        for later in documents[i + 1 :]:
            document = _without(document, later)
        effective.append(document)
    return effective


def _without(earlier: Any, later: Any) -> Any:
    if isinstance(earlier, list) and isinstance(later, list):
        return _GONE
    if not isinstance(earlier, Mapping):
        return earlier
    name, later_name = earlier.get("class_path"), later
    if isinstance(later, Mapping):
        later_name = later.get("class_path")
    if isinstance(name, str) and isinstance(later_name, str) and _last(name) != _last(later_name):
        return {"class_path": name}  # for options given without a name, which may be this one's
    if not isinstance(later, Mapping):
        return earlier
    inner = _arguments(later)
    remaining = {}
    for key, part in earlier.items():
        if key == "init_args" and isinstance(part, Mapping):
            remainder = _without(part, inner)
        else:
            remainder = _without(part, inner[key]) if key in inner else part
        if remainder is not _GONE:
            remaining[key] = remainder
    return remaining


def _arguments(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a class by name, whether or not under ``init_args``."""
    inner = document.get("init_args")
    return {**document, **inner} if isinstance(inner, Mapping) else document


def _last(path: str) -> str:
    """The name of a class, which may be given without its module."""
    return path.rpartition(".")[2]


def _nested(keys: Iterable[str], value: Any) -> Any:
    for key in reversed(list(keys)):
        value = {key: value}
    return value


def _value(text: str) -> Any:
    """A mapping or list, where a text is one; else itself."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return parse_yaml(text)
    except BadYaml:
        return text  # its parser will say what is wrong


def _no_class(value: Any, path: str = "") -> str | None:
    """The path within a value at which no class is named, or its arguments are no mapping."""
    if isinstance(value, Mapping):
        name, arguments = value.get("class_path", ""), value.get("init_args", {})
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            return path or "class_path"
        inner = [(f"{path}.{key}".lstrip("."), part) for key, part in value.items()]
    else:
        inner = [(path, part) for part in value] if isinstance(value, list) else []
    return next((wrong for at, part in inner if (wrong := _no_class(part, at))), None)


def _empty(value: Any, path: str) -> str | None:
    """The path of an empty text within a value."""
    if isinstance(value, str):
        return None if value.strip() else path
    if not isinstance(value, Mapping):
        return None
    paths = (_empty(part, f"{path}.{key}") for key, part in value.items())
    return next((path for path in paths if path), None)
