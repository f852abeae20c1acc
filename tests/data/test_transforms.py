"""The papers' transforms, against torchvision and guided-diffusion's recipe."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from hsl.data import align
from hsl.data.align import aligned
from hsl.data.decoding import Undecodable
from hsl.data.folder import ImagesDataModule
from hsl.data.transforms import Fit, Resampling, Transform
from hsl.errors import HslError

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC,
         "lanczos": InterpolationMode.LANCZOS}  # fmt: skip


def photo(width: int, height: int) -> Image.Image:
    """Smooth and fine structure."""
    rng = np.random.default_rng(width * height)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)).resize((width, height))
    fine = rng.integers(-40, 40, (height, width, 3))
    return Image.fromarray((np.asarray(coarse) + fine).clip(0, 255).astype(np.uint8))


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


@pytest.mark.parametrize("resampling", MODES)
@pytest.mark.parametrize("size", [(100, 64), (64, 101), (333, 250), (40, 30), (64, 64), (1, 90)])
def test_crop_is_resize_and_centre_crop(resampling: Resampling, size: tuple[int, int]) -> None:
    """LSUN's Resize(s), CenterCrop(s)."""
    image = photo(*size)
    resized = F.resize(image, 64, MODES[resampling])
    wanted = pixels(F.center_crop(resized, 64))
    assert (Transform(64, "crop", resampling)(image) - wanted).abs().max() <= 1.01 / 127.5


@pytest.mark.parametrize("resampling", MODES)
def test_stretch_is_resize_to_a_square(resampling: Resampling) -> None:
    """Asyrp's Resize((s, s))."""
    image = photo(100, 70)
    wanted = pixels(F.resize(image, [32, 32], MODES[resampling]))
    assert torch.equal(Transform(32, "stretch", resampling)(image), wanted)


def test_a_box_is_cut_out_first() -> None:
    """DDIM's CelebA: Crop(57, 185, 25, 153), Resize(64)."""
    image = photo(178, 218)
    wanted = pixels(F.resize(F.crop(image, 57, 25, 128, 128), 64, MODES["bilinear"]))
    cut = Transform(64, resampling="bilinear", box=(25, 57, 153, 185))
    assert torch.equal(cut(image), wanted)
    with pytest.raises(HslError, match="an image has 152 x 218 pixels"):
        cut(photo(152, 218))
    for box in ((25, 57, 25, 185), (-1, 0, 3, 4), (1, 2, 3), (0, 9, 9, 8)):
        with pytest.raises(HslError, match="want left, top, right, bottom"):
            Transform(64, box=box)


def test_halving_by_boxes() -> None:
    image = photo(256, 256)
    array = np.asarray(image).astype(float)
    for _ in range(2):  # 256 -> 64, the last that is at least 32
        array = array.reshape(len(array) // 2, 2, -1, 2, 3).mean((1, 3))
    halved = Image.fromarray(array.round().astype(np.uint8))
    wanted = pixels(halved.resize((40, 40), Image.Resampling.BICUBIC))
    assert (Transform(40, "crop", "box+bicubic")(image) - wanted).abs().max() <= 3 / 127.5


def test_a_random_window_depends_on_seed_and_number_alone() -> None:
    image = photo(90, 60)
    one, two = Transform(32, "random", seed=1), Transform(32, "random", seed=2)
    assert torch.equal(one(image, 5), one(image, 5))
    assert not torch.equal(one(image, 5), one(image, 6))
    assert not torch.equal(one(image, 5), two(image, 5))


def test_random_windows_are_within_their_bounds() -> None:
    image, transform = photo(90, 60), Transform(32, "random")
    scales, lefts = set(), set()
    for number in range(200):
        left, top, right, bottom = transform._window(image, number)
        assert 0 <= left < right <= 90 and 0 <= top < bottom <= 60
        scales.add(round(60 / (bottom - top), 3))
        lefts.add(round(left))
    assert min(scales) == 1.0 and max(scales) == 1.25 and len(scales) == 9 and len(lefts) > 30


@pytest.mark.parametrize("fit", ["crop", "stretch", "random"])
@pytest.mark.parametrize("resampling", ["lanczos", "box+bicubic"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (8, 8), (7, 9)])
def test_any_shape_becomes_a_square(
    fit: Fit, resampling: Resampling, size: tuple[int, int]
) -> None:
    tensor = Transform(8, fit, resampling)(photo(*size))
    assert tensor.shape == (3, 8, 8) and tensor.dtype == torch.float32
    assert tensor.min() >= -1 and tensor.max() <= 1 and tensor.is_contiguous()


#: Two eyes and two corners of a mouth, as spots to find again.
COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)])


