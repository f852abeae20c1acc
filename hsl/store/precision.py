"""The precision that what is kept is computed in, whatever surrounds the computation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_float32() -> Iterator[None]:
    """float32 products in float32: TF32 and bfloat16, which a trainer may have allowed, are not
    enough to tell close features apart."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def stated() -> Iterator[None]:
    """Each network in the type of its own weights: no autocast of a trainer's precision plugin, and
    `exact_float32`. What a cache holds is computed so; a backbone's key says the rest."""
    off = (torch.autocast(device, enabled=False) for device in ("cpu", "cuda"))
    with exact_float32(), next(off), next(off):
        yield
