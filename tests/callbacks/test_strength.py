"""The smallest strength that is enough is chosen, by a guide."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from hsl.callbacks import Directions, Strength
from hsl.callbacks.strength import chosen as best
from hsl.directions import Direction, ImplicitFunction
from hsl.encoders.attributes import AttributeClassifier
from hsl.errors import HslError
from hsl.methods.base import Method
from runs import asyrp, faces, saved_backbone, trainer

TRIED = (0.5, 0.75, 1.0)


class Guide:
    """Sees a smile where an image is not dark."""

    names, role = ("Young", "Smiling"), "guide"

    def to(self, device: torch.device) -> "Guide":
        return self

    def probabilities(self, images: Tensor) -> Tensor:
        smiling = (images.mean((1, 2, 3)) >= 0).float()
        return torch.stack([torch.zeros_like(smiling), smiling], dim=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def chosen(folder: str, needed: list[float], monkeypatch, guide=None, name="Smiling", **arguments):
    """The strengths after training, where face i smiles from strength ``needed[i]`` on."""
    monkeypatch.setattr(AttributeClassifier, "load", lambda which, resize: guide or Guide())
    method, data = Method(folder), faces(len(needed))
    method.directions[name] = ImplicitFunction.for_backbone(method.backbone)
    order = data.faces("validation").index.tolist()

    def sweep(images: Tensor, index: Tensor, name: str, strengths: list[float]) -> Tensor:
        need = torch.tensor([needed[order.index(int(i))] for i in index])
        excess = torch.tensor(strengths)[:, None] - need
        return excess[:, :, None, None, None].expand(len(strengths), *images.shape)

    method.sweep = sweep
    alone = SimpleNamespace(broadcast=lambda choice: choice)
    trainer = SimpleNamespace(
        datamodule=data, is_global_zero=True, strategy=alone, callback_metrics={}, loggers=[]
    )
    settings = {"strengths": TRIED, "images": len(needed)} | arguments
    Strength(**settings).on_train_end(trainer, method)
    return method.strengths


def test_the_smallest_sufficient_strength(folder: str, monkeypatch) -> None:
    assert chosen(folder, [0.7, 0.5, 0.6, 0.1], monkeypatch) == {"Smiling": 0.75}
    assert chosen(folder, [0.7, 0.5, 0.5, 0.1], monkeypatch, share=0.75) == {"Smiling": 0.5}
    assert chosen(folder, [0.1, 0.1, 0.1, 0.9], monkeypatch, share=0.97) == {"Smiling": 1.0}


def test_the_one_that_gets_furthest_if_none_is_enough(folder: str, monkeypatch) -> None:
    assert chosen(folder, [0.7, 5.0, 0.6, 1.0], monkeypatch) == {"Smiling": 1.0}
    assert best({0.5: 0.2, 0.75: 0.6, 1.0: 0.4}, 0.95) == (0.75, False)
    assert best({0.5: 0.2, 0.75: 0.6, 1.0: 0.6, 1.5: 0.1}, 0.95) == (1.0, False)
    assert best({0.5: 0.2, 0.75: 0.95}, 0.95) == (0.75, True)


def test_the_largest_of_those_that_get_as_far_and_it_says_so(
    folder: str, monkeypatch, capsys
) -> None:
    """The smallest would show an edit of nothing where none is seen to do anything."""
    with pytest.warns(UserWarning, match="Smiling: no strength up to 1 reached 0.95 of the"):
        assert chosen(folder, [5.0, 5.0], monkeypatch) == {"Smiling": 1.0}
    said = " ".join(capsys.readouterr().out.split())
    assert "chosen strength 1, though none reached 0.95" in said
    assert chosen(folder, [0.1, 0.1], monkeypatch) == {"Smiling": 0.5}
    assert "none reached" not in capsys.readouterr().out


def test_what_the_guide_is_not_for_it_does_not_choose(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder)
    with pytest.warns(UserWarning, match="toyfaces/guide is for images of 32 pixels.*have 8"):
        trainer(tmp_path, Strength()).fit(method, datamodule=faces(2))
    assert method.strengths == {}


@pytest.mark.parametrize("first", [True, False])
def test_directions_are_saved_with_their_strengths_in_any_order(
    folder: str, tmp_path: Path, first: bool
) -> None:
    callbacks = [Directions(), Strength(None, [2.5])]
    trainer(tmp_path, *callbacks[:: 1 if first else -1]).fit(asyrp(folder), datamodule=faces(2))
    saved = Direction.load(tmp_path / "directions" / "Smiling.safetensors")
    assert saved.about["strength"] == 2.5


def test_small_batches_choose_the_same(folder: str, monkeypatch) -> None:
    assert chosen(folder, [0.7, 0.9, 0.6, 0.1, 0.2], monkeypatch, batch=1) == {"Smiling": 1.0}


def test_only_so_many_images_are_looked_at(folder: str, monkeypatch) -> None:
    assert chosen(folder, [0.1, 0.1, 9.0, 9.0], monkeypatch, images=2) == {"Smiling": 0.5}


def test_without_a_guide_for_it_a_strength_stays(folder: str, monkeypatch) -> None:
    assert chosen(folder, [0.1], monkeypatch, guide=Guide(), name="Zebra") == {}
    method = Method(folder)
    Strength(guide=None).on_train_end(SimpleNamespace(), method)
    assert method.strengths == {}


def test_what_is_refused(folder: str, monkeypatch) -> None:
    judge = Guide()
    judge.role = "judge"
    with pytest.raises(HslError, match="judge"):
        chosen(folder, [0.1], monkeypatch, guide=judge)
    for strengths in ((), (1.0, 0.5)):
        with pytest.raises(HslError, match=r"ascending|one or several"):
            Strength(strengths=strengths)


def test_without_a_guide_the_only_strength_is_taken(tmp_path: Path) -> None:
    method = asyrp(saved_backbone(tmp_path / "backbone"))
    run = trainer(tmp_path, Strength(guide=None, strengths=[2.5]))
    run.fit(method, datamodule=faces(2))
    assert method.strengths == {"Smiling": 2.5}
