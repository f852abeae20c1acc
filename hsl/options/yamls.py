"""The one reader of YAML: a file from anywhere is refused in one line, and runs nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import _loaders_dumpers

from hsl import files
from hsl.errors import HslError
from hsl.names import shortened

#: Far above what any configuration has: levels within each other, values, bytes.
_DEEPEST, _MOST, _LONGEST = 50, 50_000, 2**22
_MERGE = "tag:yaml.org,2002:merge"
_WHAT = "a configuration file (YAML)"
_USUAL: Any = _loaders_dumpers.get_yaml_default_loader()  # type: ignore[no-untyped-call]


class BadYaml(HslError, yaml.YAMLError):
    """YAML that cannot be used. jsonargparse catches it as YAML's own errors, and takes a value of
    the command line for text then."""


class Loader(_USUAL):  # type: ignore[misc]
    """jsonargparse's loader (YAML 1.1 without dates, and with 1e-3 a number), which makes nothing
    but mappings, lists, texts, numbers and truth values. It checks the text before its nesting can
    exhaust the stack, and the values before anybody walks through them.

    Raises:
        BadYaml: a number of thousands of digits, nesting without end, a key that is there
            twice, or values that refer to themselves or to more than there is room for.
    """

    def __init__(self, stream: str | bytes) -> None:
        if len(stream) > _LONGEST:
            raise BadYaml(f"has more than {_LONGEST // 2**20} MB")
        if len(stream) > 2 * _DEEPEST:  # no shorter text can be deeper
            _require_shallow(stream)
        super().__init__(stream)

    def get_single_data(self) -> Any:
        """The document."""
        try:
            value = super().get_single_data()
        except (ValueError, OverflowError) as error:  # of int() and the like
            why = str(error).partition(";")[0]
            raise BadYaml(f"has a value that cannot be read ({why})") from error
        _require_small(value)
        return value

    def get_single_node(self) -> Any:
        """The document, before anything is made of it."""
        node = super().get_single_node()
        _require_keys_once(node)
        return node


def parse_yaml(text: str) -> Any:
    """The document in a text; None if there is none.

    Raises:
        BadYaml: as `Loader`, or it is no YAML.
    """
    try:
        return yaml.load(text, Loader=Loader)  # it is a safe loader
    except BadYaml:
        raise
    except yaml.YAMLError as error:
        raise BadYaml(_line(error)) from error


def read_yaml(path: str | Path, what: str = _WHAT) -> Any:
    """The document in a file.

    Raises:
        HslError: no such file, not UTF-8, or as `parse_yaml`; it names the path.
    """
    text = files.read_text(path, what)
    try:
        return parse_yaml(text.removeprefix("\ufeff"))
    except BadYaml as error:
        raise HslError(f"{path}: {error}; want {what}") from error


def use_in_jsonargparse() -> None:
    """Let jsonargparse read all YAML by this loader: files, and texts within texts. For the latter
    it has no public option."""
    _loaders_dumpers.yaml_default_loader = Loader  # type: ignore[assignment]


def _require_shallow(text: str | bytes) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise BadYaml(f"has values within values, {_DEEPEST} deep and more")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _require_keys_once(node: Any) -> None:
    """Refuse a mapping that has a key twice: the first value would be lost without a word."""
    seen, to_visit = set[int](), [node]
    while to_visit:
        node = to_visit.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            to_visit += node.value
            continue
        keys = set[str]()
        for key, value in node.value:
            to_visit.append(value)
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in keys:
                    name = shortened(key.value, 50)
                    raise BadYaml(f"has {name!r} twice (line {key.start_mark.line + 1})")
                keys.add(key.value)


def _require_small(value: Any) -> None:
    """Refuse what refers to itself, or has too many values when each reference is followed."""
    room, level = _MOST, [value]
    for _ in range(_DEEPEST + 1):
        level = [part for outer in level for part in _parts(outer)]
        room -= len(level)
        if room < 0:
            raise BadYaml(f"has more than {_MOST} values, by references (&, *) to each other")
        if not level:
            return
    raise BadYaml("has a value that refers to itself (&, *)")


def _parts(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _line(error: yaml.YAMLError) -> str:
    """What is wrong, and where, in one line."""
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1})" if mark is not None else ""
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    return f"is no YAML: {' '.join(str(problem).split())}{where}"
