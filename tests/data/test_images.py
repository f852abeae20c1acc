"""Image files of many kinds, in and out."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hsl.data.images import load_images, save_image
from hsl.errors import HslError

WHITE, BLACK = [1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]


def random_image(size: int, seed: int = 0) -> torch.Tensor:
    """Pixels that eight bits hold exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, size, size), generator=generator).float() / 127.5 - 1


def colour(path: Path) -> list[float]:
    """The mean colour of a file."""
    return [round(float(c), 2) for c in load_images(path, 8)[0][0].mean((1, 2))]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    image = random_image(32)
    save_image(tmp_path / "new" / "x.png", image)
    images, names = load_images(tmp_path / "new" / "x.png", 32)
    torch.testing.assert_close(images[0], image, atol=1e-6, rtol=0)
    assert names == ["x.png"] and images.dtype == torch.float32
    assert os.listdir(tmp_path / "new") == ["x.png"]


def test_folders_are_searched_in_natural_order(tmp_path: Path) -> None:
    for name in ("b/10.png", "b/9.png", "a10.png", "a2.PNG", ".hidden/x.png", "._a.png"):
        save_image(tmp_path / name, random_image(8))
    (tmp_path / "notes.txt").write_text("not an image")
    images, names = load_images([tmp_path], 8)
    assert names == ["a2.PNG", "a10.png", "b/9.png", "b/10.png"]
    assert images.shape == (4, 3, 8, 8)


def test_names_are_distinct_and_no_file_is_read_twice(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        save_image(tmp_path / name, random_image(8))
    given = [tmp_path / "a", tmp_path / "b", tmp_path / "a" / "1.png"]
    assert load_images(given, 8)[1] == ["1.png", "1-2.png"]


@pytest.mark.parametrize(
    ("image", "name", "want"),
    [
        (Image.new("RGBA", (9, 9), (255, 0, 0, 0)), "clear.png", WHITE),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 255)), "solid.png", [1, -1, -1]),
        (Image.new("LA", (9, 9), (0, 0)), "clear_grey.png", WHITE),
        (Image.new("L", (9, 9), 0), "grey.png", BLACK),
        (Image.new("1", (9, 9), 1), "bits.png", WHITE),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "cmyk.tif", [1, -1, -1]),
        (Image.fromarray(np.full((9, 9), 65535, np.uint16)), "grey16.png", WHITE),
        (Image.fromarray(np.full((9, 9), 32768, np.uint16)), "grey16.tif", [0.0, 0.0, 0.0]),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, image: Image.Image, name: str, want: list[float]
) -> None:
    image.save(tmp_path / name)
    assert colour(tmp_path / name) == want


def test_a_transparent_palette_is_laid_over_white(tmp_path: Path) -> None:
    Image.new("P", (9, 9), 0).save(tmp_path / "palette.png", transparency=0)
    assert colour(tmp_path / "palette.png") == WHITE


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), "black")
    image.paste("white", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: what was on top is on the right
    image.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    turned = load_images(tmp_path / "turned.jpg", 32)[0][0]
    assert turned[:, :, :12].mean() < -0.9 and turned[:, :, 20:].mean() > 0.9


def test_the_central_square_is_resized_with_antialiasing(tmp_path: Path) -> None:
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 255 * (np.indices((64, 64)).sum(0) % 2)[..., None]
    Image.fromarray(wide).save(tmp_path / "wide.png")
    small = load_images(tmp_path / "wide.png", 16)[0][0]
    assert small.shape == (3, 16, 16)
    # a checkerboard of single pixels is grey from afar; without antialiasing it is black or white
    assert small.abs().max() < 0.3


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it has 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def broken(path: Path) -> None:
    path.write_bytes(b"no image at all")


def truncated(path: Path) -> None:
    save_image(path, random_image(64))
    path.write_bytes(path.read_bytes()[:2000])


def empty(path: Path) -> None:
    path.touch()


def floating(path: Path) -> None:
    with path.open("wb") as file:
        Image.new("F", (9, 9), 0.5).save(file, format="TIFF")


def loop(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bomb, "too many pixels"),
        (broken, "does not decode"),
        (truncated, "does not decode"),
        (empty, "does not decode"),
        (floating, "8 or 16 bits"),
        (nothing, "no such file or folder"),
        (loop, "bad.png"),
        (Path.mkdir, "no images in this folder"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    save_image(tmp_path / "good.png", random_image(8))
    make(tmp_path / "bad.png")
    with pytest.raises(HslError, match=message) as raised:
        load_images([tmp_path / "good.png", tmp_path / "bad.png"], 8)
    assert "bad.png" in str(raised.value) and "\n" not in str(raised.value)


def test_no_path_and_no_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HslError, match="no images"):
        load_images([], 8)
    with pytest.raises(HslError, match="at least 1 pixel"):
        load_images(tmp_path, 0)


@pytest.mark.parametrize(
    ("image", "name", "message"),
    [
        (torch.zeros(1, 3, 8, 8), "x.png", "want one float image"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "x.png", "want one float image"),
        (torch.full((3, 8, 8), torch.nan), "x.png", "NaN"),
        (torch.zeros(3, 8, 8), "x.jpg", "name it x.png"),
    ],
)
def test_a_bad_image_is_not_written(
    tmp_path: Path, image: torch.Tensor, name: str, message: str
) -> None:
    with pytest.raises(HslError, match=message):
        save_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(tmp_path / "x.png", random_image(8, seed=1))
    before = (tmp_path / "x.png").read_bytes()

    def half(self: Image.Image, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(HslError, match="no space left"):
        save_image(tmp_path / "x.png", random_image(8, seed=2))
    assert (tmp_path / "x.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
