"""CelebA and CelebA-HQ with their 40 attributes (Liu et al. 2015; Karras et al. 2018; Lee et al.
2020, CelebAMask-HQ)."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hsl.data.files import Found, image_files
from hsl.data.folder import FolderSource, on_hub
from hsl.data.hub import open_hub
from hsl.data.items import SPLITS, Split
from hsl.data.labels import Labels, table, text_of
from hsl.data.module import SourceDataModule
from hsl.data.selection import Source
from hsl.errors import HslError

#: The columns of both attribute files.
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair",
    "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair",
    "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
#: Attribute file -> folder of images, as the two data sets are released.
LAYOUTS = {
    "CelebAMask-HQ-attribute-anno.txt": "CelebA-HQ-img",
    "list_attr_celeba.txt": "img_align_celeba",
}
MAPPING, PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
#: The last CelebA image of each split, in the order of `SPLITS`, as list_eval_partition.txt has it.
LAST = (162_770, 182_637, 202_599)


def read_attributes(path: Path) -> Labels:
    """An attribute file of CelebA or CelebAMask-HQ.

    It may begin with the number of images and with the names of the attributes, or lack either
    line: each is told by what is in it, so no label is ever taken from another line.

    Raises:
        HslError: no such file; names that are not the 40 of CelebA in their order; a number of
            images that is not that of the rows; a row without 40 values; values other than 1 and
            -1 (or 0); an image that occurs twice.
    """
    lines = [words for line in text_of(path).splitlines() if (words := line.split())]
    counted = lines and len(lines[0]) == 1 and lines[0][0].isdecimal()
    count = int(lines.pop(0)[0]) if counted else None
    if lines and not set(lines[0][1:]) <= {"1", "-1", "0"}:
        names = tuple(lines.pop(0))
        if names != ATTRIBUTES:
            wrong = [n for n, own in zip(names, ATTRIBUTES, strict=False) if n != own]
            which = wrong[0] if wrong else f"{len(names)} of them"
            raise HslError(f"{path}: not the 40 names of CelebA in their order (see {which})")
    if not lines:
        raise HslError(f"{path}: has no row for any image")
    if count not in (None, len(lines)):
        raise HslError(f"{path}: says {count} images and has rows for {len(lines)}: is it whole?")
    return table(path, ATTRIBUTES, [(words[0], words[1:]) for words in lines])


class CelebADataModule(SourceDataModule):
    """CelebA-HQ or CelebA with the 40 attributes as labels and the official splits.

    Args:
        source: a folder as CelebAMask-HQ or CelebA is released (`LAYOUTS`), or a data set of the
            Hub with a column for each attribute. CelebA-HQ's splits are those of CelebA, which
            ``CelebA-HQ-to-CelebA-mapping.txt`` in the folder leads to; without that file its
            images are split by hash.
        streaming: of a Hub data set, fetch only the images that are asked for.
        common: as of `SourceDataModule`.

    Raises:
        HslError: as `SourceDataModule` and `read_attributes`; an image without attributes.
    """

    names = ATTRIBUTES

    def __init__(self, source: str, streaming: bool = False, **common: Any) -> None:
        super().__init__(**common)
        self.source, self.streaming = source, streaming
        if streaming:
            self.require_counts()

    def open(self) -> Source:
        """A released folder where there is one, else the Hub."""
        folder = Path(self.source).expanduser()
        for name, images in LAYOUTS.items():
            if (folder / name).is_file():
                return self._released(folder, name, folder / images)
        if not on_hub(self.source):
            raise HslError(f"{folder}: has none of {', '.join(LAYOUTS)}")
        given = self.split == "given"
        return open_hub(self.source, labels=ATTRIBUTES, given=given, streaming=self.streaming)

    def _released(self, folder: Path, attributes: str, images: Path) -> Source:
        if not images.is_dir():
            raise HslError(f"{images}: no such folder; {attributes} is about its images")
        found = image_files(images)
        labels = read_attributes(folder / attributes)
        values = labels.of([file.name for file in found])
        splits: Sequence[Split | None] = [None] * len(found)
        if self.split == "given":
            splits = official_splits(folder, found)
        return FolderSource([folder], found, splits, labels.names, values)


def official_splits(folder: Path, found: Sequence[Found]) -> list[Split | None]:
    """The split that CelebA has each image in; all None for CelebA-HQ without its mapping.

    ``list_eval_partition.txt`` in the folder is followed where it is; what it says of the released
    data is known without it.

    Raises:
        HslError: a file that cannot be understood, or an image that it does not know.
    """
    stems = [PurePosixPath(file.name).stem for file in found]
    if (folder / MAPPING).is_file():
        lines = _words(folder / MAPPING, 3)[1:]  # idx orig_idx orig_file; orig_idx counts from 0
        originals = {words[0]: PurePosixPath(words[2]).stem for words in lines}
    elif (folder / next(iter(LAYOUTS))).is_file():
        return [None] * len(found)
    else:
        originals = {stem: stem for stem in stems}
    known: dict[str, int] = {}
    if (folder / PARTITION).is_file():
        lines = _words(folder / PARTITION, 2)
        known = {PurePosixPath(name).stem: int(place) for name, place in lines if place in "012"}
    splits: list[Split | None] = []
    for stem in stems:
        original = originals.get(stem, "")
        if known and original in known:
            splits.append(SPLITS[known[original]])
        elif not known and original.isdecimal() and 1 <= int(original) <= LAST[-1]:
            splits.append(next(s for s, n in zip(SPLITS, LAST, strict=True) if int(original) <= n))
        else:
            raise HslError(f"{folder}: nothing says which split image {stem} is in: set split=hash")
    return splits


def _words(path: Path, n: int) -> list[list[str]]:
    lines = [words for line in text_of(path).splitlines() if (words := line.split())]
    if not lines or any(len(words) != n for words in lines):
        raise HslError(f"{path}: want lines of {n} words")
    return lines
