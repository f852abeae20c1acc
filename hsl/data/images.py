"""Image files: read any that Pillow reads, as square tensors in [-1, 1]; write PNG."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from hsl.data.decoding import decode
from hsl.data.files import image_files, warn_of_unread
from hsl.data.transforms import Transform
from hsl.errors import HslError
from hsl.files import replacing
from hsl.names import SOFTWARE


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
    sources = [paths] if isinstance(paths, str | Path) else list(paths)
    files: dict[Path, str] = {}
    for path in map(Path, sources):
        for file, name in _files(path):
            files.setdefault(Path(os.path.realpath(file)), name)  # a link to itself stays one
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
    mark.add_text("Software", SOFTWARE)  # by which `hsl.files.outputs` knows what may be replaced
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG", pnginfo=mark)


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Image files of a path, each with its name."""
    if not path.exists():
        raise HslError(f"{path}: there is no such file or folder")
    if path.is_dir():
        files = image_files(path)
        warn_of_unread(files.unread)
        yield from ((file.path, file.name) for file in files.images)
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