def detected(points: np.ndarray) -> np.ndarray:
    """As OpenCV's YuNet gives it, after a smaller face."""
    nose = points.mean(0, keepdims=True)
    five = np.concatenate([points[:2], nose, points[2:]]).flatten()
    small = np.array([0, 0, 3, 3, *range(10), 0.9])
    return np.stack([small, np.array([5, 5, 99, 99, *five, 0.9])])


@pytest.mark.parametrize("angle", [0, 30, -75, 180])
def test_a_turned_face_is_cut_out_upright(monkeypatch: pytest.MonkeyPatch, angle: float) -> None:
    """Coloured spots where eyes and mouth are come to lie on the same places."""
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    e, m = 50.0, 40.0  # from eye to eye, from eyes to mouth
    upright = np.array([[-e / 2, 0], [e / 2, 0], [-20, m], [20, m]])
    points = upright @ rotation.T + [150, 160]
    canvas = np.zeros((320, 300, 3), np.uint8)
    ys, xs = np.mgrid[:320, :300]
    for (x, y), colour in zip(points, COLOURS, strict=True):
        canvas[(xs - x) ** 2 + (ys - y) ** 2 < 25] = colour
    monkeypatch.setattr(align, "detect", lambda image: detected(points))
    cut = aligned(Image.fromarray(canvas), "face.png")
    side = 2 * max(2.0 * e, 1.8 * m)  # FFHQ: half the side is the larger of 2 |e| and 1.8 |m|
    assert cut.size == (round(side), round(side))
    array = np.asarray(cut)
    centre = np.array([0, 0.1 * m])
    for (x, y), colour in zip(upright, COLOURS, strict=True):
        column, row = (np.array([x, y]) - centre + side / 2).round().astype(int)
        assert np.abs(array[row, column].astype(int) - colour).max() < 60


def test_no_face_is_a_broken_image(monkeypatch: pytest.MonkeyPatch) -> None:
    for nothing in (None, np.zeros((0, 15))):
        monkeypatch.setattr(align, "detect", lambda image, found=nothing: found)
        with pytest.raises(Undecodable, match=r"x\.png: no face found"):
            aligned(photo(50, 40), "x.png")


def test_images_without_a_face_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faces here are red."""
    points = np.array([(8, 10), (18, 10), (9, 18), (17, 18)])

    def detect(image: np.ndarray) -> np.ndarray | None:
        return detected(points) if image[0, 0, 2] > 200 else None

    monkeypatch.setattr(align, "detect", detect)
    for name, colour in (("face", "red"), ("tree", "green")):
        Image.new("RGB", (30, 30), colour).save(tmp_path / f"{name}.png")
    source = {split: str(tmp_path) for split in ("train", "validation", "test")}
    for _ in range(2):  # the second time from the cache
        data = ImagesDataModule(source, 8, test=0, validation=0, num_workers=0, align=True)
        with pytest.warns(UserWarning, match=r"tree\.png: no face found"):
            (item,) = data.dataset("train")
        assert item.path.endswith("face.png") and item.image[0].max() > 0.99
    data = ImagesDataModule(source, 8, test=0, validation=0, num_workers=0)
    assert len(data.dataset("train")) == 2


def test_opencv_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    align._detector.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(HslError, match=r"pip install \"hspace\[align\]\""):
        aligned(photo(50, 40), "x.png")


def test_a_detector_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_):
        raise ConnectionError("no network\nat all")

    pytest.importorskip("cv2")
    align._detector.cache_clear()
    monkeypatch.setattr(align, "hf_hub_download", offline)
    with pytest.raises(HslError, match="cannot be had") as raised:
        aligned(photo(50, 40), "x.png")
    assert "\n" not in str(raised.value)
