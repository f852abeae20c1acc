"""What all data modules of real images share: selection, transforms, labels, skipped files."""

import os
from collections.abc import Iterable, Sequence, Sized
from dataclasses import replace
from typing import Any, Literal

import torch

from hsl.data.align import aligned, inspect_face
from hsl.data.decoding import decode
from hsl.data.index import Index, Row, inspect, readable
from hsl.data.items import SPLITS, DataModule, ImageSet, Item, Split, check_split
from hsl.data.selection import Selection, Source, report, select
from hsl.data.stream import Stream, select_once
from hsl.data.transforms import Fit, Resampling, Transform
from hsl.errors import HslError
from hsl.options.checks import count_or_none, require
from hsl.progress import track
from hsl.schema import optional

_MANY = 1000  # images that take long enough for a progress bar
_WORKERS = 4  # more decode faster than any backbone inverts


class Images(ImageSet):
    """Images of one split, read and decoded when they are asked for.

    Args:
        rows: what is known of each.
        source: what reads them.
        transform: what squares them.
        align: find the face first.
    """

    def __init__(
        self, rows: Sequence[Row], source: Source, transform: Transform, align: bool = False
    ) -> None:
        self.rows, self.source, self.transform, self.align = list(rows), source, transform, align
        self.numbers = [row.number for row in rows]
        self.paths = {row.number: row.path for row in rows}
        labels = [row.labels for row in rows]
        self.labels = torch.tensor(labels).reshape(len(rows), len(source.names))

    def __getitem__(self, i: int) -> Item:
        row = self.rows[i]
        try:
            content = self.source.read(row.key)
        except OSError as error:
            reason = readable(error, row.path).removeprefix(f"{row.path}: cannot be read ")
            raise HslError(f"{row.path}: cannot be read any more {reason}") from error
        image = decode(content, row.path)
        if self.align:
            image = aligned(image, row.path)
        return Item(self.transform(image, row.number), self.labels[i], row.number, row.path)


class SourceDataModule(DataModule):
    """Images of a source, split and labelled as it says.

    An image's index is its place in the source, whatever is selected, skipped or asked for, so
    noise seeded with it is the image's own. Broken images are left out and listed, or refused.

    Args:
        size: height and width in pixels; None: the backbone's or, without one, 256.
        fit, resampling, box: how images become squares, see `Transform`.
        align: find the face in each image and turn, scale and cut as FFHQ does; images without a
            face count as broken. Needs ``pip install "hspace[align]"``.
        train, validation, test: at most so many images of each split, the first; None: all.
        where: for each split, labels its images must have: ``{"test": {"Smiling": 0}}``.
        split: ``given``: as the source says; what it lacks is taken from its training images by
            hash. ``hash``: 80% train, 10% validation, 10% test by a hash of each file's content,
            so that an image stays where it is when others are added, and copies go with it.
        strict: refuse a broken image instead of leaving it out.
        batch_size: images in a batch.
        num_workers: worker processes of each loader; None: 4, or the number of cores if smaller.
        seed: of the order of the training images, and of random crops.
        domain: what the images are of, for guides and judges that are for such images alone:
            the word that messages about such a network say.

    Raises:
        HslError: an option that does not fit. When the images are first asked for: no such
            source, a broken image with ``strict``, one with too many pixels, an unknown label,
            or a split that is left empty.
    """

    def __init__(
        self,
        size: int | None = None,
        fit: Fit = "crop",
        resampling: Resampling = "lanczos",
        box: list[int] | None = None,
        align: bool = False,
        train: int | None = 100,
        validation: int | None = 16,
        test: int | None = 64,
        where: dict[str, dict[str, int]] | None = None,
        split: Literal["given", "hash"] = "given",
        strict: bool = False,
        batch_size: int = 1,
        num_workers: int | None = None,
        seed: int = 0,
        domain: str | None = None,
    ) -> None:
        workers = min(_WORKERS, os.cpu_count() or 1) if num_workers is None else num_workers
        super().__init__(batch_size, workers, seed, size)
        self.align, self.strict, self.split = align, strict, split
        self.domain = domain
        self.transform = Transform(self.size, fit, resampling, seed, tuple(box) if box else None)
        self.counts: dict[Split, int | None] = dict(
            zip(SPLITS, (train, validation, test), strict=True)
        )
        require("data", **{k: (v, optional(count_or_none)) for k, v in self.counts.items()})
        self.where = {check_split(name): labels for name, labels in (where or {}).items()}
        #: Whether a split may be left empty: to look at few images, not to train on them.
        self.may_lack = False
        self._found: Selection | None = None
        self._sets: dict[Split, Images] = {}

    def open(self) -> Source:
        """Where the images come from."""
        raise NotImplementedError

    def require_counts(self) -> None:
        """Refuse to go through all that a stream has.

        Raises:
            HslError: a split is to have all images.
        """
        if None in self.counts.values():
            raise HslError("streaming fetches single images: say how many for each split")

    def forget(self) -> None:
        """Make squares of another size; what was selected stays."""
        self.transform = replace(self.transform, size=self.size)
        for images in self._sets.values():
            images.transform = self.transform

    def prepare_data(self) -> None:
        """Look at the images on one process of each machine; the others then find what it found
        in the cache."""
        super().prepare_data()
        self.sets()

    def setup(self, stage: str) -> None:
        """Select the images, before anything is computed."""
        super().setup(stage)
        self.sets()

    def sets(self) -> dict[Split, Images]:
        """The images of each split, found when they are first asked for."""
        if self._found is None:
            source = self.open()
            if isinstance(source, Stream):
                options: list[Any] = [self.counts, self.where, self.align, self.strict]
                options += ["may lack"] if self.may_lack else []
                selection, source = select_once(source, options, self._select)
            else:
                selection = self._select(source)
            report(selection)
            self._found, self.names = selection, source.names
            self._sets = {
                split: Images(rows, source, self.transform, self.align)
                for split, rows in selection.rows.items()
            }
        return self._sets

    def _select(self, source: Source) -> Selection:
        look = inspect_face if self.align else inspect
        index = Index(*source.identity, look.__name__, look=look)
        return select(source, self.counts, self.where, index, self.strict, self.may_lack, _progress)

    @property
    def found(self) -> Selection:
        """What was selected, skipped and found twice."""
        self.sets()
        assert self._found is not None
        return self._found

    def dataset(self, split: Split) -> Images:
        """The images of a split."""
        return self.sets()[split]


def _progress(rows: Iterable[Row]) -> Iterable[Row]:
    """A bar where it takes a while."""
    total = len(rows) if isinstance(rows, Sized) else None
    if total is not None and total < _MANY:
        return rows
    return track(rows, "looking at images", total)
