"""Faces to train the guides and judges on, and to measure them with."""

import torch
from torch import Tensor

from hsl.data.toyfaces.factors import (
    ATTRIBUTES,
    COLUMN,
    HAIR_COLOURS,
    NUISANCE_COLUMN,
    WORLDS,
    Factors,
    labels,
    sample,
)
from hsl.data.toyfaces.renderer import regions, render

TEST_FACES = 4000


def independent(factors: Factors, seed: int) -> Factors:
    """The faces with every attribute drawn anew and on its own: a coin each, one hair colour of
    four, bald one in four, long hair a coin. What looks like Male no longer tells of a goatee."""
    rng = torch.Generator().manual_seed(seed)
    n = len(factors.attributes)
    a = (torch.rand(n, len(ATTRIBUTES), generator=rng) < 0.5).float()
    a[:, COLUMN["Bald"]] = (torch.rand(n, generator=rng) < 0.25).float()
    hair = torch.randint(len(HAIR_COLOURS), (n,), generator=rng)
    for k, name in enumerate(HAIR_COLOURS):
        a[:, COLUMN[name]] = (hair == k).float()
    nuisances = factors.nuisances.clone()
    nuisances[:, NUISANCE_COLUMN["long_hair"]] = (torch.rand(n, generator=rng) < 0.5).float()
    return Factors(a, nuisances)


def training_factors(world: str, n: int, first: int = 0) -> Factors:
    """``n`` faces of a world, unseen attributes included: half as the world has them, half with
    `independent` attributes."""
    own = sample(range(first, first + n), WORLDS[world], unseen=True)
    mixed = independent(own, WORLDS[world])
    keep = torch.arange(n)[:, None] % 2 == 0
    return Factors(*(torch.where(keep, a, b) for a, b in zip(own, mixed, strict=True)))


def held_out(mixed: bool, n: int = TEST_FACES) -> Factors:
    """The first ``n`` faces of the test world, as they are or with `independent` attributes."""
    factors = sample(range(n), WORLDS["test"], unseen=True)
    return independent(factors, WORLDS["test"]) if mixed else factors


def pictures(factors: Factors, size: int = 32) -> Tensor:
    """The faces as uint8 ``[N, 3, size, size]``, rendered in chunks."""
    chunks = [render(factors[i : i + 512], size) for i in range(0, len(factors.attributes), 512)]
    return torch.cat([((c + 1) * 127.5).round().to(torch.uint8) for c in chunks])


def masks(factors: Factors, size: int = 32) -> Tensor:
    """The faces' regions as uint8 ``[N, size, size]``, rendered in chunks."""
    chunks = [regions(factors[i : i + 512], size) for i in range(0, len(factors.attributes), 512)]
    return torch.cat([c.to(torch.uint8) for c in chunks])


def as_float(images: Tensor) -> Tensor:
    """uint8 images as float in [-1, 1]."""
    return images.float() / 127.5 - 1


def visible(factors: Factors) -> Tensor:
    """The labels ``[N, 22]`` of what can be seen."""
    return labels(factors)


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Images ``[B, 3, S, S]``, each blurred by a Gaussian of ``sigma [B]`` pixels (0: as it is)."""
    place = torch.arange(images.shape[-1], dtype=torch.float32)
    gap = (place[:, None] - place[None]) ** 2
    kernel = torch.exp(-gap / (2 * sigma.clamp(min=0.1)[:, None, None] ** 2))
    kernel = (kernel / kernel.sum(-1, keepdim=True))[:, None]
    return kernel @ images @ kernel.transpose(-1, -2)


def degraded(images: Tensor, blur: float, noise: float, rng: torch.Generator) -> Tensor:
    """Half of the images blurred (sigma uniform up to ``blur`` pixels) and noised (standard
    deviation uniform up to ``noise``); the others as they are."""
    n = len(images)
    chosen = (torch.rand(n, generator=rng) < 0.5).float()
    sigma = chosen * blur * torch.rand(n, generator=rng)
    level = chosen * noise * torch.rand(n, generator=rng)
    grain = torch.randn(images.shape, generator=rng)
    return blurred(images, sigma) + level[:, None, None, None] * grain
