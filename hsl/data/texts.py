"""Source and target texts of attributes: of domains, and of Asyrp's released code."""

from collections.abc import Mapping, Sequence
from functools import cache

import yaml

from hsl.assets import asset
from hsl.bundled import BUNDLED
from hsl.data.domains import domain
from hsl.errors import HslError
from hsl.names import meant

Texts = dict[str, tuple[str, str]]


def texts(dataset: str, as_released: bool = False) -> Texts:
    """The texts (source, target) of a data set's attributes.

    Args:
        dataset: a domain (of `hsl.data.domains`), or celebahq, afhq, church, bedroom, metfaces or
            imagenet.
        as_released: the targets of Asyrp's released code also where they are wrong (of
            short_hair, jocker and metface_angry), as its checkpoints were trained.

    Raises:
        HslError: no such data set.
    """
    if dataset in BUNDLED.domains:
        return dict(domain(dataset).texts)
    if dataset not in _released():
        raise HslError(f"no texts of {dataset!r}: want one of {', '.join(_datasets())}"
                       f"{meant(dataset, _datasets())}")  # fmt: skip
    which = -1 if as_released else 1
    return {name: (row[0], row[which]) for name, row in _released()[dataset].items()}


def source_and_target(attribute: str) -> tuple[str, str]:
    """The texts of an attribute of any data set; their names are unlike.

    Raises:
        HslError: no such attribute.
    """
    known = {name: pair for dataset in _datasets() for name, pair in texts(dataset).items()}
    for name in BUNDLED.domains:
        known |= domain(name).opposites
    if attribute not in known:
        bundled = ", ".join(texts(BUNDLED.domain))
        raise HslError(
            f"{attribute}: give source and target texts; known are those of {BUNDLED.domain} "
            f"({bundled}, Not_ before each) and those of Asyrp's released code (smiling, "
            f"church_gothic, ...: hsl.data.texts){meant(attribute, known)}"
        )
    return known[attribute]


def sources_and_targets(
    attributes: Sequence[str],
    source: str | Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
) -> Texts:
    """The texts of attributes: ``source`` and ``target``, one for each, and for what is None those
    that are known (`source_and_target`).

    Raises:
        HslError: an attribute that is not known, or as many texts as there are not attributes.
    """
    columns = []
    for option, which, chosen in (("source", 0, source), ("target", 1, target)):
        if chosen is None:
            column = [source_and_target(name)[which] for name in attributes]
        else:
            column = [chosen] if isinstance(chosen, str) else list(chosen)
        if len(column) != len(attributes):
            raise HslError(f"{option}: {len(column)} texts for {len(attributes)} attributes")
        columns.append(column)
    return dict(zip(attributes, zip(*columns, strict=True), strict=True))


def texts_of(
    given: Mapping[str, tuple[str, str]] | str | None, attributes: Sequence[str] | None
) -> Texts:
    """Texts as they are given; or, where a data set is named (`texts`), its texts of
    ``attributes``, by default of all that it has; or, for None, none.

    Raises:
        HslError: no such data set, or no texts of it for an attribute.
    """
    if given is None:
        return {}
    if not isinstance(given, str):
        return {name: (source, target) for name, (source, target) in given.items()}
    known = texts(given)
    names = list(known) if attributes is None else attributes
    if unknown := [name for name in names if name not in known]:
        raise HslError(f"no texts for {', '.join(unknown)}: give source and target"
                       f"{meant(unknown[0], known)}")  # fmt: skip
    return {name: known[name] for name in names}


def bundled_templates() -> tuple[str, ...]:
    """The sentences with one ``{}`` that texts are put into unless others are given."""
    return domain(BUNDLED.domain).templates


def _datasets() -> list[str]:
    """The data sets that have texts."""
    return [*BUNDLED.domains, *_released()]


@cache
def _released() -> dict[str, dict[str, list[str]]]:
    """By data set and attribute: source, target and, where it is another, the released target."""
    tables: dict[str, dict[str, list[str]]] = yaml.safe_load(asset("texts.yaml").read_text("utf-8"))
    return tables
