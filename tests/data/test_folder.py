"""Folders and Hub data sets of images."""

from hashlib import sha256
from pathlib import Path

import pytest
import torch

from hsl.data.folder import ImagesDataModule
from hsl.data.images import save_image
from hsl.data.selection import split_of
from hsl.errors import HslError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    torch.manual_seed(0)
    for i in range(80):
        save_image(folder / f"{i // 10}" / f"{i}.png", torch.rand(3, 12, 10) * 2 - 1)
    return folder


def module(source: Path | str, **arguments) -> ImagesDataModule:
    settings = {"size": 8, "train": None, "validation": None, "test": None, "num_workers": 0}
    return ImagesDataModule(str(source), **(settings | arguments))


def test_every_image_is_in_one_split(folder: Path) -> None:
    sets = module(folder).sets()
    numbers = [n for s in sets.values() for n in s.numbers]
    assert sorted(numbers) == list(range(80)) and all(len(s) for s in sets.values())


def test_a_split_does_not_change_when_images_are_added(folder: Path, tmp_path: Path) -> None:
    def members(data: ImagesDataModule) -> dict[str, str]:
        return {Path(s.paths[n]).name: k for k, s in data.sets().items() for n in s.numbers}

    some = tmp_path / "some"
    some.mkdir()
    for path in sorted(folder.rglob("*.png"))[:60]:
        (some / path.name).write_bytes(path.read_bytes())
    whole = members(module(folder))
    assert all(whole[name] == split for name, split in members(module(some, train=None)).items())


def test_batches(folder: Path) -> None:
    data = module(folder, train=5, batch_size=4)
    batches = list(data.train_dataloader())
    assert [len(b.image) for b in batches] == [4, 1]
    assert batches[0].image.shape == (4, 3, 8, 8) and batches[0].labels.shape == (4, 0)
    assert batches[0].image.min() >= -1 and batches[0].image.max() <= 1
    index = torch.cat([b.index for b in batches])
    assert len(index.unique()) == 5 and len(batches[0].path) == 4


def test_shares() -> None:
    splits = [split_of(sha256(i.to_bytes(2, "big")).hexdigest()) for i in range(4000)]
    assert abs(splits.count("train") / 4000 - 0.8) < 0.03
    assert abs(splits.count("test") / 4000 - 0.1) < 0.02


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    single = tmp_path / "single"
    single.mkdir()
    (single / "a.png").write_bytes((folder / "0" / "0.png").read_bytes())
    for source in (tmp_path / "empty", single, "nobody/nothing", "no such folder"):
        with pytest.raises(HslError) as error:
            module(source).sets()
        assert "\n" not in str(error.value)
