"""Linear methods: semantic boundaries of many attributes from one pass over the images.

Every image is inverted once; x_t and h are kept at some timesteps; a solver on their Gram matrix
gives one hyperplane an attribute, timestep and space (Zhu et al. 2023 with linear SVMs; mean
differences and ridge regression as in Haas et al. 2024 and the GAN literature).
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from hsl.backbones import Tap
from hsl.data.toyfaces.captions import TEMPLATES, TEXTS
from hsl.directions import Boundary, Space
from hsl.encoders.clip import Clip
from hsl.errors import HslError
from hsl.losses import DirectionalClipLoss
from hsl.methods.base import Method
from hsl.methods.features import Blocks, Sample
from hsl.process import Edit, invert
from hsl.solvers import SVM, Figures, Solution, Solver, combine, figures, gram
from hsl.store import Record, key_of
from hsl.types import Batch


class Linear(Method):
    """Fits the boundaries of attributes, and crosses them in one step at the mixing step.

    ``fit`` needs one epoch. Labels come from the data, or, with ``texts``, from the guide CLIP.

    Args:
        solver: on the Gram matrix; see `hsl.solvers`.
        attributes: which of the data's; None: all. With ``texts``: their keys.
        texts: name -> (source, target) texts; an image counts as having the attribute if it is
            among the ``certain`` share that is closest to the target, rather than the source, in
            CLIP, as not having it if among the share that is furthest, and else as unlabelled.
            ``toyfaces``: the bundled texts of ``attributes``.
        certain: see ``texts``; in (0, 0.5].
        clip: for ``texts``.
        timesteps: where hyperplanes are fitted, rounded to steps of the inversion; None: ten,
            evenly spread.
        t: the mixing step, one of them; None: the `Mixing` callback chooses.
        spaces: ``x`` (the latent, z in the papers) and ``h``.
        unit: what a strength of 1 is: ``gap``, in each space the distance of the class means along
            the normal; ``distance``, a distance of 1 in both, as in the paper.
        t_0: last timestep of the inversion; None: the schedule's last. The paper's code inverts to
            the mixing step itself: ``t_0=500`` with ``timesteps=[500]``.
        backbone, steps, t_boost, refine, cache, seed, tap: see `Method`. ``cache`` is needed by
            several ranks, which read each other's features there.

    Raises:
        HslError: unknown names, a t that is no timestep, a judge as guide.
    """

    def __init__(
        self,
        solver: Solver | None = None,
        attributes: list[str] | None = None,
        texts: dict[str, tuple[str, str]] | Literal["toyfaces"] | None = None,
        certain: float = 0.3,
        clip: str = "toyfaces/guide",
        timesteps: list[int] | None = None,
        t: int | None = None,
        spaces: list[Space] | None = None,
        unit: Literal["gap", "distance"] = "gap",
        t_0: int | None = None,
        backbone: str = "toyfaces",
        steps: int = 40,
        t_boost: int = 0,
        refine: int = 1,
        cache: str | None = None,
        seed: int = 0,
        tap: Tap = "after",
    ) -> None:
        super().__init__(backbone, steps, 0, None, t_boost, "symmetric", refine, cache, seed, tap)
        self.automatic_optimization = False
        self.solver = SVM() if solver is None else solver
        if t_0 is not None:
            self.grid = self.backbone.schedule.grid(steps, t_0=t_0)
        wanted = self.grid[3::4] if timesteps is None else timesteps
        if not wanted:
            raise HslError("timesteps: name at least one")
        self.timesteps = sorted({min(self.grid[1:], key=lambda g: abs(g - w)) for w in wanted})
        self.t = None if t is None else min(self.timesteps, key=lambda g: abs(g - int(t)))
        self.spaces: list[Space] = ["x", "h"] if spaces is None else spaces
        if not self.spaces or not set(self.spaces) <= {"x", "h"}:
            raise HslError(f"spaces {self.spaces}: want x, h or both")
        self.unit, self.wanted = unit, attributes
        self.texts = _texts(texts, attributes)
        self.certain = certain
        if self.texts and not 0 < certain <= 0.5:
            raise HslError(f"certain={certain}: want a share in (0, 0.5]")
        guide = Clip.load(clip) if self.texts else None
        self.clip = guide
        self.readers = {
            name: DirectionalClipLoss(guide, *pair, TEMPLATES)
            for name, pair in self.texts.items()
            if guide is not None
        }
        self.data_hash: str | None = None
        self.samples: list[Sample] = []
        self.figures: dict[tuple[Space, int], Figures] = {}

    def configure_optimizers(self) -> None:
        """There is nothing to optimise: the fit is a closed form."""

    def on_fit_start(self) -> None:
        """Make the directions, so that a distributed run sees their parameters."""
        if self.trainer.world_size > 1 and self.store.folder is None:
            raise HslError("several ranks need a folder for the features: give cache FOLDER")
        self.begin(self.trainer.datamodule)  # type: ignore[attr-defined]

    def begin(self, data: Any) -> None:
        """Blank boundaries of the attributes to fit on ``data``, a data module with ``names``."""
        for name in self.names(data):
            self.directions[name] = self._blank()
        self.directions.to(self.device)

    def names(self, data: Any) -> list[str]:
        """The attributes to fit.

        Raises:
            HslError: the data has no such labels.
        """
        known = list(self.texts) if self.texts else list(data.names)
        names = known if self.wanted is None else self.wanted
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise HslError(f"no labels for {', '.join(unknown) or 'anything'} in these data; "
                           f"there are: {', '.join(known) or 'none'}")  # fmt: skip
        return names

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Invert a batch, and keep its features and labels."""
        self.samples += self.collect(batch, self.trainer.datamodule)  # type: ignore[attr-defined]

    def on_train_epoch_end(self) -> None:
        """Fit all attributes at all timesteps in all spaces."""
        self.fit_boundaries(self.everyones(self.samples))
        self.samples = []

    # Features

    @torch.no_grad()
    def collect(self, batch: Batch, data: Any) -> list[Sample]:
        """Features of a batch of ``data`` into the store; what else is needed of it, back."""
        keys = [
            key_of("linear", self.backbone.hash, self.grid, self.refine, self.timesteps, image)
            for image in batch.image
        ]
        self.store.many(keys, lambda rows: self._features(batch.image[rows]))
        names = self.names(data)
        if self.texts:  # scores, which `labels` turns into labels when all are there
            readers = [self.readers[name].to(batch.image.device) for name in names]
            columns = [r.features(batch.image) @ torch.as_tensor(r.direction) for r in readers]
            labels = torch.stack(columns, dim=1)
        else:
            known = batch.labels[:, [list(data.names).index(name) for name in names]]
            labels = torch.where(known.isnan(), 0, 2 * known - 1)
        rows = zip(batch.index.tolist(), labels.cpu(), keys, strict=True)
        return [Sample(*row) for row in rows]

    def _features(self, images: Tensor) -> list[Record]:
        """x_t, and h at x_t, of images ``[B, 3, S, S]`` at each timestep."""
        rows: list[Record] = [{} for _ in images]
        for step in invert(self.backbone, self.backbone.x_0(images), self.grid, self.refine):
            if step.t_next not in self.timesteps:
                continue
            h = self.backbone.encode(step.x_next, step.t_next).h
            for row, x, bottleneck in zip(rows, step.x_next, h, strict=True):
                row[f"x.{step.t_next}"], row[f"h.{step.t_next}"] = x.cpu(), bottleneck.cpu()
            if step.t_next == self.timesteps[-1]:
                break
        return rows

    def everyones(self, samples: list[Sample]) -> list[Sample]:
        """The samples of all ranks, each image once, by rising index.

        Raises:
            HslError: there is none.
        """
        gathered: list[Any] = [samples]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, samples)
        unique = {sample.index: sample for part in gathered for sample in part}
        if not unique:
            raise HslError("no images: is the data set empty?")
        return [unique[index] for index in sorted(unique)]

    def blocks(self, samples: list[Sample], space: Space, t: int) -> Blocks:
        """The features of samples, in their order."""
        return Blocks(self.store, [s.key for s in samples], f"{space}.{t}", self.device)

    def labels(self, samples: list[Sample]) -> Tensor:
        """Labels ``[N, A]`` in {+1, -1, 0}; by text, those of the most certain images."""
        labels = torch.stack([s.labels for s in samples]).double()
        if not self.texts:
            return labels
        low, high = labels.quantile(torch.tensor([self.certain, 1 - self.certain]).double(), dim=0)
        return (labels >= high).double() - (labels <= low).double()

    # The fit

    @torch.no_grad()
    def fit_boundaries(self, samples: list[Sample]) -> None:
        """Fill the directions from features in the store, one Gram matrix a space and timestep."""
        labels, names = self.labels(samples), list(self.directions)
        self.data_hash = key_of([sample.key for sample in samples], labels)
        for space in self.spaces:
            for row, t in enumerate(self.timesteps):
                features = self.blocks(samples, space, t)
                products = gram(features)
                solution = self.solver(products, labels.to(products.device), names=names)
                raw = combine(features, solution.coefficients)
                for a, name in enumerate(names):
                    self._fill(name, space, row, raw[a], solution, products, labels, a)

    def _fill(
        self, name: str, space: Space, row: int, normal: Tensor, solution: Solution,
        products: Tensor, labels: Tensor, a: int,
    ) -> None:  # fmt: skip
        """One attribute's unit normal, bias and scale at one timestep."""
        boundary = self.directions[name]
        assert isinstance(boundary, Boundary)
        norm = float(normal.norm())
        boundary.normals[space].data[row] = (normal / norm).to(boundary.normals[space])
        boundary.biases[space].data[row] = float(solution.intercept[a]) / norm
        along = (products @ solution.coefficients[a] / norm).cpu()
        gap = along[labels[:, a] > 0].mean() - along[labels[:, a] < 0].mean()
        boundary.scales[space].data[row] = float(gap) if self.unit == "gap" else 1.0

    def _blank(self) -> Boundary:
        n, size = len(self.timesteps), int(self.backbone.unet.config.sample_size)
        shapes = {"x": (self.backbone.channels, size, size), "h": self.backbone.h_shape}
        x, h = (torch.zeros(n, *shapes[s]) if s in self.spaces else None for s in ("x", "h"))
        return Boundary(x, h, self.timesteps, self.t)

    # How good they are

    @torch.no_grad()
    def held_out(self, samples: list[Sample]) -> dict[tuple[Space, int], Figures]:
        """Accuracy, balanced accuracy and AUC of the boundaries on other images, with intervals, by
        space and timestep."""
        labels = self.labels(samples)
        found: dict[tuple[Space, int], Figures] = {}
        for space in self.spaces:
            for t in self.timesteps:
                parts = []
                for block in self.blocks(samples, space, t):
                    distances = [b.distance(block, space, t) for b in self._boundaries()]
                    parts.append(torch.stack(distances, dim=1).cpu())
                found[space, t] = figures(torch.cat(parts).double(), labels)
        return found

    def _boundaries(self) -> Iterator[Boundary]:
        for boundary in self.directions.values():
            assert isinstance(boundary, Boundary)
            yield boundary

    def on_validation_epoch_start(self) -> None:
        """Begin anew."""
        self.samples = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep a batch's features and labels."""
        self.samples += self.collect(batch, self.trainer.datamodule)  # type: ignore[attr-defined]

    def on_validation_epoch_end(self) -> None:
        """Measure the boundaries; the `Mixing` callback prints the table."""
        self.figures = self.held_out(self.everyones(self.samples))
        self.samples = []

    # Edits

    def mix_at(self, t: int) -> None:
        """Take ``t`` for the mixing step: latents are inverted up to it, and edited there."""
        self.t = t
        self.grid = [g for g in self.grid if g <= t]
        for boundary in self._boundaries():
            boundary.t = t

    def edit(self, name: str, strength: float | Tensor | None = None) -> Edit:
        """One step across the boundary of ``name``.

        Raises:
            HslError: no such direction, or no mixing step yet.
        """
        if self.t is None:
            raise HslError("no mixing step: give t, or use the Mixing callback")
        if self.grid[-1] != self.t:
            self.mix_at(self.t)
        edit = super().edit(name, strength)
        return Edit(edit.direction, edit.strength, self.t, self.t_boost or 0, self.t, "symmetric")

    def about(self, name: str) -> dict[str, Any]:
        """As of every method, and how the boundary was found."""
        about = super().about(name) | {
            "method": f"linear/{type(self.solver).__name__}",
            "unit": self.unit,
            "data_hash": self.data_hash,
            "t_edit": self.t,
            "t_start": self.t,
            "t_0": self.t,
            "accuracy": {
                f"{space}.{t}": round(
                    float(f.balanced_accuracy[list(self.directions).index(name)]), 4
                )
                for (space, t), f in self.figures.items()
            },
        }
        about.pop("steps")  # one step, whatever their number
        return about


def _texts(
    texts: dict[str, tuple[str, str]] | Literal["toyfaces"] | None, attributes: list[str] | None
) -> dict[str, tuple[str, str]]:
    """Texts by attribute; none without ``texts``.

    Raises:
        HslError: the bundled texts do not know an attribute.
    """
    if texts is None:
        return {}
    if texts != "toyfaces":
        return {name: (pair[0], pair[1]) for name, pair in texts.items()}
    names = list(TEXTS) if attributes is None else attributes
    unknown = [name for name in names if name not in TEXTS]
    if unknown:
        raise HslError(f"no texts for {', '.join(unknown)}: give source and target")
    return {name: TEXTS[name] for name in names}
