"""Depths, ranges, transparency, metadata and formats: an image is read as it was meant, or it is
said why it is not."""

import io
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from hsl.data import formats
from hsl.data.decoding import OutOfMemory, Undecodable, decode
from hsl.data.files import image_files
from hsl.data.folder import ImagesDataModule
from hsl.data.images import load_images
from hsl.errors import HslError
from layouts import png as sound
from layouts import save

RED = (255, 0, 0)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(rows: bytes, size: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A square PNG with more chunks before its pixels; ``rows`` without their filter's byte."""
    lines = [
        b"\0" + rows[i : i + len(rows) // size] for i in range(0, len(rows), len(rows) // size)
    ]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", size, size, depth, colour, 0, 0, 0)), *chunks,
             (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )


def tiff(values: np.ndarray, bits: int, kind: int = 1, photometric: int = 1) -> bytes:
    """A little-endian grey TIFF of ``values [H, W]`` as they lie in memory; ``kind``: 1 unsigned,
    2 signed, 3 floating point; ``photometric`` 0: white is 0."""
    height, width = values.shape
    data = values.tobytes()
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
            (273, 4, 8 + 2 + 12 * 10 + 4), (277, 3, 1), (278, 3, height), (279, 4, len(data)),
            (339, 3, kind)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, of, 1, value) for tag, of, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def grey(content: bytes, name: str = "x") -> np.ndarray:
    """The red channel of what is decoded, which must be grey."""
    pixels = np.asarray(decode(content, name)).astype(int)
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0]


RAMP = np.tile(np.arange(16)[:, None], (1, 16))


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray((RAMP * 4369).astype(np.uint16)), "PNG"),
        tiff((RAMP * 4369).astype("<u2"), 16),
        tiff((65535 - RAMP * 4369).astype("<u2"), 16, photometric=0),
        tiff((255 - RAMP * 17).astype("u1"), 8, photometric=0),
        encoded(Image.fromarray((RAMP * 4369).astype(np.uint16)), "JPEG2000"),
        b"P5 16 16 65535\n" + (RAMP * 4369).astype(">u2").tobytes(),
        b"P5 16 16 15\n" + RAMP.astype("u1").tobytes(),
        b"P5 16 16 4095\n" + (RAMP * 273).astype(">u2").tobytes(),
        png(np.packbits((RAMP[:, :, None] >> [3, 2, 1, 0] & 1).astype("u1")).tobytes(), 16, 4, 0),
    ],
    ids=["png16", "tiff16", "tiff16-white-is-0", "tiff8-white-is-0", "jp2", "pgm16", "pgm4",
         "pgm12", "png4"],
)  # fmt: skip
def test_grey_of_every_depth_keeps_its_range(content: bytes) -> None:
    assert np.abs(grey(content) - RAMP * 17).max() <= 1


def test_twelve_bits_of_a_tiff_are_not_sixteen() -> None:
    """Two values of 12 bits in three bytes."""
    values = np.array([[0, 4095], [2048, 4095]])
    packed = [bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values.tolist()]
    content = tiff(np.zeros((2, 2), "u1"), 12)[: 8 + 2 + 120 + 4] + b"".join(packed)
    content = content.replace(
        struct.pack("<HHII", 279, 4, 1, 4), struct.pack("<HHII", 279, 4, 1, 6)
    )
    assert grey(content).tolist() == [[0, 255], [128, 255]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(RAMP.astype("<i4"), 32, 2), "pixels with a sign"),
        (tiff((RAMP * 2**27).astype("<u4"), 32), "32-bit integers"),
        (tiff((RAMP * 100).astype("<i2"), 16, 2), "pixels with a sign"),
        (tiff(RAMP.astype("i1"), 8, 2), "pixels with a sign"),
        (tiff(RAMP.astype("<f4"), 32, 3), "floating-point"),
        (b"Pf 2 2 -1.0\n" + np.zeros(4, "<f4").tobytes(), "floating-point"),
    ],
)
def test_a_range_that_nothing_says_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(Undecodable, match=f"x: .*{reason}.*8 or 16 bits"):
        decode(content, "x")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("clear", [0, 1])
def test_a_transparent_grey_is_white_at_every_depth(depth: int, clear: int) -> None:
    """The left half is of the transparent value, which is black or the next one."""
    if depth == 16:
        line = struct.pack(">16H", *[clear] * 8, *[32896] * 8)
    else:
        values = np.array([clear] * 8 + [2**depth // 2] * 8)
        bits = values[:, None] >> np.arange(depth)[::-1] & 1
        line = np.packbits(bits.astype("u1")).tobytes()
    content = png(line * 16, 16, depth, 0, (b"tRNS", struct.pack(">H", clear)))
    pixels = grey(content)
    assert (pixels[:, :8] == 255).all()
    if depth > 1:
        assert (np.abs(pixels[:, 8:] - 255 * (2**depth // 2) / (2**depth - 1)) <= 1).all()


def test_a_transparent_colour_of_sixteen_bits_is_refused() -> None:
    """Pillow has its upper 8 bits alone: others would turn transparent, or this one not."""
    clear = (b"tRNS", struct.pack(">3H", 1, 2, 3))
    with pytest.raises(Undecodable, match="alpha channel"):
        decode(png(bytes(6 * 16), 4, 16, 2, clear), "x")
    assert decode(png(bytes(6 * 16), 4, 16, 2), "x").getpixel((0, 0)) == (0, 0, 0)


def turned(orientation: int) -> bytes:
    """Text of a PNG that says how the image is turned, 3 MB of it."""
    xmp = f'<x xmlns:tiff="t"><r tiff:Orientation="{orientation}"/>' + "y" * 3_000_000 + "</x>"
    return b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(xmp.encode())


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"workflow\0\0" + zlib.compress(b"node " * 500_000)),
        (b"tEXt", b"workflow\0" + b"x" * 70_000_000),  # more than Pillow takes of all texts
        (b"iTXt", b"note\0\x01\0\0\0" + zlib.compress(b"y" * 3_000_000)),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(3_000_000))),
        (b"iTXt", turned(1)),
    ],
    ids=["zTXt", "tEXt", "iTXt", "iCCP", "XMP"],
)
def test_long_metadata_hides_no_pixels(chunk: tuple[bytes, bytes]) -> None:
    content = png(bytes(range(256)) * 3, 16, 8, 2, chunk)
    assert np.array_equal(np.asarray(decode(content, "x")), np.asarray(
        decode(png(bytes(range(256)) * 3, 16, 8, 2), "x")))  # fmt: skip


