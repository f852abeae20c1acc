"""Weights of each image's own."""

from pathlib import Path

import pytest
import torch

from hsl.directions import Combination, Direction, PerImage, Shift
from hsl.edit.records import SampleRecord, sample
from hsl.errors import HslError
from hsl.process import Edit
from some_directions import implicit, randn
from tiny import backbone

PARTS = [implicit(), Shift(randn(32, 4, 4, seed=1))]
WEIGHTS = torch.tensor([[0.5, -1.0], [0.0, 2.0], [3.0, 0.0]])
X = randn(3, 3, 8, 8, seed=5)


def test_each_image_has_a_combination_of_its_own() -> None:
    b = backbone().encode(X, 400)
    found = PerImage(PARTS, WEIGHTS)(b, X, 400)
    for i, weights in enumerate(WEIGHTS.tolist()):
        want = Combination(PARTS, weights)(b, X, 400)[i]
        assert torch.allclose(found[i], want, atol=1e-5)
    some = PerImage(PARTS, WEIGHTS).of(slice(1, 3))
    b = backbone().encode(X[1:], 400)
    assert torch.allclose(some(b, X[1:], 400), found[1:], atol=1e-5)


def test_it_is_saved_and_read(tmp_path: Path) -> None:
    path = PerImage(PARTS, WEIGHTS).save(tmp_path / "a.safetensors")
    found, b = Direction.load(path, backbone()), backbone().encode(X, 400)
    assert torch.equal(found(b, X, 400), PerImage(PARTS, WEIGHTS)(b, X, 400))


def test_a_record_cuts_the_weights_with_the_batches(tmp_path: Path) -> None:
    edit, grid = Edit(PerImage(PARTS, WEIGHTS), t_edit=100), [0, 100, 200, 300]
    x_T = 0.3 * X
    images, record = sample(backbone(), x_T, grid, edit, batch=2)
    for i, weights in enumerate(WEIGHTS.tolist()):
        alone = Edit(Combination(PARTS, weights), t_edit=100)
        assert torch.allclose(
            images[i], sample(backbone(), x_T[i : i + 1], grid, alone)[0][0], atol=1e-4
        )
    assert not torch.allclose(images[0], images[1], atol=0.01)
    path = record.save(tmp_path / "r.safetensors")
    assert torch.equal(SampleRecord.load(path).replay(backbone()), images)


def test_what_does_not_fit_is_refused() -> None:
    b = backbone().encode(X[:2], 400)
    with pytest.raises(HslError, match="weights for 3 images, a batch of 2"):
        PerImage(PARTS, WEIGHTS)(b, X[:2], 400)
    with pytest.raises(HslError, match=r"want \[N, 2\]"):
        PerImage(PARTS, WEIGHTS.T)
    with pytest.raises(HslError, match="cannot combine"):
        PerImage([*PARTS, Shift(X[0], space="x")], torch.ones(3, 3))
    with pytest.raises(HslError, match="h of shape"):
        PerImage([Shift(torch.zeros(16, 2, 2))], torch.ones(1, 1)).check(backbone())
