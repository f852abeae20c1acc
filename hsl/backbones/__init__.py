"""Frozen denoisers with an h-space."""

from hsl.backbones.codecs import Codec, Identity, SpaceToDepth
from hsl.backbones.loading import load
from hsl.backbones.unet import TAPS, Backbone, Bottleneck, Tap

__all__ = ["TAPS", "Backbone", "Bottleneck", "Codec", "Identity", "SpaceToDepth", "Tap", "load"]
