"""Gram matrices and directions from features that are read block by block."""

import pytest
import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.solvers import MeanDifference, combine, cross, gram
from linear import features

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


class Reader:
    """Blocks that are read when they are asked for; remembers which were."""

    def __init__(self, blocks: list[Tensor]) -> None:
        self.blocks, self.read = blocks, list[int]()

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, i: int) -> Tensor:
        if i >= len(self.blocks):
            raise IndexError(i)
        self.read.append(i)
        return self.blocks[i]


def error(found: Tensor, left: Tensor, right: Tensor) -> float:
    """The largest error of products, in units of the product of the lengths."""
    exact = left.double() @ right.double().mT
    lengths = left.double().norm(dim=1)[:, None] * right.double().norm(dim=1)
    return float(((found - exact).abs() / lengths).max())


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_streamed_products_are_exact_enough(dtype: torch.dtype, mean: float) -> None:
    g = torch.Generator().manual_seed(0)
    h = (torch.randn(48, 32768, generator=g) + mean).to(dtype)
    found = gram(h.split(20))
    assert found.dtype == torch.float64 and torch.equal(found, found.mT)
    assert error(found, h, h) < 1e-12
    other = h[:7].flip(1)
    assert error(cross([other], h.split(20)), other, h) < 1e-12


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_directions_are_those_of_the_whole(dtype: torch.dtype) -> None:
    h = features(50, 3 * 4 * 4).view(50, 3, 4, 4).to(dtype)
    coefficients = features(2, 50, seed=1)
    found = combine(h.split([20, 1, 29]), coefficients)
    assert found.shape == (2, 3, 4, 4) and found.dtype == torch.float64
    exact = torch.einsum("an,nkij->akij", coefficients, h.double())
    assert torch.allclose(found, exact, atol=1e-5 if dtype != torch.float64 else 1e-12)


def test_blocks_do_not_matter() -> None:
    h = features(30, 20)
    whole = gram([h])
    for sizes in ([30], [10, 20], [1] * 30, [29, 1]):
        assert torch.allclose(gram(h.split(sizes)), whole, atol=1e-12)
        assert torch.allclose(cross(h.split(sizes), [h]), whole, atol=1e-12)
        assert torch.allclose(cross([h], h.split(sizes)), whole, atol=1e-12)
    assert torch.allclose(whole, h @ h.mT)


def test_how_often_blocks_are_read() -> None:
    reader = Reader(list(features(20, 6).split(5)))
    gram(reader)  # type: ignore[arg-type]
    assert len(reader.read) == 4 * 5 / 2
    reader.read.clear()
    combine(reader, torch.ones(1, 20))  # type: ignore[arg-type]
    assert reader.read == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_more_images_than_dimensions_have_no_negative_eigenvalues(dtype: torch.dtype) -> None:
    h = torch.randn(200, 20, generator=torch.Generator().manual_seed(0)).to(dtype) + 3
    values = torch.linalg.eigvalsh(gram(h.split(70)))
    assert float(values[0]) > -1e-13 * float(values[-1])


def test_scores_of_other_images() -> None:
    h, other = features(20, 6), features(5, 6, seed=1)
    labels = torch.where(torch.arange(20) % 2 == 0, 1, -1)[:, None]
    solution = MeanDifference()(gram([h]), labels)
    direction = combine([h], solution.coefficients)
    scores = solution.decision(cross([other], [h]))
    assert torch.allclose(scores, other @ direction.mT + solution.intercept)


@pytest.mark.gpu
def test_on_a_gpu_the_same() -> None:
    h = torch.randn(60, 32768, generator=torch.Generator().manual_seed(0))
    found = gram([block.cuda() for block in h.split(25)])
    assert found.is_cuda and error(found.cpu(), h, h) < 1e-12


def test_bad_features_are_refused() -> None:
    h = features(6, 4)
    for blocks, message in (
        ([], "no features"),
        ([h, features(6, 5)], "4 and of 5|5 and of 4"),
        ([h.long()], "block 0 is torch.int64"),
        ([h, h[0]], "block 1"),
    ):
        with pytest.raises(HslError, match=message):
            gram(blocks)
    for n in (5, 7, 12):
        with pytest.raises(HslError, match=f"coefficients of {n} images for features of 6"):
            combine([h], torch.ones(2, n))
    with pytest.raises(HslError, match="features of 0"):
        combine([], torch.ones(2, 3))
