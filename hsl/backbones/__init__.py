"""Frozen denoisers with an h-space."""

from typing import TYPE_CHECKING

from hsl.lazy import lazily

if TYPE_CHECKING:
    from hsl.backbones.architecture import Unstated
    from hsl.backbones.codecs import KL, VQ, Codec, Identity, SpaceToDepth
    from hsl.backbones.loading import load
    from hsl.backbones.presets import PRESETS, SOURCES
    from hsl.backbones.speed import PLAIN, Speed
    from hsl.backbones.unet import TAPS, Backbone, Bottleneck, Tap
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Backbone": "hsl.backbones.unet",
            "Bottleneck": "hsl.backbones.unet",
            "Codec": "hsl.backbones.codecs",
            "Identity": "hsl.backbones.codecs",
            "KL": "hsl.backbones.codecs",
            "PLAIN": "hsl.backbones.speed",
            "PRESETS": "hsl.backbones.presets",
            "SOURCES": "hsl.backbones.presets",
            "SpaceToDepth": "hsl.backbones.codecs",
            "Speed": "hsl.backbones.speed",
            "TAPS": "hsl.backbones.unet",
            "Tap": "hsl.backbones.unet",
            "Unstated": "hsl.backbones.architecture",
            "VQ": "hsl.backbones.codecs",
            "load": "hsl.backbones.loading",
        },
    )

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
