"""What others may ask of ToyFaces as a domain: see `hsl.data.domains`."""

from hsl.data.domains import Domain
from hsl.data.toyfaces.captions import OPPOSITE_TEXTS, TEMPLATES, TEXTS
from hsl.data.toyfaces.factors import excluded_by

DOMAIN = Domain(TEXTS, OPPOSITE_TEXTS, TEMPLATES, excluded_by)
