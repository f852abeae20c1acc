"""A cache of tensors keyed by what they were computed from, and the upkeep of its folder."""

from hsl.store.cache import Record, Store, key_of

__all__ = ["Record", "Store", "key_of"]
