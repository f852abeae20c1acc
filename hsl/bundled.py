"""What hsl takes where nothing is named: the bundled model, data and networks, by name.

The names stand in ``hsl/assets/bundled.json`` alone, so that the code knows no data set by name.
"""

import json
from typing import NamedTuple

from hsl.assets import asset


class Bundled(NamedTuple):
    """Names of what is shipped.

    ``backbone``: for `hsl.backbones.load`; ``data``: the class path of a data module, and
    ``data_file`` its configuration; ``guide`` and ``judge``: of each kind of network that has both;
    ``segmenter``: the judge that has no guide; ``folder``: of `hsl.assets.asset`, where networks,
    directions and boundaries lie; ``domain`` and ``size``: what images networks are for whose
    files do not say so, and their height and width in pixels; ``backbones``: the folder of each
    shipped one; ``domains``: the module that knows a domain (`hsl.data.domains`).
    """

    backbone: str
    data: str
    data_file: str
    guide: str
    judge: str
    segmenter: str
    folder: str
    domain: str
    size: int
    backbones: dict[str, str]
    domains: dict[str, str]


BUNDLED = Bundled(**json.loads(asset("bundled.json").read_text("utf-8")))
