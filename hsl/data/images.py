"""Image files: read any that Pillow reads, as square tensors in [-1, 1]; write PNG."""

import io
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from hsl.data.files import image_files
from hsl.data.transforms import Transform
from hsl.errors import HslError
from hsl.files import replacing
from hsl.names import SOFTWARE

#: What is decoded, whatever a file's name says. Pillow knows formats that start other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")


class Undecodable(HslError):
    """A file that is no image, or not a whole one."""


def load_images(paths: str | Path | Sequence[str | Path], size: int) -> tuple[Tensor, list[str]]:
    """Read image files and folders of them.

    Folders are searched with their subfolders, in natural order (``2.png`` before ``10.png``),
    without hidden files. Images are turned as their EXIF says, laid over white where they are
    transparent, cropped to the central square, and resized with antialiasing.

    Returns:
        Images ``[N, 3, size, size]`` float32 in [-1, 1], and a distinct name for each: its path
        within the folder, or the file's name.

    Raises:
        HslError: a path that does not exist, a folder without images, a file that does not
            decode or has more pixels than Pillow's limit, no path at all, ``size`` below 1.
    """
    transform = Transform(size)
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files: dict[Path, str] = {}
    for path in map(Path, given):
        for file, name in _files(path):
            files.setdefault(file.resolve(), name)
    if not files:
        raise HslError("no images: give at least one file or folder")
    images = torch.stack([transform(decode(file, str(file))) for file in files])
    return images, distinct(files.values())


def save_image(path: str | Path, image: Tensor) -> None:
    """Write one image ``[3, S, S]``, float in [-1, 1] (clipped), as PNG, whole or not at all.

    Raises:
        HslError: not one finite RGB image, or a file name that does not end in ``.png``.
    """
    if Path(path).suffix.lower() != ".png":
        raise HslError(f"{path}: images are written as PNG; name it {Path(path).stem}.png")
    if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
        got = f"{image.dtype} {list(image.shape)}"
        raise HslError(f"{path}: want one float image [3, H, W] in [-1, 1], got {got}")
    if not bool(image.isfinite().all()):
        raise HslError(f"{path}: the image has NaN or infinite pixels; nothing was written")
    pixels = ((image.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    array = pixels.permute(1, 2, 0).cpu().numpy()
    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", SOFTWARE)  # by which `hsl.outputs` knows what may be replaced
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG", pnginfo=mark)


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Image files of a path, each with its name."""
    if not path.exists():
        raise HslError(f"{path}: there is no such file or folder")
    if path.is_dir():
        yield from ((file.path, file.name) for file in image_files(path))
    else:
        yield path, path.name


def distinct(names: Iterable[str]) -> list[str]:
    """Names, numbered where they occur again: ``a.png``, ``a-2.png``. Those that some systems take
    for one (upper and lower case, forms of an accent) count as one."""
    result: dict[str, str] = {}
    for name in names:
        path, n, free = PurePosixPath(name), 1, name
        while (seen := unicodedata.normalize("NFC", free).casefold()) in result:
            n += 1
            free = path.with_stem(f"{path.stem}-{n}").as_posix()
        result[seen] = free
    return list(result.values())


def load_image(path: Path, size: int) -> Tensor:
    """One image file, ``[3, size, size]`` in [-1, 1].

    Raises:
        HslError: as `decode`.
    """
    return Transform(size)(decode(path, str(path)))


def decode(content: bytes | Path, name: str) -> Image.Image:
    """An image as 8-bit RGB: turned as its EXIF says, over white where it is transparent; the
    first of several frames. 16 bits become 8 by rounding.

    Args:
        content: of an image file, or the path of one.
        name: what messages call it.

    Raises:
        Undecodable: it does not decode, or not to its end.
        HslError: it has more pixels than Pillow takes for harmless (179 million).
    """
    try:
        data = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(data, formats=FORMATS) as opened:
            opened.load()
            upright: Image.Image = opened
            with suppress(Exception):  # damaged EXIF says nothing about the pixels
                upright = ImageOps.exif_transpose(opened)
            return _rgb(upright)
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or math.inf) / 1e6
        raise HslError(
            f"{name}: too many pixels for a photograph (over {limit:.0f} million); "
            "remove it or make it smaller"
        ) from error
    except Exception as error:  # Pillow's decoders raise anything, struct.error and SyntaxError too
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "of no known format"
        elif isinstance(error, OSError) and error.strerror:
            raise Undecodable(f"{name}: cannot be read ({error.strerror})") from error
        raise Undecodable(f"{name}: does not decode as an image ({reason})") from error


def _rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB, over white."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.float64) / 257  # 16 bits to 8
        image = Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
