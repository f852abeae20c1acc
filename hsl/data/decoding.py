"""From an image's file to 8-bit RGB."""

import io
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hsl.data import png
from hsl.data.formats import formats, unknown
from hsl.errors import HslError
from hsl.files import read_bytes

NO_MEMORY = "not enough memory to decode it; free some, or make the image smaller"
#: What decoders raise where memory runs out, besides `MemoryError`.
_SAID = ("out of memory", "cannot allocate memory", "not enough memory")
_SIGNED, _FLOATS = 2, 3  # TIFF's SampleFormat
_ADVICE = "save it with 8 or 16 bits"


class Undecodable(HslError):
    """A file that is no image, or not a whole one."""


class OutOfMemory(HslError):
    """An image that may be sound, but for which there is not enough memory now."""


def decode(content: bytes | Path, name: str) -> Image.Image:
    """An image as 8-bit RGB: turned as its EXIF says, over white where it is transparent; the
    first of several frames. More bits than 8 are scaled: grey values are rounded, of each colour's
    16 bits the upper 8 are taken.

    Args:
        content: of an image file, or the path of one.
        name: what messages call it.

    Raises:
        Undecodable: it does not decode, or not to its end; or the range of its values is nowhere
            said (floats, 32-bit and signed integers).
        OutOfMemory: there is not enough memory.
        HslError: it has more pixels than Pillow takes for harmless (179 million), or, of a path, it
            cannot be read.
    """
    if not isinstance(content, bytes):
        content = read_bytes(content, "an image")
    try:
        data = io.BytesIO(png.without_texts(content))
        with Image.open(data, formats=formats()) as opened:
            opened.load()
            _require_range(opened)
            upright: Image.Image = opened
            with suppress(Exception):  # damaged EXIF says nothing about the pixels
                upright = ImageOps.exif_transpose(opened)
            return _rgb(upright, opened, png.header(content))
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or math.inf) / 1e6
        raise HslError(
            f"{name}: too many pixels for a photograph (over {limit:.0f} million); "
            "remove it or make it smaller"
        ) from error
    except Exception as error:  # Pillow's decoders raise anything, struct.error and SyntaxError too
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, MemoryError) or any(t in reason.lower() for t in _SAID):
            raise OutOfMemory(f"{name}: {NO_MEMORY}") from error
        if isinstance(error, UnidentifiedImageError):
            reason = unknown(content)
        raise Undecodable(f"{name}: does not decode as an image ({reason})") from error


def _require_range(opened: Image.Image) -> None:
    """Refuse pixels of which nothing says what is black and what is white."""
    tags = getattr(opened, "tag_v2", {})
    kinds = set(tags.get(339, ())) if opened.format == "TIFF" else set()
    if opened.mode == "F" or _FLOATS in kinds:
        raise ValueError(f"floating-point pixels have no agreed range; {_ADVICE}")
    if _SIGNED in kinds:
        raise ValueError(f"pixels with a sign have no agreed range; {_ADVICE}")
    if opened.mode.startswith("I"):
        _largest(opened)


def _largest(opened: Image.Image) -> int:
    """The value of white where pixels are whole numbers of more than 8 bits."""
    bits = opened.tag_v2.get(258, (1,))[0] if opened.format == "TIFF" else 16  # type: ignore[attr-defined]
    if bits > 16 or opened.format not in ("TIFF", "PNG", "PPM", "JPEG2000"):
        raise ValueError(f"{bits}-bit integers have no agreed range; {_ADVICE}")
    return int(2**bits) - 1


def _rgb(image: Image.Image, opened: Image.Image, header: png.Header | None) -> Image.Image:
    """8-bit RGB, over white."""
    if image.mode.startswith("I"):
        return _grey(image, opened).convert("RGB")
    if header is not None and "transparency" in image.info:  # one colour that counts as none
        if header.depth == 16:
            raise ValueError("16 bits with a transparent colour; save it with an alpha channel")
        if image.mode == "L":  # which Pillow has spread to 8 bits
            image.info["transparency"] *= 255 // (2**header.depth - 1)
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _grey(image: Image.Image, opened: Image.Image) -> Image.Image:
    """Whole numbers of more than 8 bits as 8, over white."""
    values = np.asarray(image).astype(np.float64)
    grey = values / _largest(opened)
    if opened.format == "TIFF" and opened.tag_v2.get(262) == 0:  # type: ignore[attr-defined]
        grey = 1 - grey  # 0 is white; Pillow itself turns only images of 8 bits round
    clear = opened.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 1
    return Image.fromarray((grey * 255).round().clip(0, 255).astype(np.uint8))
