"""Linear methods: semantic boundaries of many attributes from one pass over the images.

Every image is inverted once; x_t and h are kept at some timesteps; a solver on their Gram matrix
gives one hyperplane an attribute, timestep and space (Zhu et al. 2023 with linear SVMs; mean
differences and ridge regression as in Haas et al. 2024 and the GAN literature).
"""

import math
from typing import Any, ClassVar, Literal, Unpack

import torch
from torch import Tensor, nn

from hsl import ranks
from hsl.bundled import BUNDLED
from hsl.callbacks import Directions, Evaluate, Grids, Mixing, Sampled, Strength
from hsl.data.texts import bundled_templates, texts_of
from hsl.directions import Boundary, Space
from hsl.encoders.clip import Clip
from hsl.encoders.roles import fingerprint
from hsl.errors import HslError
from hsl.losses import DirectionalClipLoss
from hsl.methods.base import MethodOptions
from hsl.methods.crossing import SPACES, Crossing
from hsl.methods.features import Sample
from hsl.methods.surroundings import require_suited
from hsl.solvers import SVM, Figures, Solution, Solver, combine, figures, gram
from hsl.store import key_of
from hsl.types import Batch


class Linear(Crossing):
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
        self._take_steps(steps, t_0, timesteps, t)
        self.spaces = list(SPACES) if spaces is None else spaces
        if not self.spaces or not set(self.spaces) <= set(SPACES):
            raise HslError(f"spaces {self.spaces}: want x, h or both")
        self.unit, self.wanted = unit, attributes
        self._label_by(texts_of(texts, attributes), certain, clip)
        self.labelled: list[str] = []  # what the columns of the samples' labels are
        self.data_hash: str | None = None
        self.samples: list[Sample] = []
        self.others: list[Sample] = []
        self.leave_one_out = leave_one_out
        self.figures: dict[tuple[Space, int], Figures] = {}
        self.left_out: dict[tuple[Space, int], Figures] = {}

    def _take_steps(
        self, steps: int, t_0: int | None, timesteps: list[int] | None, t: int | None
    ) -> None:
        """Set the inversion, the mixing step, and the timesteps at which hyperplanes are fitted."""
        if t_0 is not None:
            try:
                self.grid = self.backbone.schedule.grid(steps, t_0=t_0)
            except ValueError as error:
                raise HslError(f"t_0, steps: {error}") from error
        #: Of the features; `mix_at` cuts ``grid``, that of the edits, down to the mixing step.
        self.inversion = self.grid
        places = self.grid[3::4] if timesteps is None else timesteps
        self.t: int | None = None if t is None else self._rounded(t)
        self.timesteps = sorted({self._rounded(w) for w in [*places, *([] if t is None else [t])]})
        if not self.timesteps:
            raise HslError("timesteps: name at least one")

    def _label_by(self, texts: dict[str, tuple[str, str]], certain: float, clip: str) -> None:
        """Take the texts that label the images, if there are any, and load the CLIP for them."""
        self.texts, self.certain = texts, certain
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
            if self.data is None:
                raise HslError("give the trainer a data module")
            if self.clip is not None:
                require_suited(self.clip, self.clip_name, self.trainer)
            if stage == "fit":
                self.begin(self.data)

    def begin(self, data: Any) -> None:
        """Blank boundaries of the attributes to fit on ``data``, a data module with ``names``."""
        blank = nn.ModuleDict({name: self._blank() for name in self.names(data)})
        self.directions = blank.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Invert a batch, and keep its features and labels."""
        self.samples += self.collect(batch, self.data)

    def on_train_epoch_end(self) -> None:
        """Fit all attributes at all timesteps in all spaces."""
        self.fit_boundaries(self.everyones(self.samples))
        self.samples = []

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
        self.left_out = {place: its for place, its in left_out.items() if its is not None}

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
        scored = torch.where(scores.isnan(), 0, labels.to(scores))
        return figures(scores, scored)

    def _leave_out(self, labels: Tensor) -> None:
        """Drop attributes that no image, or every image, has, unless they were asked for."""
        if self.wanted is not None:
            return
        alike = ~((labels > 0).any(0) & (labels < 0).any(0))
        names = [name for name, bad in zip(self.directions, alike.tolist(), strict=True) if bad]
        if names and len(names) < len(self.directions):
            ranks.warn(f"without a boundary, all images being alike: {', '.join(names)}")
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
                for (space, t), measured in self.figures.items()
                if not math.isnan(figure := float(measured.balanced_accuracy[column]))
            },
        }
        about.pop("steps")  # one step, whatever their number
        return about
