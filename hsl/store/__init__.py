"""A cache of tensors keyed by what they were computed from, and the upkeep of its folder."""

from typing import TYPE_CHECKING

from hsl.lazy import lazily

if TYPE_CHECKING:
    from hsl.store.cache import Record, Store, key_of
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Record": "hsl.store.cache",
            "Store": "hsl.store.cache",
            "key_of": "hsl.store.cache",
        },
    )

__all__ = ["Record", "Store", "key_of"]
