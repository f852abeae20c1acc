"""What Pillow does not say, or stumbles over, of a PNG file (ISO/IEC 15948)."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
#: Texts that may say how the image is turned.
_XMP, _EXIF = b"XML:com.adobe.xmp", b"Raw profile type exif"
_LONGEST = 1 << 19  # bytes of such a text: half of what Pillow takes


class Header(NamedTuple):
    """``depth``: bits of a sample; ``colour``: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6
    RGBA."""

    depth: int
    colour: int


def header(content: bytes) -> Header | None:
    """The header of a PNG file; None: it is none."""
    if not content.startswith(_SIGNATURE) or content[12:16] != b"IHDR" or len(content) < 33:
        return None
    return Header(content[24], content[25])


def without_texts(content: bytes) -> bytes:
    """A PNG file without its texts and its colour profile, which Pillow refuses if they are long;
    the pixels, and how they are turned, stay."""
    if header(content) is None:
        return content
    pieces, at = [_SIGNATURE], len(_SIGNATURE)
    for kind, data, end in _chunks(content):
        if kind in _TEXTS:
            pieces.append(_turning(kind, data))
        elif kind != b"iCCP":
            pieces.append(content[at:end])
        at = end
    return b"".join([*pieces, content[at:]])


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Kind and data of each chunk before the pixels, and where it ends; up to one that is cut."""
    at = len(_SIGNATURE)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if kind == b"IEND" or end > len(content):
            return
        # most of a file is pixels, which are not copied here
        yield kind, content[at + 8 : end - 4] if kind in _TEXTS else b"", end
        at = end


def _turning(kind: bytes, data: bytes) -> bytes:
    """What is kept of a text: nothing, unless it may say how the image is turned."""
    key, _, rest = data.partition(b"\0")
    if key == _XMP and kind == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:]
        language, _, rest = rest.partition(b"\0")
        translated, _, text = rest.partition(b"\0")
        text = _inflated(text) if compressed else text
        head = b"\0".join([key, b"\0" + b"\0" + language, translated, b""])
        return _chunk(kind, head + text[:_LONGEST].decode("utf-8", "ignore").encode())
    if key == _EXIF and kind in (b"tEXt", b"zTXt"):
        text = _inflated(rest[1:]) if kind == b"zTXt" else rest
        return _chunk(b"tEXt", key + b"\0" + text) if len(text) < _LONGEST else b""
    return b""


def _inflated(data: bytes) -> bytes:
    """The beginning of what is compressed; nothing where it is damaged."""
    try:
        return zlib.decompressobj().decompress(data, _LONGEST)
    except zlib.error:
        return b""


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
