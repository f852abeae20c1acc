"""Files as a user gives them and as hsl writes them. Tensors in them: `hsl.files.tensors`."""

from hsl.files.reading import open_regular, read_bytes, read_text, require_file
from hsl.files.writing import (
    advice,
    expanded,
    replacing,
    require_writable,
    require_writable_folder,
    saying,
)

__all__ = [
    "advice",
    "expanded",
    "open_regular",
    "read_bytes",
    "read_text",
    "replacing",
    "require_file",
    "require_writable",
    "require_writable_folder",
    "saying",
]
