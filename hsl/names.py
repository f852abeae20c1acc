"""Names as people give them (of labels, images, directions) where a person reads them, and where
they become names of files."""

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable

#: What a file that hsl wrote names as the software that made it.
SOFTWARE = "hsl"
#: They have no shape of their own, or turn the text around them: controls, halves of surrogate
#: pairs (bytes of a file's name that are no UTF-8), separators of lines and paragraphs.
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BYTES = range(0xDC80, 0xDD00)  # what Python makes of such bytes
#: No part of a file's name on one system or another.
_NO_PART = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
#: Bytes of a file's name without its suffix: with what is put before and behind it it fits into
#: the 143 that encrypted file systems take.
_LONGEST = 100


def visible(text: str) -> str:
    """``text`` with what would not show, or would act on a terminal, as an escape of Python's; a
    byte of a file's name that is no UTF-8 as that of the byte."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escape(c) if unicodedata.category(c) in _HIDDEN or c in _TURNING else c for c in text
    )


def shortened(text: str, most: int) -> str:
    """``text`` in at most ``most`` characters: what is cut off its end becomes an ellipsis."""
    return text if len(text) <= most else f"{text[: max(most - 1, 0)]}…"


def by(shape: Iterable[int]) -> str:
    """A shape as one says it: ``3 x 32 x 32``."""
    return " x ".join(map(str, shape))


def meant(name: str, known: Iterable[str]) -> str:
    """``", did you mean Smiling?"`` where a ``known`` name is like ``name``, upper and lower case
    aside; else nothing."""
    near = closest(name, known)
    return "" if near is None else f", did you mean {visible(near)}?"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The ``known`` name that is most like ``name``, else most like it with upper and lower case
    aside; None where none is like it."""
    names = list(known)
    for read in (str, str.casefold):
        of = {read(other): other for other in names}
        if close := difflib.get_close_matches(read(name), of, n=1, cutoff=0.7):
            return of[close[0]]
    return None


def file_stem(name: str) -> str:
    """A file's name, without a suffix, for the thing that is called ``name``: ``name`` itself where
    every system takes it, else one like it that no other name has."""
    stem = _NO_PART.sub("_", name).strip(". ")
    while len(stem.encode("utf-8")) > _LONGEST:
        stem = stem[:-1]
    if _DEVICES.fullmatch(stem):
        stem = f"_{stem}"
    if stem and stem == name:
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{stem}-{mark}"


def _escape(character: str) -> str:
    if ord(character) in _BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
