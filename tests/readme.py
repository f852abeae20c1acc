"""The README's Python, as its tests run it."""

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def quick(code: str) -> str:
    """A block that trains, for one epoch on few faces; any other as it is."""
    if "Trainer" not in code:
        return code
    small = code.replace("DataModule()", "DataModule(train=8, validation=8, test=8)")
    small = small.replace("max_epochs=7", "max_epochs=1, enable_progress_bar=False")
    assert small.count("train=8") == small.count("max_epochs=1") == 1
    return small
