"""The process: its loops, the edit and how it enters a step, noise."""

from hsl.process.edit import INJECTIONS, SHARES, Edit, Injection
from hsl.process.grids import grid_for
from hsl.process.loops import (
    Step,
    eps_of,
    invert,
    last,
    learned_sigma,
    predicted_x_0,
    reverse,
)
from hsl.process.noise import Noise, SeededNoise

__all__ = [
    "INJECTIONS",
    "SHARES",
    "Edit",
    "Injection",
    "Noise",
    "SeededNoise",
    "Step",
    "eps_of",
    "grid_for",
    "invert",
    "last",
    "learned_sigma",
    "predicted_x_0",
    "reverse",
]
