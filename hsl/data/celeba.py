"""CelebA and CelebA-HQ with their 40 attributes (Liu et al. 2015; Karras et al. 2018; Lee et al.
2020, CelebAMask-HQ)."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hsl.data.files import ImageFile, image_files
from hsl.data.folder import FolderSource, on_hub
from hsl.data.items import SPLITS, Split
from hsl.data.labels import Labels
from hsl.data.module import SourceDataModule
from hsl.data.selection import Source
from hsl.data.tables import read_csv, table, text_of, words_of
from hsl.errors import HslError
from hsl.files import expanded

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
_CELEBA = ("img_align_celeba", "img_align_celeba_png")
#: Attribute file -> folders of images, the first that is there, as the two data sets are released,
#: and as Kaggle has CelebA. CelebA's own release has the files in Anno and Eval, the images in Img.
LAYOUTS = {
    "CelebAMask-HQ-attribute-anno.txt": ("CelebA-HQ-img",),
    "list_attr_celeba.txt": _CELEBA,
    "list_attr_celeba.csv": _CELEBA,
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
    lines = words_of(path)
    counted = lines and len(lines[0]) == 1 and lines[0][0].isdecimal()
    count = int(lines.pop(0)[0]) if counted else None
    if lines and not set(lines[0][1:]) <= {"1", "-1", "0"}:
        names = tuple(lines.pop(0))
        if names != ATTRIBUTES:
            wrong = [n for n, expected in zip(names, ATTRIBUTES, strict=False) if n != expected]
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
        folder = expanded(self.source)
        for name, images in LAYOUTS.items():
            if (attributes := _lying(folder, name)) is not None:
                return self._released(folder, attributes, images)
        if not on_hub(self.source):
            raise HslError(f"{folder}: has none of {', '.join(LAYOUTS)}, nor has its folder Anno")
        given = self.split == "given"
        from hsl.data.hub import open_hub  # slow to import, and only needed here

        return open_hub(self.source, labels=ATTRIBUTES, given=given, streaming=self.streaming)

    def _released(self, folder: Path, attributes: Path, names: tuple[str, ...]) -> Source:
        places = [folder / above / name for name in names for above in ("", "Img")]
        images = next((place for place in places if place.is_dir()), None)
        if images is None:
            raise HslError(f"{places[0]}: no such folder; {attributes.name} is about its images: "
                           f"unpack {names[0]}.zip")  # fmt: skip
        files, unread = image_files(images)
        read = read_csv if attributes.suffix == ".csv" else read_attributes
        labels = read(attributes)
        if labels.names != ATTRIBUTES:
            raise HslError(f"{attributes}: not the 40 names of CelebA in their order")
        values = labels.of([file.name for file in files])
        splits: Sequence[Split | None] = [None] * len(files)
        if self.split == "given":
            splits = official_splits(folder, files)
        return FolderSource([folder], files, splits, labels.names, values, unread)


def _lying(folder: Path, name: str) -> Path | None:
    """Where a file of a release lies: in the folder itself, or where CelebA's release has it; None:
    nowhere."""
    places = ("", "Anno", "Eval")
    return next((p for place in places if (p := folder / place / name).is_file()), None)


def official_splits(folder: Path, files: Sequence[ImageFile]) -> list[Split | None]:
    """The split that CelebA has each image in; all None for CelebA-HQ without its mapping.

    ``list_eval_partition.txt`` in the folder is followed where it is; what it says of the released
    data is known without it.

    Raises:
        HslError: a file that cannot be understood, or an image that it does not know.
    """
    stems = [PurePosixPath(file.name).stem for file in files]
    if (folder / MAPPING).is_file():
        lines = _words(folder / MAPPING, 3)[1:]  # idx orig_idx orig_file; orig_idx counts from 0
        originals = {words[0]: PurePosixPath(words[2]).stem for words in lines}
    elif (folder / next(iter(LAYOUTS))).is_file():
        return [None] * len(files)
    else:
        originals = {stem: stem for stem in stems}
    known: dict[str, int] = {}
    for name in (PARTITION, f"{Path(PARTITION).stem}.csv"):
        if (path := _lying(folder, name)) is not None and not known:
            lines = _words(path, 2, "," if path.suffix == ".csv" else None)
            known = {PurePosixPath(n).stem: "012".index(k) for n, k in lines if k in set("012")}
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


def _words(path: Path, n: int, separator: str | None = None) -> list[list[str]]:
    lines = [line.split(separator) for line in text_of(path).splitlines() if line.strip()]
    if not lines or any(len(words) != n for words in lines):
        raise HslError(f"{path}: want lines of {n} words")
    return lines
