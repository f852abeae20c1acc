"""The command ``hsl train``: LightningCLI over methods and data, and its run folders. From Python:
`fit` and `evaluate`."""

from typing import TYPE_CHECKING

from hsl.lazy import lazily

if TYPE_CHECKING:
    from hsl.train.fitting import evaluate, fit
    from hsl.train.front import main
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "evaluate": "hsl.train.fitting",
            "fit": "hsl.train.fitting",
            "main": "hsl.train.front",
        },
    )

__all__ = ["evaluate", "fit", "main"]
