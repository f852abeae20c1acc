"""Where the rows of a data set may have their images: within the row, or in a file of the set."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import fsspec
from huggingface_hub import constants

from hsl.errors import HslError
from hsl.files import expanded

_LONGEST = 200  # letters of a path in a message


class Origin:
    """A data set, as far as its rows may name files: those of its own folder, or of its own part
    of the Hub and of the Hub's cache, and no others, wherever they come from.

    Args:
        name: a Hub id, or a folder.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        folder = expanded(name)
        self.folder = folder.absolute() if folder.exists() else None
        if self.folder is not None:
            self.roots = [self.folder, self.folder.resolve()]
        else:
            cache = Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
            unpacked = Path(datasets.config.HF_DATASETS_CACHE) / "downloads"
            self.roots = [root.absolute() for root in (cache, unpacked)]

    def content(self, image: Mapping[str, Any] | None, row: str) -> bytes:
        """The file of an image; nothing where there is none.

        Args:
            image: ``bytes`` and ``path``, as the library has them.
            row: what messages call it.

        Raises:
            HslError: it is a URL, or a file outside the data set.
            OSError: its file is not there, or cannot be read.
        """
        if image is None or (image.get("bytes") is None and not image.get("path")):
            return b""
        if image.get("bytes") is not None:
            return bytes(image["bytes"])
        path = str(image["path"])
        if "://" in path or "::" in path:
            hub = f"hf://datasets/{self.name}"
            if self.folder is None and path.rpartition("::")[2].startswith((f"{hub}@", f"{hub}/")):
                with fsspec.open(path, "rb") as file:
                    return bytes(file.read())
            raise self._outside(path, row)
        return self._within(path, row).read_bytes()

    def _within(self, path: str, row: str) -> Path:
        """A file of the data set, whose links lead where they do."""
        if "\0" in path:
            raise self._outside(path, row)
        for root in self.roots:
            file = Path(os.path.normpath(root / path))
            if file.is_relative_to(root):
                if file.is_file():
                    return file
                break
        else:
            raise self._outside(path, row)
        raise FileNotFoundError(errno.ENOENT, f"the data set has no file {path[:_LONGEST]}")

    def _outside(self, path: str, row: str) -> HslError:
        return HslError(
            f"{row}: its image is {path[:_LONGEST]!r}, which is no file of the data set; what rows "
            "name elsewhere is not read: put the images into the data set"
        )
