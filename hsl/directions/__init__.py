"""Directions: what an edit adds. A vector space of small frozen or trainable modules.

``+``, ``-``, ``*`` and ``without`` combine directions; ``save`` and `load` keep them in one
safetensors file with what is needed to use them again.
"""

from hsl.directions.base import SPACES, Direction, Space, build, filled, require_fit
from hsl.directions.boundary import Boundary
from hsl.directions.combination import Combination
from hsl.directions.files import ABOUT, commit, provenance
from hsl.directions.implicit import ImplicitFunction
from hsl.directions.per_image import PerImage
from hsl.directions.shift import Shift
from hsl.directions.shipped import shipped

__all__ = [
    "ABOUT",
    "SPACES",
    "Boundary",
    "Combination",
    "Direction",
    "ImplicitFunction",
    "PerImage",
    "Shift",
    "Space",
    "build",
    "commit",
    "filled",
    "provenance",
    "require_fit",
    "shipped",
]
