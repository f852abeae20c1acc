"""Image files: read any that Pillow reads, as square tensors in [-1, 1]; write PNG."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from hsl.errors import HslError
from hsl.report import replacing

#: Files of a folder that are taken for images.
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"})


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
    if size < 1:
        raise HslError(f"size={size}: images need at least 1 pixel")
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files: dict[Path, str] = {}
    for path in map(Path, given):
        for file, name in _files(path):
            files.setdefault(file.resolve(), name)
    if not files:
        raise HslError("no images: give at least one file or folder")
    images = torch.stack([load_image(file, size) for file in files])
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
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Image files of a path, each with its name."""
    if not path.exists():
        raise HslError(f"{path}: there is no such file or folder")
    if not path.is_dir():
        yield path, path.name
        return
    inside = [
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not inside:
        raise HslError(f"{path}: no images in this folder ({', '.join(sorted(SUFFIXES))})")
    names = {file: file.relative_to(path).as_posix() for file in inside}
    yield from sorted(names.items(), key=lambda item: _natural(item[1]))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key: runs of digits compare as numbers."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def distinct(names: Iterable[str]) -> list[str]:
    """Names, numbered where they occur again: ``a.png``, ``a-2.png``."""
    result: dict[str, None] = {}
    for name in names:
        path, n, free = PurePosixPath(name), 1, name
        while free in result:
            n += 1
            free = path.with_stem(f"{path.stem}-{n}").as_posix()
        result[free] = None
    return list(result)


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder and its subfolders, in natural order.

    Raises:
        HslError: there are none.
    """
    return [file for file, _ in _files(folder)]


def load_image(path: Path, size: int, content: bytes | None = None) -> Tensor:
    """One image, ``[3, size, size]`` in [-1, 1]; from ``content`` if it is given, ``path`` being
    then its name.

    Raises:
        HslError: it does not decode, or has more pixels than Pillow's limit.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as opened:
            upright = ImageOps.exif_transpose(opened)
            square = ImageOps.fit(_rgb(upright), (size, size), Image.Resampling.LANCZOS)
    except Image.DecompressionBombError as error:
        raise HslError(f"{path}: too many pixels to be a photograph; make it smaller") from error
    except Exception as error:  # Pillow's decoders raise anything, struct.error and SyntaxError too
        reason = str(error).partition("\n")[0]
        raise HslError(f"{path}: does not decode as an image ({reason})") from error
    pixels = torch.from_numpy(np.array(square, dtype=np.float32))
    return pixels.permute(2, 0, 1).contiguous() / 127.5 - 1


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
