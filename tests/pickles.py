"""Boundaries as BoundaryDiffusion's released code writes them."""

import pickle
from pathlib import Path

import numpy as np
from sklearn.svm import SVC


def pickled_boundaries(folder: Path) -> dict[str, Path]:
    """The files in x and in h of an attribute, for the tiny backbone: x ``3 x 8 x 8``, h ``32 x 4 x
    4``."""
    random, files = np.random.default_rng(0), {}
    for space, letter, features in (("x", "z", 3 * 8 * 8), ("h", "h", 32 * 4 * 4)):
        svc = SVC(kernel="linear").fit(random.normal(size=(12, features)), [-1, 1] * 6)
        files[space] = folder / f"smile_boundary_{letter}.sav"
        files[space].write_bytes(pickle.dumps(svc))
    return files
