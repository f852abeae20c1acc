"""ToyFaces as a data set, and as the data module that is hsl's default."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hsl.data.items import SPLITS, DataModule, ImageSet, Item, Order, Split, check_split
from hsl.data.toyfaces.factors import (
    ATTRIBUTES,
    COLUMN,
    WORLDS,
    Factors,
    counterfactual,
    labels,
    sample,
)
from hsl.data.toyfaces.renderer import render
from hsl.errors import HslError
from hsl.names import meant
from hsl.options.checks import count_or_none, require
from hsl.types import attribute_and_value

_RENDERED_AT_ONCE = 64  # keeps the renderer's working memory in the processor's cache
_SEARCHED_AT_ONCE = 4096
#: What is taken where neither the user nor a method says how many, and which.
_USUAL: dict[str, Any] = {"train": 96, "validation": 64, "test": 64, "where": {}}
_SEARCHED = 400_000  # the rarest face worth asking for; a search of this many takes one second


class ToyFaces(ImageSet):
    """The first ``n`` faces of a world, or the first ``n`` that have the labels asked for.

    Args:
        world: a key of `WORLDS`, or the seed of a world of one's own.
        n: number of faces.
        size: height and width in pixels.
        unseen: let the two attributes that the bundled diffusion model never saw occur.
        where: labels that every face must have, e.g. ``{"Smiling": 0}``.

    Raises:
        HslError: an unknown world or attribute, a value other than 0 and 1, ``n`` or ``size``
            below 1, or labels that no face has.
    """

    def __init__(
        self,
        world: str | int = "train",
        n: int = 96,
        size: int = 32,
        unseen: bool = False,
        where: Mapping[str, int] | None = None,
    ) -> None:
        if n < 1 or size < 1:
            raise HslError(f"ToyFaces: n={n}, size={size}: both must be at least 1")
        self.world, self.size, self.unseen = world, size, unseen
        #: Each face's index in its world, ``[N]`` int64.
        self.index = _first(n, world_seed(world), unseen, dict(where or {}))
        #: The numbers that the faces are drawn from.
        self.factors: Factors = sample(self.index, world_seed(world), unseen)
        #: ``[N, 22]`` float in {0, 1}, columns `ATTRIBUTES`.
        self.labels = labels(self.factors)
        self._images: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """All images, ``[N, 3, S, S]`` float in [-1, 1]; drawn when first asked for."""
        if self._images is None:
            self._images = _draw(self.factors, self.size)
        return self._images

    def __getitem__(self, i: int) -> Item:
        index = int(self.index[i])
        return Item(self.images[i], self.labels[i], index, f"toyfaces/{self.world}/{index}")


class Replayed(Order):
    """The order of one generator that draws epoch after epoch, as shipped figures had it."""

    def order(self) -> list[int]:
        """The positions of all images in this epoch."""
        generator, n = torch.Generator().manual_seed(self.seed), len(self.dataset)  # type: ignore[arg-type]
        for _ in range(self.epoch + 1):
            torch.empty((), dtype=torch.int64).random_(generator=generator)  # a loader's own draw
            order = torch.randperm(n, generator=generator)
        return order.tolist()


class ToyFacesDataModule(DataModule):
    """ToyFaces for training, validation and test, each from a world of its own.

    Batches are `hsl.types.Batch`. Nothing depends on batch size, workers or ranks but the order
    in which the training faces come. ``predict`` goes through all three splits, in this order;
    an index is unique within a split, a path is unique.

    Args:
        size: height and width in pixels; None: the backbone's or, without one, 32.
        train, validation, test: number of faces; None: what the trainer's method asks for
            (`hsl.methods.base.Method.faces`) or, without one, 96, 64 and 64.
        batch_size: faces in a batch.
        num_workers: worker processes of each loader.
        unseen: let the attributes that the bundled diffusion model never saw occur.
        where: for each split, labels its faces must have: ``{"test": {"Smiling": 0}}``; None: with
            a method that edits one attribute, validation and test faces lack it.
        seed: seed of the order of the training faces.

    Raises:
        HslError: a number out of range; ``where`` names no split, or as `ToyFaces`.
    """

    #: The columns of ``Batch.labels``.
    names: tuple[str, ...] = ATTRIBUTES
    counterfactuals = ATTRIBUTES
    domain = "toyfaces"
    order = Replayed
    usual_size = 32

    def __init__(
        self,
        size: int | None = None,
        train: int | None = None,
        validation: int | None = None,
        test: int | None = None,
        batch_size: int = 16,
        num_workers: int = 0,
        unseen: bool = False,
        where: dict[str, dict[str, int]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed, size)
        self.unseen = unseen
        self._asked: dict[str, Any] = {
            "train": train, "validation": validation, "test": test, "where": where
        }  # fmt: skip
        self._faces: dict[str, ToyFaces] = {}
        self.counts: dict[Split, int] = {}
        self.where: dict[str, dict[str, int]] = {}
        self.follow({})
        require("data", **{split: (n, count_or_none) for split, n in self.counts.items()})
        for split in self.where:
            check_split(split)

    @classmethod
    def options_for(cls, images: Mapping[str, int], attribute: str | None) -> dict[str, Any]:
        """As many faces as are asked for; those to validate and test on lack the attribute. (A name
        of the user's own, with texts, says no label.)"""
        options: dict[str, Any] = dict(images)
        target, value = attribute_and_value(attribute or "")
        if target in ATTRIBUTES:
            lacking = {target: 1 - value}
            options["where"] = {"validation": lacking, "test": lacking}
        return options

    def follow(self, options: Mapping[str, Any]) -> None:
        """Take these where nothing else was asked for."""
        asked = {name: value for name, value in self._asked.items() if value is not None}
        values = {**_USUAL, **options, **asked}
        counts, where = {split: values[split] for split in SPLITS}, dict(values["where"])
        if (counts, where) != (self.counts, self.where):
            self.counts, self.where = counts, where
            self.forget()

    def forget(self) -> None:
        """Draw all faces anew."""
        self._faces = {}

    def faces(self, split: str) -> ToyFaces:
        """The data set of ``train``, ``validation`` or ``test``."""
        name = check_split(split)
        if name not in self._faces:
            self._faces[name] = ToyFaces(
                name, self.counts[name], self.size, self.unseen, self.where.get(name)
            )
        return self._faces[name]

    def dataset(self, split: Split) -> ToyFaces:
        """The faces of a split."""
        return self.faces(split)

    def counterfactual(
        self, indices: Tensor | Sequence[int], split: str, **attributes: int
    ) -> Tensor:
        """The truth that an edit aims at: the faces ``indices`` (``batch.index``) of a split,
        ``[B, 3, S, S]`` in [-1, 1] on the CPU, drawn again with ``attributes`` set to 0 or 1.

        Without attributes these are the faces themselves.

        Raises:
            HslError: an unknown split or attribute, or a value other than 0 and 1.
        """
        rows = torch.as_tensor(indices, dtype=torch.long).cpu()
        factors = sample(rows, WORLDS[check_split(split)], self.unseen)
        _check_labels(attributes)
        return _draw(counterfactual(factors, **attributes), self.size)


def world_seed(world: str | int) -> int:
    """The seed of a world.

    Raises:
        HslError: an unknown world.
    """
    if isinstance(world, int):
        return world
    if world not in WORLDS:
        raise HslError(f"world {world!r}: want a seed or one of {', '.join(WORLDS)}")
    return WORLDS[world]


def _first(n: int, seed: int, unseen: bool, where: dict[str, int]) -> Tensor:
    """Indices of the first ``n`` faces with the labels ``where``, ``[n]``."""
    if not where:
        return torch.arange(n)
    _check_labels(where)
    columns = [COLUMN[name] for name in where]
    values = torch.tensor([float(value) for value in where.values()])
    matches: list[Tensor] = []
    for start in range(0, max(_SEARCHED, 100 * n), _SEARCHED_AT_ONCE):
        indices = torch.arange(start, start + _SEARCHED_AT_ONCE)
        have = labels(sample(indices, seed, unseen))[:, columns]
        matches.append(indices[(have == values).all(1)])
        if sum(map(len, matches)) >= n:
            return torch.cat(matches)[:n]
    there = sum(map(len, matches))
    raise HslError(f"where={where}: ToyFaces has {there} such faces, not {n}; ask for fewer labels")


def _draw(factors: Factors, size: int) -> Tensor:
    """Render in pieces, ``[N, 3, size, size]``."""
    starts = range(0, len(factors.attributes), _RENDERED_AT_ONCE)
    return torch.cat([render(_slice(factors, start), size) for start in starts])


def _slice(factors: Factors, start: int) -> Factors:
    rows = slice(start, start + _RENDERED_AT_ONCE)
    return Factors(factors.attributes[rows], factors.nuisances[rows])


def _check_labels(attributes: Mapping[str, int]) -> None:
    for name, value in attributes.items():
        if name not in COLUMN or value not in (0, 1):
            known = ", ".join(ATTRIBUTES)
            raise HslError(f"{name}={value}: want 0 or 1 for one of {known}"
                           f"{'' if name in COLUMN else meant(name, ATTRIBUTES)}")  # fmt: skip
