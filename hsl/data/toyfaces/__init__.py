"""ToyFaces: a face world drawn by our own renderer, whose true counterfactuals are known."""

from hsl.data.toyfaces.dataset import ToyFaces, ToyFacesDataModule
from hsl.data.toyfaces.factors import (
    ATTRIBUTES,
    SEEN,
    UNSEEN,
    WORLDS,
    Factors,
    counterfactual,
    excluded_by,
    labels,
    sample,
)
from hsl.data.toyfaces.renderer import REGIONS, regions, render

__all__ = [
    "ATTRIBUTES",
    "REGIONS",
    "SEEN",
    "UNSEEN",
    "WORLDS",
    "Factors",
    "ToyFaces",
    "ToyFacesDataModule",
    "counterfactual",
    "excluded_by",
    "labels",
    "regions",
    "render",
    "sample",
]