def test_long_metadata_still_turns_the_image() -> None:
    content = png(bytes(range(256)) * 3, 16, 8, 2, (b"iTXt", turned(3)))
    upright = np.asarray(decode(png(bytes(range(256)) * 3, 16, 8, 2), "x"))
    assert np.array_equal(np.asarray(decode(content, "x")), upright[::-1, ::-1])


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF", "AVIF"])
def test_large_profiles_hide_no_pixels(format: str) -> None:
    content = encoded(Image.new("RGB", (16, 16), RED), format, icc_profile=bytes(2_000_000))
    assert np.abs(np.array(decode(content, "x").getpixel((8, 8))) - RED).max() <= 2


def test_a_note_of_png_is_left_out_by_its_chunk_alone() -> None:
    """What looks like a text within the pixels is none."""
    content = png(b"tEXt" * 192, 16, 8, 2)
    assert np.asarray(decode(content, "x")).tobytes() == b"tEXt" * 192


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.jfif", "JPEG"), ("a.JPE", "JPEG"), ("a.jp2", "JPEG2000"), ("a.ppm", "PPM"),
     ("a.pbm", "PPM"), ("a.avif", "AVIF"), ("a.mpo", "MPO"), ("a.apng", "PNG")],
)  # fmt: skip
def test_other_suffixes_are_images(tmp_path: Path, name: str, format: str) -> None:
    with open(tmp_path / name, "wb") as file:
        Image.new("RGB", (16, 16), RED).save(file, format)
    ((image,), names) = load_images(tmp_path, 8)
    assert names == [name] and image[0].mean() > 0.9 and image[1].mean() < -0.9


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
#: File -> content of pictures that are not read, and what is said of each.
UNREAD = {
    "phone.HEIC": (HEIC, "HEIC is read with a plugin"),
    "camera.NEF": (b"MM\0*" + bytes(40), "a camera's raw format is not read"),
    "layers.psd": (b"8BPS" + bytes(40), "Photoshop is not read"),
    "drawing.svg": (b"<svg/>", "a drawing is not read"),
    "scan": (sound(3), "its content is PNG, its suffix no image's"),
    "photo.jpg_large": (b"\xff\xd8\xff" + bytes(40), "its content is JPEG"),
}


def test_pictures_that_are_not_read_are_named_and_counted(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        save(tmp_path / split / "0.png", len(split))
    for name, (content, _) in UNREAD.items():
        (tmp_path / "train" / name).write_bytes(content)
    (tmp_path / "train" / "labels.csv").write_text("no picture")
    (tmp_path / "train" / "note").write_text("no picture either")
    data = ImagesDataModule(str(tmp_path), 8, None, None, None, num_workers=0)
    with pytest.warns(UserWarning, match="6 pictures are not read") as warned:
        assert len(data.dataset("train")) == 1
    for name, (_, why) in UNREAD.items():
        assert f"{name}: {why}" in str(warned[0].message)
    assert len(data.found.unread) == 6 and not data.found.skipped
    with pytest.raises(HslError, match="strict=false"):
        ImagesDataModule(str(tmp_path), 8, num_workers=0, strict=True).sets()
    with pytest.warns(UserWarning, match="6 pictures are not read"):
        assert len(load_images(tmp_path / "train", 8)[1]) == 1


def test_a_folder_without_images_says_what_it_has_instead(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(HslError, match=r"no images in this folder, but 1 \.txt"):
        image_files(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.heic").write_bytes(HEIC)
    with pytest.raises(HslError, match=r"3 pictures that are not read, such as 0\.heic: HEIC is"):
        image_files(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HEIC, r'HEIC is read with a plugin: pip install "hspace\[heif\]"'),
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run 'git lfs pull'"),
        (b"\xff\x0a" + bytes(40), "JPEG XL is not read; convert it"),
        (b"<!DOCTYPE html>", "of no known format; convert it"),
        (tiff(np.zeros((2, 2), "<f2"), 16, 3), "TIFF of a kind that is not read; save it anew"),
    ],
)
def test_content_of_another_kind_is_called_what_it_is(content: bytes, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason):
        decode(content, "photo.jpg")


def test_an_installed_plugin_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = SimpleNamespace(
        register_heif_opener=lambda: Image.OPEN.setdefault("HEIF", (None, None))
    )
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", plugin)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    for cached in (formats.formats, formats.suffixes, formats._others):
        cached.cache_clear()
    try:
        assert "HEIF" in formats.formats() and ".heic" in formats.suffixes()
        assert formats.unread(".heic") is None
    finally:
        for cached in (formats.formats, formats.suffixes, formats._others):
            cached.cache_clear()


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory when reading image file")])
def test_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load, raising=False)
    with pytest.raises(OutOfMemory, match=r"a\.png: not enough memory"):
        decode(sound(1), "a.png")
