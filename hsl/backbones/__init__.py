"""Frozen denoisers with an h-space."""

from hsl.backbones.architecture import Unstated
from hsl.backbones.codecs import KL, VQ, Codec, Identity, SpaceToDepth
from hsl.backbones.loading import load
from hsl.backbones.presets import PRESETS, SOURCES
from hsl.backbones.speed import PLAIN, Speed
from hsl.backbones.unet import TAPS, Backbone, Bottleneck, Tap

__all__ = [
    "KL",
    "PLAIN",
    "PRESETS",
    "SOURCES",
    "TAPS",
    "VQ",
    "Backbone",
    "Bottleneck",
    "Codec",
    "Identity",
    "SpaceToDepth",
    "Speed",
    "Tap",
    "Unstated",
    "load",
]
