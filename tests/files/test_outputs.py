"""What may be written over."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from hsl.data.images import save_image
from hsl.directions import Shift
from hsl.errors import HslError
from hsl.files.outputs import require_distinct, require_other_folder, require_outputs


def photo(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path)
    return path


def ours(path: Path) -> Path:
    save_image(path, torch.zeros(3, 8, 8))
    return path


def refused(outputs: list[Path], *arguments, **named) -> str:
    with pytest.raises(HslError) as error:
        require_outputs(outputs, *arguments, **named)
    assert "\n" not in str(error.value) and str(outputs[-1]) in str(error.value)
    return str(error.value)


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    for made in (photo, ours):
        image = made(tmp_path / "a.png")
        (tmp_path / "deep").mkdir(exist_ok=True)
        other = tmp_path / "deep" / ".." / "a.png"
        for overwrite in (False, True):
            for read in (image, tmp_path, other, str(image)):
                assert "is read by this job" in refused([image], [read], overwrite)
            assert "is read by this job" in refused([other], [image], overwrite)
    require_outputs([tmp_path / "b.png"], [image, tmp_path, tmp_path / "nothing"])


def test_an_input_by_another_name_is_never_replaced(tmp_path: Path) -> None:
    image = photo(tmp_path / "a.png")
    os.link(image, tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to(image)
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("hard.png", "soft.png", "folder/a.png"):
        assert "is read by this job" in refused([tmp_path / name], [image], True)
        assert "is read by this job" in refused([image], [tmp_path / name], True)


def test_only_what_hsl_wrote_is_replaced(tmp_path: Path) -> None:
    require_outputs([ours(tmp_path / "ours.png"), tmp_path / "new.png"])
    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", "another")
    Image.new("RGB", (8, 8)).save(tmp_path / "another.png", pnginfo=mark)
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes((tmp_path / "ours.png").read_bytes()[:20])
    (tmp_path / "text.png").write_text("Software hsl")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nothing")
    photo(tmp_path / "photo.png")
    for name in ("another", "empty", "cut", "text", "broken", "photo"):
        path = tmp_path / f"{name}.png"
        assert "hsl did not write it" in refused([path])
        require_outputs([path], overwrite=True)
    for overwrite in (False, True):
        (tmp_path / "folder.png").mkdir(exist_ok=True)
        assert "is a folder" in refused([tmp_path / "folder.png"], (), overwrite)


def test_tensors_are_replaced_by_their_own_kind(tmp_path: Path) -> None:
    mean = Shift(torch.zeros(4, 2, 2)).save(tmp_path / "mean.safetensors", mean_of=["a"])
    other = Shift(torch.zeros(4, 2, 2)).save(tmp_path / "other.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, foreign)
    photo(tmp_path / "photo.png")
    require_outputs([mean, other])
    require_outputs([mean], key="mean_of")
    for path in (other, foreign, tmp_path / "photo.png"):
        assert "or not this kind of file" in refused([path], key="mean_of")
    assert "or not this kind" in refused([ours(tmp_path / "ours.png")], key="mean_of")
    require_outputs([other, foreign], overwrite=True, key="mean_of")


def test_tables_are_hsls_beside_a_picture_of_hsls(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("name,Smiling\n")
    assert "hsl did not write it" in refused([tmp_path / "labels.png", table])
    photo(tmp_path / "labels.png")
    assert "hsl did not write it" in refused([tmp_path / "new.png", table])
    ours(tmp_path / "labels.png")
    require_outputs([table, tmp_path / "labels.png"])


def test_a_folder_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / "link", tmp_path / "x" / ".."):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(HslError, match=r"--out .*: is the folder of the images"):
            require_other_folder(out, [tmp_path / "a.png", tmp_path], "--out")
    require_other_folder(tmp_path / "x", [tmp_path], "--out")
    require_other_folder(tmp_path / "new", [tmp_path / "nothing"], "--out")


def test_a_file_is_written_once(tmp_path: Path) -> None:
    require_distinct([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(HslError, match="twice"):
        require_distinct([tmp_path / "a", tmp_path / "b" / ".." / "a"])
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(HslError, match="twice"):
        require_distinct([tmp_path / "a", tmp_path / "link" / "a"])
