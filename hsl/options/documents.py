"""Options as nested mappings, one a configuration file or command-line option, before they are
parsed; which of them a later one makes void."""

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
    found, named = None, where
    if not Path(where).exists() and ":" in where:
        found, named = parse_yaml(where), "--config"
    if not isinstance(found, dict):
        found, named = read_yaml(where), where
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise HslError(f"{named}: holds no options by their names, as in data: ...")
    if path := _no_class(found):
        raise HslError(f"{named}: {path}: want class_path, a text, and init_args: mapping")
    for key, part in found.items():
        if key != "trainer" and (path := _empty(part, key)):
            raise HslError(f"{named}: {path} is empty: give a value, or leave it out")
    return found


def stated(arguments: Sequence[str]) -> list[tuple[bool, Document]]:
    """What each option of a command says, in order, and whether it is a ``--config``, which says
    what its file does.

    Raises:
        HslError: as `read_document`.
    """
    found: list[tuple[bool, Document]] = []
    i = 0
    while i < len(arguments):
        option, equals, value = arguments[i].partition("=")
        i += 1
        if not option.startswith("-"):
            continue
        if not equals and i < len(arguments) and not arguments[i].startswith("--"):
            value, i = arguments[i], i + 1
        if option in CONFIG:
            found.append((True, read_document(value)))
        else:
            document = _nested(option.lstrip("-").split("."), _value(value))
            if value and (path := _empty(document, "")):
                raise HslError(f"--{path[1:]} is empty: give a value, or leave it out")
            found.append((False, document))
    return found


def superseded(documents: Sequence[Document]) -> list[Document]:
    """The documents without what was given with the name of a class that a later one replaces: it
    belongs to that class, and the new one starts from its own defaults. What was given without a
    name stays. Of lists, the last one counts."""
    found = []
    for i, document in enumerate(documents):
        for later in documents[i + 1 :]:
            document = _without(document, later)
        found.append(document)
    return found


def _without(earlier: Any, later: Any) -> Any:
    if isinstance(earlier, list) and isinstance(later, list):
        return _GONE
    if not isinstance(earlier, Mapping):
        return earlier
    name, new = earlier.get("class_path"), later
    if isinstance(later, Mapping):
        new = later.get("class_path")
    if isinstance(name, str) and isinstance(new, str) and _last(name) != _last(new):
        return {"class_path": name}  # what was given without a name may be for this one
    if not isinstance(later, Mapping):
        return earlier
    inner = _arguments(later)
    kept = {}
    for key, part in earlier.items():
        if key == "init_args" and isinstance(part, Mapping):
            rest = _without(part, inner)
        else:
            rest = _without(part, inner[key]) if key in inner else part
        if rest is not _GONE:
            kept[key] = rest
    return kept


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
    """The path of what names no class, or gives it no arguments by name, within."""
    if isinstance(value, Mapping):
        name, arguments = value.get("class_path", ""), value.get("init_args", {})
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            return path or "class_path"
        parts = [(f"{path}.{key}".lstrip("."), part) for key, part in value.items()]
    else:
        parts = [(path, part) for part in value] if isinstance(value, list) else []
    return next((found for at, part in parts if (found := _no_class(part, at))), None)


def _empty(value: Any, path: str) -> str | None:
    """The path of an empty text within."""
    if isinstance(value, str):
        return None if value.strip() else path
    if not isinstance(value, Mapping):
        return None
    found = (_empty(part, f"{path}.{key}") for key, part in value.items())
    return next((path for path in found if path), None)
