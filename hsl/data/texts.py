"""Source and target texts of attributes: those of ToyFaces, and those of Asyrp's released code."""

from functools import cache

import yaml

from hsl.assets import asset
from hsl.data.toyfaces.captions import OPPOSITE_TEXTS, TEXTS
from hsl.errors import HslError

Texts = dict[str, tuple[str, str]]


def texts(dataset: str, as_released: bool = False) -> Texts:
    """The texts (source, target) of a data set's attributes.

    Args:
        dataset: toyfaces, celebahq, afhq, church, bedroom, metfaces or imagenet.
        as_released: the targets of Asyrp's released code also where they are wrong (of
            short_hair, jocker and metface_angry), as its checkpoints were trained.

    Raises:
        HslError: no such data set.
    """
    if dataset == "toyfaces":
        return dict(TEXTS)
    if dataset not in _released():
        raise HslError(f"no texts of {dataset!r}: want one of toyfaces, {', '.join(_released())}")
    which = -1 if as_released else 1
    return {name: (row[0], row[which]) for name, row in _released()[dataset].items()}


def source_and_target(attribute: str) -> tuple[str, str]:
    """The texts of an attribute of any data set; their names are unlike.

    Raises:
        HslError: no such attribute.
    """
    known = {name: pair for d in ("toyfaces", *_released()) for name, pair in texts(d).items()}
    known |= OPPOSITE_TEXTS
    if attribute not in known:
        raise HslError(
            f"{attribute}: give source and target texts; known are ToyFaces' ({', '.join(TEXTS)}, "
            "Not_ before each) and those of Asyrp's released code (smiling, church_gothic, ...: "
            "hsl.data.texts)"
        )
    return known[attribute]


@cache
def _released() -> dict[str, dict[str, list[str]]]:
    """By data set and attribute: source, target and, where it is another, the released target."""
    tables: dict[str, dict[str, list[str]]] = yaml.safe_load(asset("texts.yaml").read_text("utf-8"))
    return tables
