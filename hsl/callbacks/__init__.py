"""What surrounds a method's training: intervals, strengths, export, evaluation, pictures."""

from hsl.callbacks.directions import Directions
from hsl.callbacks.evaluate import Evaluate
from hsl.callbacks.grids import Grids
from hsl.callbacks.intervals import Intervals
from hsl.callbacks.mixing import Mixing
from hsl.callbacks.sampled import Sampled
from hsl.callbacks.strength import Strength

__all__ = ["Directions", "Evaluate", "Grids", "Intervals", "Mixing", "Sampled", "Strength"]
