"""Semantic directions in the h-space of diffusion models.

What a few lines of Python need is here by name, and imported when it is asked for.
"""

import sys
from typing import TYPE_CHECKING

from hsl.commands.starting import start
from hsl.lazy import lazily

if sys.argv[:1] == ["-m"]:  # a module is being looked up, which may be a command of ours
    start(sys.orig_argv)

#: The module of each name.
_MODULES = {
    "Asyrp": "hsl.methods.asyrp",
    "Boundary": "hsl.directions",
    "CelebADataModule": "hsl.data.celeba",
    "Direction": "hsl.directions",
    "Edit": "hsl.process",
    "Editor": "hsl.edit.editor",
    "ImagesDataModule": "hsl.data.folder",
    "Linear": "hsl.methods.linear",
    "LsunDataModule": "hsl.data.lsun",
    "SampledDataModule": "hsl.data.sampled",
    "Saved": "hsl.methods.saved",
    "SeededNoise": "hsl.process",
    "Step": "hsl.process",
    "ToyFacesDataModule": "hsl.data.toyfaces",
    "__version__": "hsl.version",
    "evaluate": "hsl.train.fitting",
    "fit": "hsl.train.fitting",
    "invert": "hsl.process",
    "last": "hsl.process",
    "load": "hsl.backbones",
    "reverse": "hsl.process",
}

if TYPE_CHECKING:
    from hsl.backbones import load as load
    from hsl.data.celeba import CelebADataModule as CelebADataModule
    from hsl.data.folder import ImagesDataModule as ImagesDataModule
    from hsl.data.lsun import LsunDataModule as LsunDataModule
    from hsl.data.sampled import SampledDataModule as SampledDataModule
    from hsl.data.toyfaces import ToyFacesDataModule as ToyFacesDataModule
    from hsl.directions import Boundary as Boundary
    from hsl.directions import Direction as Direction
    from hsl.edit.editor import Editor as Editor
    from hsl.methods.asyrp import Asyrp as Asyrp
    from hsl.methods.linear import Linear as Linear
    from hsl.methods.saved import Saved as Saved
    from hsl.process import Edit as Edit
    from hsl.process import SeededNoise as SeededNoise
    from hsl.process import Step as Step
    from hsl.process import invert as invert
    from hsl.process import last as last
    from hsl.process import reverse as reverse
    from hsl.train.fitting import evaluate as evaluate
    from hsl.train.fitting import fit as fit
    from hsl.version import __version__ as __version__
else:
    __getattr__, __dir__ = lazily(__name__, _MODULES)
