"""Problems for solvers: features with planted directions, labels, and what is known of them."""

import torch
from torch import Tensor


def features(n: int, d: int, seed: int = 0, uneven: bool = False) -> Tensor:
    """Random ``[n, d]`` float64 with a mean; ``uneven``: of lengths that differ tenfold."""
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(n, d, generator=g, dtype=torch.float64)
    if uneven:
        h *= 0.3 + 3 * torch.rand(n, 1, generator=g, dtype=torch.float64)
    return h + torch.randn(d, generator=g, dtype=torch.float64)


def labelled(h: Tensor, attributes: int = 3, noise: float = 0.7, rarer: float = 0.5, seed: int = 0):
    """Labels ``[n, A]`` by random directions plus noise; a share ``rarer`` of each is positive."""
    g = torch.Generator().manual_seed(1000 + seed)
    directions = torch.randn(h.shape[1], attributes, generator=g, dtype=torch.float64)
    scores = (h - h.mean(0)) @ directions / h.shape[1] ** 0.5
    scores += noise * torch.randn(scores.shape, generator=g, dtype=torch.float64)
    return torch.where(scores > scores.quantile(1 - rarer, dim=0), 1.0, -1.0).double()


def planted(
    n: int, d: int, correlation: float, noise: float = 0.3
) -> tuple[Tensor, Tensor, Tensor]:
    """h = y @ directions / 2 + noise: ``h [n, d]``, ``labels [n, 2]``, orthogonal ``[2, d]``.

    The labels agree in exactly a share (1 + correlation) / 2 of the images.
    """
    g = torch.Generator().manual_seed(0)
    first = torch.where(torch.arange(n) < n // 2, 1.0, -1.0)
    place = torch.arange(n) % (n // 2)
    agree = torch.where(place < (1 + correlation) / 2 * (n // 2), 1.0, -1.0)
    labels = torch.stack([first, first * agree], 1).double()
    directions = torch.linalg.qr(torch.randn(d, 2, generator=g, dtype=torch.float64))[0].mT * 6
    rest = noise * torch.randn(n, d, generator=g, dtype=torch.float64)
    return labels @ directions / 2 + rest, labels, directions


def overlapping(n: int, d: int, seed: int, noise: float = 0.5) -> tuple[Tensor, Tensor]:
    """Features ``[n, d]`` float32 of unit variance, and labels ``[n, 1]`` that overlap."""
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(n, d, generator=g)
    score = h @ torch.randn(d, generator=g) / d**0.5
    return h, torch.where(score + noise * torch.randn(n, generator=g) > 0.2, 1.0, -1.0)[:, None]


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.flatten() @ b.flatten() / (a.norm() * b.norm()))
