"""What all methods share: a frozen backbone, named directions, and how they edit images."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypedDict

import lightning as L
import torch
from torch import Tensor, nn

from hsl.backbones import PLAIN, Backbone, Speed, Tap
from hsl.bundled import BUNDLED
from hsl.directions import Direction, provenance
from hsl.errors import HslError
from hsl.methods.kept import Kept
from hsl.methods.surroundings import brought, require_strategy
from hsl.names import meant
from hsl.options.checks import refinements, require
from hsl.process import SHARES, Edit, Injection, SeededNoise, last, reverse
from hsl.schema import LAST_T, optional, timestep, whole
from hsl.types import Batch


class MethodOptions(TypedDict, total=False):
    """What every method takes, by name; see `Method`."""

    backbone: str | Backbone
    tap: Tap
    speed: Speed
    refine: int
    cache: str | None
    seed: int


class ProcessOptions(MethodOptions, total=False):
    """As well, of methods whose edits act along an interval of the process."""

    steps: int
    invert_steps: int | None
    t_edit: int | None
    t_boost: int | None
    injection: Injection


class Method(Kept):
    """Finds directions in the h-space of a frozen backbone and edits images with them.

    Args:
        backbone: a name, folder, file or Hub id for `hsl.backbones.load`, or a loaded backbone.
        tap: where h is read and edited: before, in the middle of, or after the middle block. A
            loaded backbone's is its own.
        steps: n of the reverse process. Directions of a checkpoint that was fitted in others are
            added in proportion less or more (n_train / n_test; Kwon et al.'s released code).
        t_edit: edited steps are t >= t_edit; None: the `Intervals` callback finds it.
        t_start: edited steps are t <= t_start; None: all from T are.
        t_boost: steps with t < t_boost are stochastic; None: the `Intervals` callback finds it.
        injection: how this method's directions are put in (see `Edit`).
        refine: fixed-point iterations of each inversion step; 0 is the papers' inversion.
        cache: folder for what is computed once per image; None: in memory.
        seed: of the noise below t_boost.
        speed: how the backbone computes (`Speed`): in bfloat16, compiled, ...
        invert_steps: n of the inversion, to the same T; None: as ``steps``.

    Raises:
        HslError: the backbone cannot be loaded, or not compiled, was loaded with another tap, too
            many steps, or another number out of range.
    """

    #: Images of each split that are drawn for this method, unless the data are told how many.
    faces: ClassVar[dict[str, int]] = {"train": 96, "validation": 64, "test": 64}
    #: Epochs that a fit takes, unless the trainer is told how many.
    epochs: ClassVar[int] = 7
    #: The attribute that is edited, if it is one alone: data that are drawn then have validation
    #: and test images that lack it. (For several, such images are picked where they are measured.)
    attribute: str | None = None

    #: The callbacks around the method, in the order in which they work on each other's results.
    surroundings: ClassVar[Sequence[type[L.Callback]]] = ()
    #: Whether it brings those of them that a trainer has not; the trainer's own come in that order.
    brings_callbacks: bool = True

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Let the command line find the defaults of ``**options: Unpack[...]``: jsonargparse takes
        them from the base's signature only where the ``**`` has no type."""
        super().__init_subclass__(**arguments)
        vars(cls).get("__init__", cls).__annotations__.pop("options", None)

    def __init__(
        self,
        backbone: str | Backbone = BUNDLED.backbone,
        *,
        steps: int = 40,
        t_edit: int | None = None,
        t_start: int | None = None,
        t_boost: int | None = None,
        injection: Injection = "asymmetric",
        refine: int = 1,
        cache: str | None = None,
        seed: int = 0,
        tap: Tap = "after",
        speed: Speed = PLAIN,
        invert_steps: int | None = None,
    ) -> None:
        require(
            "model",
            steps=(steps, whole(2, LAST_T)),
            invert_steps=(invert_steps, optional(whole(2, LAST_T))),
            t_edit=(t_edit, optional(timestep)),
            t_start=(t_start, optional(timestep)),
            t_boost=(t_boost, optional(timestep)),
            refine=(refine, refinements),
            seed=(seed, whole()),
        )
        if t_edit is not None and t_start is not None and t_edit > t_start:
            raise HslError(f"model: t_edit {t_edit} is above t_start {t_start}: nothing to edit")
        super().__init__(backbone, steps, invert_steps, refine, cache, tap, speed)
        self.strict_loading = False  # checkpoints hold directions alone
        #: Steps of the fit that the directions come from, if it was another.
        self.trained_in: int | None = None
        self.t_edit, self.t_start, self.t_boost = t_edit, t_start, t_boost
        self.injection, self.seed = injection, seed
        self.directions = nn.ModuleDict()
        self.strengths: dict[str, float] = {}
        #: By `fingerprint`, what a network did for the edits: none of these may measure them.
        self.guides: dict[str, str] = {}
        #: Found by the `Intervals` callback for each direction where ``t_edit`` is not given.
        self.t_edits: dict[str, int] = {}

    def configure_callbacks(self) -> list[L.Callback]:
        """What surrounds a run: see `surroundings`.

        Raises:
            HslError: the trainer would split the method up.
        """
        require_strategy(self.trainer)
        return brought(self.trainer, self.surroundings, self.brings_callbacks)

    def cosine_of(self, name: str) -> float:
        """Cosine of the texts that the edit ``name`` goes between; 1 for methods without texts."""
        return 1.0

    def texts_of(self, name: str) -> tuple[str, str] | None:
        """The source and target texts of the edit ``name``, if the method has any."""
        return None

    def t_edit_of(self, name: str) -> int | None:
        """t_edit of direction ``name``: the one given for all, else the one found for it."""
        return self.t_edits.get(name) if self.t_edit is None else self.t_edit

    def direction(self, name: str) -> Direction:
        """The direction of this name.

        Raises:
            HslError: there is none.
        """
        if name not in self.directions:
            names = ", ".join(self.directions) or "none"
            raise HslError(f"no direction {name!r}; there are: {names}"
                           f"{meant(name, self.directions)}")  # fmt: skip
        direction = self.directions[name]
        assert isinstance(direction, Direction)
        return direction

    def edit(self, name: str, strength: float | Tensor | None = None) -> Edit:
        """The edit along direction ``name``; strength None is the chosen one (1 if none was).

        Raises:
            HslError: no such direction, or t_edit and t_boost are not known yet.
        """
        direction, t_edit = self.direction(name), self.t_edit_of(name)
        if t_edit is None or self.t_boost is None:
            raise HslError("t_edit and t_boost are not set: give both, or use Intervals")
        strength = self.strengths.get(name, 1.0) if strength is None else strength
        factor = strength * self.step_factor
        return Edit(direction, factor, t_edit, self.t_boost, self.t_start, self.injection)

    @property
    def step_factor(self) -> float:
        """What a strength is multiplied by: n_train / n_test, unless it is itself a share."""
        if self.injection in SHARES:
            return 1.0
        return (self.trained_in or len(self.grid)) / len(self.grid)

    def about(self, name: str) -> dict[str, Any]:
        """What the file of direction ``name`` says of it, as JSON values."""
        return provenance(self.backbone) | {
            "name": name,
            "strength": self.strengths.get(name, 1.0),
            "injection": self.injection,
            "steps": self.trained_in or len(self.grid),
            "t_edit": self.t_edit_of(name),
            "t_start": self.t_start,
            "t_boost": self.t_boost,
        }

    @torch.no_grad()
    def edit_images(self, images: Tensor, index: Tensor, edit: Edit | None = None) -> Tensor:
        """Invert images, edit them, and return images in [-1, 1]; without an edit, reconstruct.

        A reconstruction takes the deterministic process throughout, and is cached. Per-image
        strengths and ``index [B]`` (which seeds each image's noise) go along with the images.
        """
        if edit is None:
            x = self.rebuilt(images)
        else:
            noise = SeededNoise(index, self.seed)
            x = last(reverse(self.backbone, self.x_T(images), self.grid, edit, noise=noise))
        return self.backbone.image(x).clamp(-1, 1)

    def sweep(self, images: Tensor, index: Tensor, name: str, strengths: list[float]) -> Tensor:
        """Several strengths of one edit, as one batch: ``[len(strengths), B, 3, S, S]``."""
        n = len(strengths)
        per_image = torch.tensor(strengths, device=images.device).repeat_interleave(len(images))
        edit = self.edit(name, per_image)
        out = self.edit_images(images.repeat(n, 1, 1, 1), index.repeat(n), edit)
        return out.view(n, *images.shape)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, dict[str, Tensor]]:
        """Edit a batch along every direction; the `Evaluate` callback measures the result."""
        return {
            name: {"edited": self.edit_images(batch.image, batch.index, self.edit(name))}
            for name in self.directions
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, dict[str, Tensor]] | None:
        """Edit a batch as in a test; the `Strength` callback measures the result by its guide."""
        return self.test_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Compute what a fit needs once for each image, into the cache.

        Raises:
            HslError: there is no folder to cache it in.
        """
        if self.store.folder is None:
            raise HslError("predict fills the cache: give --model.init_args.cache FOLDER")
        self.precompute(batch.image)

    def precompute(self, images: Tensor) -> None:
        """Put into the cache what a fit needs of images ``[B, 3, S, S]``: here x_T."""
        self.x_T(images)

    def prepare(self, images: Tensor) -> None:
        """Put into the cache what a training step keeps of images ``[B, 3, S, S]``: a resumed run
        calls this with the batches of its first epoch, so that it has the same records."""

    def try_optimizer(self, epochs: int | None) -> None:
        """Try the optimiser that a user may have chosen for a fit of ``epochs`` epochs, so that
        values that it refuses are noticed before any work. A closed form has nothing to try.

        Raises:
            HslError: it refuses its values.
        """

    def on_train_start(self) -> None:
        """The directions are trained in this many steps from now on."""
        self.trained_in = None
