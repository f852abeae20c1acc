"""Files as people have them: what cannot be shown is left out and named, or refused; the rest is
shown as it was meant."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from hsl.data.decoding import decode
from hsl.data.folder import ImagesDataModule
from hsl.errors import HslError
from layouts import picture, save

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def module(folder: Path, **arguments) -> ImagesDataModule:
    """All images of a folder as training images."""
    settings = {"size": 8, "train": None, "validation": 0, "test": 0, "num_workers": 0}
    unused = save(folder.parent / f"{folder.name}-unused" / "0.png", 0).parent
    source = {"train": str(folder), "validation": str(unused), "test": str(unused)}
    return ImagesDataModule(source, **(settings | arguments))


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + crc


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that says it has so many pixels, with ``data`` for them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


NOISE = picture(1, 64)
FRAMES = [Image.new("RGB", (9, 9), RED), Image.new("RGB", (9, 9), BLACK)]
JPEG, PNG = encoded(NOISE, "JPEG", quality=95), encoded(NOISE, "PNG")
EXIF = b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff"  # points beyond its end
PALETTE = Image.new("P", (9, 9), 0)
PALETTE.putpalette([255, 0, 0] * 256)
WIDE = Image.fromarray(np.full((9, 9), 65535, np.uint16))


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


#: Name -> content of files that are no image, or not a whole one.
BROKEN: dict[str, bytes] = {
    "empty.png": b"",
    "one_byte.jpg": b"\xff",
    "text.png": b"not an image at all",
    "html.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "lfs_pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "zeros.png": bytes(4096),
    "signature_only.png": PNG[:8],
    "truncated.png": half(PNG),
    "truncated.jpg": half(JPEG),
    "without_its_end.jpg": JPEG[:-40],
    "truncated_progressive.jpg": half(encoded(NOISE, "JPEG", progressive=True)),
    "truncated.webp": half(encoded(NOISE, "WEBP", lossless=True)),
    "truncated.bmp": half(encoded(NOISE, "BMP")),
    "truncated.tif": half(encoded(NOISE, "TIFF")),
    "truncated.gif": half(encoded(NOISE.quantize(), "GIF")),
    "truncated.ppm": half(encoded(NOISE, "PPM")),
    "truncated.avif": half(encoded(NOISE, "AVIF")),
    "wrong_checksum.png": PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:],
    "too_few_pixels.png": png(64, 64, b"\x00" * 100),
    "no_pixels.png": png(0, 0, b""),
    "nonsense_after_header.jpg": JPEG[:300] + bytes(200),
    "floats.tif": encoded(Image.new("F", (9, 9), 0.5), "TIFF"),
    "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "pdf.jpg": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
    "icon.png": encoded(Image.new("RGB", (16, 16)), "ICO"),
}
#: Name -> content of images that look broken to some reader, and their mean colour.
UNUSUAL: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "jpeg_called.png": (encoded(Image.new("RGB", (9, 9), RED), "JPEG"), (254, 0, 0)),
    "png_called.jpg": (encoded(Image.new("RGB", (9, 9), RED), "PNG"), RED),
    "animated.gif": (
        encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
        RED,
    ),
    "animated.webp": (
        encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:], lossless=True),
        RED,
    ),
    "pages.tif": (encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), RED),
    "cmyk.jpg": (encoded(Image.new("CMYK", (9, 9), (0, 0, 0, 255)), "JPEG"), BLACK),
    "grey.jpg": (encoded(Image.new("L", (9, 9), 255), "JPEG"), WHITE),
    "bits.png": (encoded(Image.new("1", (9, 9), 1), "PNG"), WHITE),
    "sixteen_bits.png": (encoded(WIDE, "PNG"), WHITE),
    "sixteen_bits_of_colour.png": (
        png(1, 1, b"\x00" + b"\xff\xff\x00\x00\x00\x00", depth=16),
        RED,
    ),
    "clear.png": (encoded(Image.new("RGBA", (9, 9), (255, 0, 0, 0)), "PNG"), WHITE),
    "half_clear.png": (
        encoded(Image.new("RGBA", (9, 9), (255, 0, 0, 128)), "PNG"),
        (255, 127, 127),
    ),
    "clear_grey.png": (encoded(Image.new("LA", (9, 9), (0, 0)), "PNG"), WHITE),
    "palette.png": (encoded(PALETTE, "PNG"), RED),
    "clear_palette.png": (encoded(PALETTE, "PNG", transparency=0), WHITE),
    "clear_colour.png": (
        encoded(Image.new("RGB", (9, 9), RED), "PNG", transparency=RED),
        WHITE,
    ),
    "bad_exif.jpg": (encoded(Image.new("RGB", (9, 9), BLACK), "JPEG", exif=EXIF), BLACK),
    "one_pixel.png": (encoded(Image.new("RGB", (1, 1), RED), "PNG"), RED),
    "very_wide.png": (encoded(Image.new("RGB", (60_000, 1), RED), "PNG"), RED),
    "very_tall.png": (encoded(Image.new("RGB", (1, 60_000), RED), "PNG"), RED),
    "large.png": (encoded(Image.new("RGB", (3000, 2500), RED), "PNG"), RED),
    "trailing_bytes.png": (encoded(Image.new("RGB", (9, 9), RED), "PNG") + b"more", RED),
    "long_comment.png": (
        encoded(
            Image.new("RGB", (9, 9), RED), "PNG",
            pnginfo=(lambda info: (info.add_text("x", "y" * 10_000), info)[1])(
                PngImagePlugin.PngInfo()
            ),
        ),
        RED,
    ),
}  # fmt: skip


def test_there_are_many_kinds() -> None:
    assert len(BROKEN) + len(UNUSUAL) + 2 >= 50  # and a bomb, and names that are no files


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    save(tmp_path / "0.png", 0)
    (tmp_path / name).write_bytes(BROKEN[name])
    save(tmp_path / "~.png", 2)
    data = module(tmp_path)
    with pytest.warns(UserWarning, match="1 of 3 images are broken") as warned:
        paths = [path for batch in data.train_dataloader() for path in batch.path]
    assert sorted(Path(p).name for p in paths) == ["0.png", "~.png"]
    assert f"{tmp_path / name}: " in str(warned[0].message)
    assert data.sets()["train"].numbers == [0, 2]  # its number stays its own
    with pytest.raises(HslError, match=name.replace(".", r"\.")) as raised:
        module(tmp_path, strict=True).sets()
    assert "\n" not in str(raised.value) and "strict=false" in str(raised.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_file_is_shown(tmp_path: Path, name: str) -> None:
    content, colour = UNUSUAL[name]
    (tmp_path / name).write_bytes(content)
    (item,) = module(tmp_path, strict=True).sets()["train"]
    assert item.image.shape == (3, 8, 8)
    shown = (item.image.mean((1, 2)) + 1) * 127.5
    assert torch.allclose(shown, torch.tensor(colour).float(), atol=1.01), shown


def test_a_bomb_is_refused_whatever_strict_says(tmp_path: Path) -> None:
    save(tmp_path / "0.png", 0)
    (tmp_path / "bomb.png").write_bytes(png(30_000, 30_000, b""))
    for strict in (False, True):
        with pytest.raises(HslError, match=r"bomb\.png: too many pixels") as raised:
            module(tmp_path, strict=strict).sets()
        assert "\n" not in str(raised.value)


def test_names_that_are_no_files(tmp_path: Path) -> None:
    """Folders named like images, hidden files, links in a ring, to a folder and to nowhere."""
    images = tmp_path / "images"
    save(images / "0.png", 0)
    save(images / "folder.png" / "1.png", 1)
    for hidden in (".hidden.png", "._mac.png", ".thumbnails/2.png"):
        save(images / hidden, 2)
    save(tmp_path / "elsewhere" / "3.png", 3)
    (images / "link").symlink_to(tmp_path / "elsewhere")
    (images / "ring").symlink_to(images)
    (images / "self.png").symlink_to(images / "self.png")
    (images / "nowhere.png").symlink_to(tmp_path / "nowhere.png")
    (images / "notes.txt").write_text("no image")
    os.mkfifo(images / "pipe.png")  # reading it would wait for ever
    data = module(images)
    with pytest.warns(UserWarning, match="2 of 5 images are broken") as warned:
        names = [Path(row.path).relative_to(images).as_posix() for row in data.sets()["train"].rows]
    assert names == ["0.png", "folder.png/1.png", "link/3.png"]
    assert "nowhere.png: cannot be read" in str(warned[0].message)


def test_names_in_any_script_and_in_none(tmp_path: Path) -> None:
    names = [
        "Ünï©ødé 😀.png",
        "空.png",
        "5²6.png",
        "٣.png",
        "a b%20c.PNG",
        "10.png",
        "9.png",
        "09.png",
    ]
    for i, name in enumerate(names):
        save(tmp_path / name, i)
    with open(os.fsencode(tmp_path) + b"/\xff\xfe.png", "wb") as file:
        file.write(b"no image, and its name no text")
    data = module(tmp_path)
    with pytest.warns(UserWarning, match="1 of 9 images are broken"):
        images = data.sets()["train"]
    shown = [Path(row.path).name for row in images.rows]
    assert sorted(shown) == sorted(names)
    assert shown.index("09.png") < shown.index("9.png") < shown.index("10.png")
    # indexed again, from the cache
    assert [Path(row.path).name for row in module(tmp_path).sets()["train"].rows] == shown


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_rotation(tmp_path: Path, orientation: int) -> None:
    """The stored pixels are turned so that the upright image comes out."""
    upright = np.zeros((32, 32, 3), np.uint8)
    upright[:16, :16], upright[:16, 16:], upright[16:, :16] = RED, WHITE, (0, 0, 255)
    turned: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: np.rot90,
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(turned[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(np.asarray(decode(tmp_path / "x.png", "x.png")), upright)


def test_duplicates_are_reported_and_stay_together(tmp_path: Path) -> None:
    for i in range(40):
        save(tmp_path / f"{i}.png", i)
        save(tmp_path / "copies" / f"copy{i}.png", i)
    data = ImagesDataModule(str(tmp_path), 8, None, None, None, num_workers=0)
    with pytest.warns(UserWarning, match="40 images occur more than once, in the same split"):
        sets = data.sets()
    for images in sets.values():
        stems = [Path(row.path).stem for row in images.rows]
        originals = {stem for stem in stems if not stem.startswith("copy")}
        assert {stem.removeprefix("copy") for stem in stems} == originals


def test_duplicates_across_given_splits_are_reported(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        save(tmp_path / split / f"{split}.png", len(split))
    save(tmp_path / "test" / "leaked.png", len("train"))
    data = ImagesDataModule(str(tmp_path), 8, num_workers=0)
    with pytest.warns(UserWarning, match="1 images occur more than once, in different splits"):
        data.sets()


def test_nothing_but_broken_files_is_an_error(tmp_path: Path) -> None:
    for name, content in BROKEN.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(HslError, match=f"{len(BROKEN)} images, {len(BROKEN)} of them broken"):
        module(tmp_path).sets()


def test_an_image_that_goes_away_is_named(tmp_path: Path) -> None:
    save(tmp_path / "0.png", 0)
    images = module(tmp_path).sets()["train"]
    (tmp_path / "0.png").unlink()
    with pytest.raises(HslError, match=r"0\.png: cannot be read any more"):
        images[0]
