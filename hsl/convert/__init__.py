"""``python -m hsl.convert``: an original checkpoint file to a diffusers folder in safetensors."""

from typing import TYPE_CHECKING

from hsl.lazy import lazily

if TYPE_CHECKING:
    from hsl.backbones import Unstated
    from hsl.convert.command import main
    from hsl.convert.conversion import convert, verify
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Unstated": "hsl.backbones",
            "convert": "hsl.convert.conversion",
            "main": "hsl.convert.command",
            "verify": "hsl.convert.conversion",
        },
    )

__all__ = ["Unstated", "convert", "main", "verify"]
