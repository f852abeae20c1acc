"""A grid of pictures is written when testing ends."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hsl.callbacks import Grids
from hsl.callbacks.grids import draw_grid
from hsl.data.folder import ImagesDataModule
from hsl.directions import ImplicitFunction
from hsl.errors import HslError
from runs import asyrp, faces, saved_backbone, trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def test_one_direction(folder: str, tmp_path: Path) -> None:
    method, data = asyrp(folder, zero_init=False), faces(3)
    trainer(tmp_path, Grids(images=2, factors=(-1.0, 1.0))).test(method, data, verbose=False)
    picture = Image.open(tmp_path / "grid.png")
    picture.load()
    width, height = picture.size
    assert 400 < width < 900 and 200 < height < 500  # 5 columns, 2 rows
    assert np.asarray(picture).std() > 20  # not blank
    assert [p.name for p in tmp_path.glob("*.png")] == ["grid.png"]


def test_several_directions(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder)
    method.directions["Zebra"] = ImplicitFunction.for_backbone(method.backbone)
    trainer(tmp_path, Grids(images=9, factors=(1.0,), batch=1)).test(
        method, faces(2), verbose=False
    )
    names = sorted(p.name for p in tmp_path.glob("*.png"))
    assert names == ["grid_Smiling.png", "grid_Zebra.png"]
    with_truth, without = (Image.open(tmp_path / name).width for name in names)
    assert with_truth > without  # no true counterfactual of a zebra


class Known(ImagesDataModule):
    """Files whose truth is known: a smile is a white image."""

    counterfactuals = ("Smiling",)

    def counterfactual(self, indices: Any, split: str, **attributes: int) -> Tensor:
        assert split == "test" and attributes == {"Smiling": 1}
        return torch.ones(len(indices), 3, self.size, self.size)


def test_any_data_may_know_the_truth(folder: str, tmp_path: Path, monkeypatch) -> None:
    drawn: dict[str, Tensor] = {}

    def draw(columns: list[Tensor], titles: list[str], title: str) -> object:
        drawn.update(zip(titles, columns, strict=True))
        return draw_grid(columns, titles, title)

    monkeypatch.setattr("hsl.callbacks.grids.draw_grid", draw)
    (tmp_path / "images").mkdir()
    for i in range(12):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "images" / f"{i}.png")
    data = {Known: True, ImagesDataModule: False}
    for module, known in data.items():
        drawn.clear()
        images = module(str(tmp_path / "images"), num_workers=0, split="hash")
        trainer(tmp_path, Grids(images=1, factors=(1.0,))).test(
            asyrp(folder), images, verbose=False
        )
        assert ("truth" in drawn) is known
        assert not known or bool((drawn["truth"] == 1).all())
    with pytest.raises(HslError, match="ImagesDataModule: knows no image's counterfactual"):
        images.counterfactual([0], "test", Smiling=1)


def test_directions_by_any_name(folder: str, tmp_path: Path, monkeypatch) -> None:
    """What a label may be called, as a title, on the bar and as a name of a file."""
    monkeypatch.setenv("HSL_PROGRESS", "1")
    method = asyrp(folder)
    names = ["$x_$", "a/b", "nul\x00", "[/red]", "long" * 80]
    for name in names:
        method.directions[name] = ImplicitFunction.for_backbone(method.backbone)
    names.append("Smiling")
    trainer(tmp_path / "run", Grids(images=1, factors=(1.0,))).test(method, faces(2), verbose=False)
    written = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png")]
    assert len(written) == len(names) and "run/grid_$x_$.png" in written
    assert all(name.startswith("run/grid_") for name in written)


def test_the_columns_are_what_they_say(folder: str, tmp_path: Path, monkeypatch) -> None:
    drawn = {}

    def spy(columns, titles, title):
        drawn.update(zip(titles, columns, strict=True))
        return draw_grid(columns, titles, title)

    monkeypatch.setattr("hsl.callbacks.grids.draw_grid", spy)
    torch.manual_seed(0)
    method, data = asyrp(folder, zero_init=False), faces(3)
    method.strengths = {"Smiling": 0.5}
    trainer(tmp_path, Grids(images=3, factors=(-1.0, 1.0), batch=2)).test(
        method, data, verbose=False
    )
    test = data.faces("test")
    assert list(drawn) == ["source", "reconstruction", "-1", "+1", "truth"]
    assert torch.equal(drawn["source"], test.images)
    edited = method.edit_images(test.images, test.index, method.edit("Smiling", 0.5))
    assert torch.allclose(drawn["+1"], edited, atol=1e-4)
    assert torch.equal(drawn["truth"], data.counterfactual(test.index, "test", Smiling=1))
