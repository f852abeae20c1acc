"""What is known of the images of a domain: how its attributes are said, and which exclude which.

A domain is what images are of. Data modules, backbones and networks name theirs; those that
`hsl.bundled` lists are known here, each through a module of its own.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import NamedTuple

from hsl.bundled import BUNDLED


class Domain(NamedTuple):
    """What the module of a domain says, as ``DOMAIN``.

    ``texts``: source and target of the edit that adds each attribute; ``opposites``: of the edit
    that takes it away, under ``Not_`` and its name; ``templates``: sentences with one ``{}``;
    ``excluded_by``: the attributes that cannot be compared before and after an edit of one.
    """

    texts: Mapping[str, tuple[str, str]]
    opposites: Mapping[str, tuple[str, str]]
    templates: tuple[str, ...]
    excluded_by: Callable[[str], frozenset[str]]


def domain(name: str) -> Domain:
    """One of those of `BUNDLED.domains`."""
    there: Domain = import_module(BUNDLED.domains[name]).DOMAIN
    return there


def excluded_by(target: str, names: Iterable[str]) -> frozenset[str]:
    """Which of the attributes ``names`` cannot be compared before and after an edit of ``target``,
    as the domain says that knows them all; none where there is no such domain."""
    names = frozenset(names)
    for there in map(domain, BUNDLED.domains):
        if names <= there.texts.keys():
            return there.excluded_by(target) & names
    return frozenset()
