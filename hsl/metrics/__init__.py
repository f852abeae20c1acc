"""Figures of edited images. Every network behind them is a judge."""

from hsl.confidence import bootstrap
from hsl.metrics.attributes import AttributeChange
from hsl.metrics.base import PerSample
from hsl.metrics.directional import DirectionalSimilarity
from hsl.metrics.distances import CounterfactualError, Reconstruction, psnr
from hsl.metrics.regions import RegionChange

__all__ = [
    "AttributeChange",
    "CounterfactualError",
    "DirectionalSimilarity",
    "PerSample",
    "Reconstruction",
    "RegionChange",
    "bootstrap",
    "psnr",
]
