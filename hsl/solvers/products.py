"""Products of features that are read block by block: the Gram matrix, and coefficients @ h.

Features come as a sequence of blocks ``[n_i, ...]`` with the same trailing shape, in any float
type; what follows the first dimension is flattened. A list of tensors will do, or any object that
reads block i when it is asked for ``blocks[i]``: two blocks at a time are held, and the result.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hsl.errors import HslError

#: Dimensions that are converted and multiplied at a time.
CHUNK = 1024


def gram(features: Sequence[Tensor]) -> Tensor:
    """K_ij = <h_i, h_j>: ``[N, N]`` float64 on the features' device, symmetric to the bit.

    All features are multiplied and added up in float64, where the products of narrower numbers
    are exact: the error is below 1e-12 |h_i| |h_j|. So a singular K, of more images than
    dimensions, has no negative eigenvalue of more than that size, down which a solver would run.
    Of b blocks each is read (b + 1) / 2 times, so make them large.

    Raises:
        HslError: no features, blocks of several widths, or features that are not floats.
    """
    below: list[list[Tensor]] = []
    for i in range(len(features)):
        left = rows(features, i)
        below.append([products(left, rows(features, j)) for j in range(i)])
        square = products(left, left)
        below[-1].append(0.5 * (square + square.mT))
    if not below:
        raise HslError("no features: give at least one block of them")
    sizes = [len(line[-1]) for line in below]
    result = below[0][0].new_empty(sum(sizes), sum(sizes))
    tiles = [band.split(sizes, dim=1) for band in result.split(sizes)]
    for i, line in enumerate(below):
        for j, tile in enumerate(line):
            tiles[i][j].copy_(tile)
            tiles[j][i].copy_(tile.mT)
    return result


def cross(features: Sequence[Tensor], fitted: Sequence[Tensor]) -> Tensor:
    """<h_i, h_j> of M other images and the N fitted ones: ``[M, N]`` float64, for
    `Solution.decision`. Precision and errors as in `gram`; the fitted ones are read once for each
    block of the others."""
    lines = []
    for i in range(len(features)):
        left = rows(features, i)
        lines.append(torch.cat([products(left, rows(fitted, j)) for j in range(len(fitted))], 1))
    return torch.cat(lines)


def combine(features: Sequence[Tensor], coefficients: Tensor) -> Tensor:
    """The directions: coefficients ``[A, N]`` @ h, ``[A, ...]`` float64, each shaped like the
    features of one image. Every block is read once.

    Raises:
        HslError: as for `gram`, or another number of images than of coefficients.
    """
    total: Tensor | None = None
    shape: torch.Size = torch.Size()
    start = 0
    for i in range(len(features)):
        block = features[i]
        shape = block.shape[1:]
        part = coefficients[:, start : start + len(block)]
        start += len(block)
        if part.shape[1] < len(block):
            break
        part = part.to(block.device)
        share = products(part, rows([block], 0).mT)
        total = share if total is None else total + share
    if total is None or start != coefficients.shape[1]:
        raise HslError(f"coefficients of {coefficients.shape[1]} images for features of {start}")
    return total.view(-1, *shape)


def rows(features: Sequence[Tensor], i: int) -> Tensor:
    """Block i as ``[n_i, D]``.

    Raises:
        HslError: not floats, or not at least two dimensions.
    """
    block = features[i]
    if not block.is_floating_point() or block.ndim < 2:
        raise HslError(f"features: block {i} is {block.dtype} {list(block.shape)}; want floats")
    return block.flatten(1)


def products(left: Tensor, right: Tensor) -> Tensor:
    """<left_i, right_j> ``[n, m]`` in float64 of ``[n, D]`` and ``[m, D]``, as `gram` takes them.

    Raises:
        HslError: different D.
    """
    if left.shape[1] != right.shape[1]:
        raise HslError(f"features of {left.shape[1]} and of {right.shape[1]} dimensions")
    total = torch.zeros(len(left), len(right), dtype=torch.float64, device=left.device)
    for a, b in zip(left.split(CHUNK, 1), right.split(CHUNK, 1), strict=True):
        total.addmm_(a.double(), b.double().mT)
    return total
