"""Linear methods: semantic boundaries of many attributes from one pass over the images.

Every image is inverted once; x_t and h are kept at some timesteps; a solver on their Gram matrix
gives one hyperplane an attribute, timestep and space (Zhu et al. 2023 with linear SVMs; mean
differences and ridge regression as in Haas et al. 2024 and the GAN literature).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, Unpack

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from hsl import ranks
from hsl.bundled import BUNDLED
from hsl.callbacks import Directions, Evaluate, Grids, Mixing, Sampled, Strength
from hsl.data.texts import bundled_templates, texts_of
from hsl.directions import Boundary, Space, build
from hsl.encoders.clip import Clip
from hsl.encoders.roles import fingerprint
from hsl.errors import HslError
from hsl.losses import DirectionalClipLoss
from hsl.methods.base import MethodOptions, require_suited
from hsl.methods.checkpoint import about_of
from hsl.methods.features import Blocks, Sample
from hsl.methods.mixed import Mixed
from hsl.names import meant
from hsl.process import Edit, invert
from hsl.solvers import SVM, Figures, Solution, Solver, combine, figures, gram
from hsl.store import Record, key_of
from hsl.types import Batch

SPACES: tuple[Space, ...] = ("x", "h")


class Linear(Mixed):
    """Fits the boundaries of attributes, and crosses them in one step at the mixing step.

    ``fit`` needs one epoch. Labels come from the data, or, with ``texts``, from the guide CLIP.

    Args:
        solver: on the Gram matrix; see `hsl.solvers`.
        attributes: which of the data's; None: all that some images have and some have not. With
            ``texts``: of their keys.
        texts: name -> (source, target) texts; an image counts as having the attribute if it is
            among the ``certain`` share that is closest to the target, rather than the source, in
            CLIP, as not having it if among the share that is furthest, and else as unlabelled.
            Or a data set of `hsl.data.texts`: its texts of ``attributes``.
        certain: see ``texts``; in (0, 0.5].
        clip: for ``texts``.
        timesteps: where hyperplanes are fitted, rounded to steps of the inversion; None: ten,
            evenly spread.
        t: the mixing step, rounded alike, and one of them; None: the `Mixing` callback chooses.
        spaces: ``x`` (the latent, z in the papers) and ``h``.
        leave_one_out: also measure each attribute on the images of the fit, each by the fit without
            it, from the Gram matrix alone. Of hard problems with SVMs this takes minutes.
        unit: what a strength of 1 is: ``gap``, in each space the distance of the class means along
            the normal; ``distance``, a distance of 1 in both, as in the paper.
        t_0: last timestep of the inversion; None: the schedule's last. The paper's code inverts to
            the mixing step itself: ``t_0=500`` with ``timesteps=[500]``.
        steps: see `Method`.
        t_boost: see `Method`.
        options: see `Method`. ``cache`` is needed by several ranks, which read each other's
            features there.

    Raises:
        HslError: unknown names, timesteps outside the schedule, a judge as guide.
    """

    surroundings = (Sampled, Mixing, Strength, Directions, Evaluate, Grids)
    epochs = 1
    faces: ClassVar[dict[str, int]] = {"train": 1000, "validation": 300, "test": 64}

    def __init__(
        self,
        solver: Solver | None = None,
        *,
        attributes: list[str] | None = None,
        texts: dict[str, tuple[str, str]] | str | None = None,
        certain: float = 0.3,
        clip: str = BUNDLED.guide,
        timesteps: list[int] | None = None,
        t: int | None = None,
        spaces: list[Space] | None = None,
        leave_one_out: bool = False,
        unit: Literal["gap", "distance"] = "gap",
        t_0: int | None = None,
        steps: int = 40,
        t_boost: int = 0,
        **options: Unpack[MethodOptions],
    ) -> None:
        super().__init__(
            steps=steps, t_edit=0, t_start=None, t_boost=t_boost, injection="symmetric",
            invert_steps=None, **options,
        )  # fmt: skip
        self.automatic_optimization = False
        self.solver = SVM() if solver is None else solver
        if t_0 is not None:
            try:
                self.grid = self.backbone.schedule.grid(steps, t_0=t_0)
            except ValueError as error:
                raise HslError(f"t_0, steps: {error}") from error
        #: Of the features; `mix_at` cuts ``grid``, that of the edits, down to the mixing step.
        self.inversion = self.grid
        wanted = self.grid[3::4] if timesteps is None else timesteps
        self.t: int | None = None if t is None else self._rounded(t)
        self.timesteps = sorted({self._rounded(w) for w in [*wanted, *([] if t is None else [t])]})
        if not self.timesteps:
            raise HslError("timesteps: name at least one")
        self.spaces = list(SPACES) if spaces is None else spaces
        if not self.spaces or not set(self.spaces) <= set(SPACES):
            raise HslError(f"spaces {self.spaces}: want x, h or both")
        self.unit, self.wanted = unit, attributes
        self.texts = texts_of(texts, attributes)
        self.certain = certain
        if self.texts and not 0 < certain <= 0.5:
            raise HslError(f"certain={certain}: want a share in (0, 0.5]")
        guide = Clip.load(clip, resize=True) if self.texts else None
        self.clip, self.clip_name = guide, clip
        if guide is not None:
            self.guides[fingerprint(guide)] = f"{clip} labelled the images"
        self.readers = {
            name: DirectionalClipLoss(guide, *pair, bundled_templates())
            for name, pair in self.texts.items()
            if guide is not None
        }
        self.labelled: list[str] = []  # what the columns of the samples' labels are
        self.data_hash: str | None = None
        self.samples: list[Sample] = []
        self.others: list[Sample] = []
        self.leave_one_out = leave_one_out
        self.figures: dict[tuple[Space, int], Figures] = {}
        self.left_out: dict[tuple[Space, int], Figures] = {}

    def _rounded(self, t: int) -> int:
        """The step of the inversion that is nearest to ``t``."""
        if not 0 < t < len(self.backbone.schedule):
            raise HslError(f"t={t}: want a timestep in [1, {len(self.backbone.schedule) - 1}]")
        return min(self.inversion[1:], key=lambda step: abs(step - t))

    def configure_optimizers(self) -> None:
        """There is nothing to optimise: the fit is a closed form."""

    def setup(self, stage: str) -> None:
        """Make the directions, before a distributed run looks for trainable parameters.

        Raises:
            HslError: several ranks without a cache, no data module, or as `names`.
        """
        if stage in ("fit", "validate"):
            if self.trainer.world_size > 1 and self.store.folder is None:
                raise HslError("several ranks need a folder for the features: give cache FOLDER")
            if self._data is None:
                raise HslError("give the trainer a data module")
            if self.clip is not None:
                require_suited(self.clip, self.clip_name, self.trainer)
            if stage == "fit":
                self.begin(self._data)

    @property
    def _data(self) -> Any:
        return getattr(self.trainer, "datamodule", None)

    def begin(self, data: Any) -> None:
        """Blank boundaries of the attributes to fit on ``data``, a data module with ``names``."""
        blank = nn.ModuleDict({name: self._blank() for name in self.names(data)})
        self.directions = blank.to(self.device)

    def names(self, data: Any) -> list[str]:
        """The attributes to fit.

        Raises:
            HslError: the data has no such labels, or torch no place for the name.
        """
        known = list(self.texts) if self.texts else list(data.names)
        names = known if self.wanted is None else list(dict.fromkeys(self.wanted))
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise HslError(f"no labels for {', '.join(unknown) or 'anything'} in these data; "
                           f"there are: {', '.join(known) or 'none'}"
                           f"{''.join(meant(name, known) for name in unknown[:1])}")  # fmt: skip
        for name in names:
            if not name or hasattr(nn.ModuleDict(), name) or set(name) & set("./"):
                raise HslError(f"{name!r} cannot be the name of a direction: rename the attribute")
        return names

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Invert a batch, and keep its features and labels."""
        self.samples += self.collect(batch, self._data)

    def on_train_epoch_end(self) -> None:
        """Fit all attributes at all timesteps in all spaces."""
        self.fit_boundaries(self.everyones(self.samples))
        self.samples = []

    # Features

    @torch.no_grad()
    def collect(self, batch: Batch, data: Any) -> list[Sample]:
        """Features of a batch of ``data`` into the store; what else is needed of it, back."""
        keys, names = self._keep(batch.image), self.names(data)
        self.labelled = names
        if self.texts:  # scores, which `labels` turns into labels when all are there
            readers = [self.readers[name].to(batch.image.device) for name in names]
            columns = [r.features(batch.image) @ torch.as_tensor(r.direction) for r in readers]
            labels = torch.stack(columns, dim=1)
        else:
            known = batch.labels[:, [list(data.names).index(name) for name in names]]
            labels = torch.where(known.isnan(), 0, 2 * known - 1)
        rows = zip(batch.index.tolist(), labels.cpu(), keys, strict=True)
        return [Sample(*row) for row in rows]

    def _keep(self, images: Tensor) -> list[str]:
        """Features of images ``[B, 3, S, S]`` into the store; their keys."""
        made_by = ("linear", self.backbone.key, self.inversion, self.refine, self.timesteps)
        keys = [key_of(*made_by, image) for image in images]
        about = self.record_about("features")
        shapes = {"x": self.backbone.x_shape, "h": self.backbone.h_shape}
        wanted = {f"{space}.{t}": shape for space, shape in shapes.items() for t in self.timesteps}
        self.store.ensure(keys, lambda rows: self._features(images[rows]), about, wanted)
        return keys

    def _features(self, images: Tensor) -> list[Record]:
        """x_t, and h at x_t, of images ``[B, 3, S, S]`` at each timestep."""
        rows: list[Record] = [{} for _ in images]
        for step in invert(self.backbone, self.backbone.x_0(images), self.inversion, self.refine):
            if step.t_next not in self.timesteps:
                continue
            h = self.backbone.encode(step.x_next, step.t_next).h
            for row, x, bottleneck in zip(rows, step.x_next.cpu(), h.cpu(), strict=True):
                row[f"x.{step.t_next}"], row[f"h.{step.t_next}"] = x, bottleneck
            if step.t_next == self.timesteps[-1]:
                break
        return rows

    def everyones(self, samples: list[Sample]) -> list[Sample]:
        """The samples of all ranks, each image once, by rising index.

        Raises:
            HslError: there is none.
        """
        unique = {sample.index: sample for part in ranks.everyones(samples) for sample in part}
        if not unique:
            raise HslError("no images: is the data set empty?")
        return [unique[index] for index in sorted(unique)]

    def blocks(self, samples: list[Sample], space: Space, t: int) -> Blocks:
        """The features of samples, in their order."""
        # the solvers take float64, which Metal lacks
        device = torch.device("cpu") if self.device.type == "mps" else self.device
        return Blocks(self.store, [s.key for s in samples], f"{space}.{t}", device)

    def labels(self, samples: list[Sample]) -> Tensor:
        """Labels ``[N, A]`` in {+1, -1, 0} of the directions' attributes; by text, those of the
        most certain images."""
        columns = [self.labelled.index(name) for name in self.directions]
        labels = torch.stack([s.labels for s in samples]).double()[:, columns]
        if not self.texts:
            return labels
        low, high = labels.quantile(torch.tensor([self.certain, 1 - self.certain]).double(), dim=0)
        return (labels >= high).double() - (labels <= low).double()

    # The fit

    @torch.no_grad()
    def fit_boundaries(self, samples: list[Sample]) -> None:
        """Fill the directions from features in the store, one Gram matrix a space and timestep; the
        ranks share those out."""
        self._leave_out(self.labels(samples))
        labels = self.labels(samples)
        self.data_hash = key_of([sample.key for sample in samples], labels)
        for parameter in self.directions.parameters():
            parameter.data.zero_()  # what another rank fits is added to it
        places = [(space, t) for space in self.spaces for t in self.timesteps]
        left_out = ranks.shared(places, lambda place: self._fit_at(samples, labels, *place))
        ranks.add_up(self.directions.parameters())
        self.left_out = {place: found for place, found in left_out.items() if found is not None}

    def _fit_at(
        self, samples: list[Sample], labels: Tensor, space: Space, t: int
    ) -> Figures | None:
        """Fill the hyperplanes of all attributes in one space at one timestep; figures by leaving
        one image out, where they are wanted."""
        features, names = self.blocks(samples, space, t), list(self.directions)
        products = gram(features)
        solution = self.solver(products, labels.to(products.device), names=names)
        raw = combine(features, solution.coefficients)
        for a, name in enumerate(names):
            row = self.timesteps.index(t)
            self._fill(name, space, row, raw[a], solution, products, labels, a)
        if not self.leave_one_out:
            return None
        scores = self.solver.leave_one_out(products, labels.to(products), names=names)
        known = torch.where(scores.isnan(), 0, labels.to(scores))
        return figures(scores, known)

    def _leave_out(self, labels: Tensor) -> None:
        """Drop attributes that no image, or every image, has, unless they were asked for."""
        if self.wanted is not None:
            return
        alike = ~((labels > 0).any(0) & (labels < 0).any(0))
        names = [name for name, bad in zip(self.directions, alike.tolist(), strict=True) if bad]
        if names and len(names) < len(self.directions):
            rank_zero_warn(f"without a boundary, all images being alike: {', '.join(names)}")
            for name in names:
                del self.directions[name]

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
        n, shapes = len(self.timesteps), {"x": self.backbone.x_shape, "h": self.backbone.h_shape}
        x, h = (torch.zeros(n, *shapes[s]) if s in self.spaces else None for s in ("x", "h"))
        return Boundary(x, h, self.timesteps, self.t)

    # How good they are

    def measure(self, batches: Iterable[Batch], data: Any) -> None:
        """Put the figures of the boundaries on other images, in batches, into ``figures``."""
        samples = [sample for batch in batches for sample in self.collect(batch, data)]
        self.figures = self.held_out(self.everyones(samples))

    @torch.no_grad()
    def held_out(self, samples: list[Sample]) -> dict[tuple[Space, int], Figures]:
        """Accuracy, balanced accuracy and AUC of the boundaries on other images, with intervals, by
        space and timestep."""
        labels = self.labels(samples)

        def measured(place: tuple[Space, int]) -> Figures:
            parts = []
            for block in self.blocks(samples, *place):
                distances = [b.distance(block, *place) for b in self._boundaries()]
                parts.append(torch.stack(distances, dim=1).cpu())
            return figures(torch.cat(parts).double(), labels)

        places = [(space, t) for space in self.spaces for t in self.timesteps]
        return ranks.shared(places, measured)

    def _boundaries(self) -> Iterator[Boundary]:
        for boundary in self.directions.values():
            assert isinstance(boundary, Boundary)
            yield boundary

    def on_validation_epoch_start(self) -> None:
        """Begin anew."""
        self.others = []

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, dict[str, Tensor]] | None:
        """Keep a batch's features and labels; edit it where there is a mixing step. (Within a fit
        the boundaries are still blank.)"""
        self.others += self.collect(batch, self._data)
        if self.t is None or self.trainer.state.fn != TrainerFn.VALIDATING:
            return None
        return self.test_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Measure the boundaries; the `Mixing` callback prints the table. (Within a fit, before
        there are any, it has them measured at the end.)"""
        if self.trainer.state.fn == TrainerFn.VALIDATING:
            self.figures = self.held_out(self.everyones(self.others))
        self.others = []

    def on_validation_start(self) -> None:
        """Look for boundaries before anything is computed."""
        self._require_boundaries()

    def on_test_start(self) -> None:
        """Look for boundaries before anything is computed."""
        self._require_boundaries()

    def _require_boundaries(self) -> None:
        if not self.directions:
            raise HslError("there are no boundaries yet: fit, or give --ckpt_path CHECKPOINT")

    # Edits

    def mix_at(self, t: int) -> None:
        """Take ``t`` for the mixing step: latents are inverted up to it, and edited there.

        Raises:
            HslError: no hyperplanes were fitted there.
        """
        if t not in self.timesteps:
            raise HslError(f"no hyperplane at t={t}; there are {self.timesteps}")
        self.t = t
        self.grid = [g for g in self.inversion if g <= t]
        for boundary in self._boundaries():
            boundary.t = t

    def precompute(self, images: Tensor) -> None:
        """Put the features of images ``[B, 3, S, S]`` into the cache."""
        self._keep(images)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As of every method, and what the boundaries were fitted on."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["hsl"] |= {
            "grid": self.inversion,
            "t": self.t,
            "data_hash": self.data_hash,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make boundaries to take up those of the checkpoint, with the grid and timesteps that they
        were fitted on and, unless one is given, their mixing step.

        Raises:
            HslError: as of every method; another method's checkpoint, or no hyperplanes at t.
        """
        super().on_load_checkpoint(checkpoint)
        configs = checkpoint["hsl"].get("directions", {})
        if not configs or any(config["kind"] != Boundary.kind for config in configs.values()):
            raise HslError("this checkpoint holds no boundaries: give one of a linear method")
        about = about_of(checkpoint, ["grid", "t", "data_hash"])
        made = {name: build(config) for name, config in configs.items()}
        self.directions = nn.ModuleDict(made).to(self.device)
        self.wanted, self.data_hash = list(made), about["data_hash"]
        first = next(self._boundaries())
        self.inversion, self.timesteps = about["grid"], first.timesteps
        self.spaces = [space for space in SPACES if space in first.normals]
        self.t = about["t"] if self.t is None else self.t
        if self.t is not None:
            self.mix_at(self.t)

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

    @property
    def step_factor(self) -> float:
        """A boundary is crossed once, in however many steps."""
        return 1.0

    def about(self, name: str) -> dict[str, Any]:
        """As of every method, and how the boundary was found."""
        column = list(self.directions).index(name)
        about = super().about(name) | {
            "method": f"linear/{type(self.solver).__name__}",
            "unit": self.unit,
            "data_hash": self.data_hash,
            "t_edit": self.t,
            "t_start": self.t,
            "t_0": self.t,
            "accuracy": {
                f"{space}.{t}": round(figure, 4)
                for (space, t), found in self.figures.items()
                if not math.isnan(figure := float(found.balanced_accuracy[column]))
            },
        }
        about.pop("steps")  # one step, whatever their number
        return about
