"""Asyrp: an implicit function f_t in h-space, trained with directional CLIP loss and L1.

Kwon, Jeong and Uh, "Diffusion Models Already Have a Semantic Latent Space", ICLR 2023.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Unpack

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler

from hsl.bundled import BUNDLED
from hsl.callbacks import Directions, Evaluate, Grids, Intervals, Sampled, Strength
from hsl.data.texts import sources_and_targets
from hsl.directions import Direction
from hsl.encoders.roles import fingerprint, require_guide
from hsl.errors import HslError
from hsl.losses import BatchMean, identity_loss, log_directional
from hsl.methods.base import ProcessOptions
from hsl.methods.guided import Guided, names_of
from hsl.methods.kinds import Kind, implicit, tensors
from hsl.methods.trajectories import Trajectory, unedited
from hsl.options.checks import not_negative, require
from hsl.process import Edit, Step, eps_of, reverse
from hsl.types import Batch


def adam(parameters: object) -> Optimizer:
    """Adam at 6e-4: found on bundled validation faces. The paper's is SGD at 0.5."""
    return torch.optim.Adam(parameters, lr=6e-4)  # type: ignore[arg-type]


def decay(optimizer: Optimizer, epochs: int = 7) -> LRScheduler:
    """A learning rate that falls to a tenth in as many epochs as the trainer has. The released
    checkpoints' is StepLR(20, 0.9)."""
    return LinearLR(optimizer, 1.0, 0.1, total_iters=epochs)


class Asyrp(Guided):
    """Trains a direction for each attribute, f_t by default, one optimiser step per edited
    timestep. Several attributes share what depends on the image alone (its inversion, its unedited
    trajectory, its CLIP features), and come out as if each had been trained alone.

    The loss at timestep t is ``clip_weight * -log((2 - L_dir) / 2) + l1_weight * cosine * L1``:
    L_dir between each image and its own edited P_t, L1 between the edited and the unedited
    trajectory's P_t (facts in the paper's eq. 6 and appendix; the cosine as released).

    Args:
        attribute: the name of the direction, or names; and of the texts used by default: the
            bundled ones (with ``Not_`` before it what takes it away) or, by its name in Asyrp's
            released code, one of hsl/assets/texts.yaml.
        source: text of what is there, one for each attribute; None: the attribute's.
        target: text of what is wanted; the same.
        templates: sentences with one ``{}``; ``imagenet``: the 80 that CLIP was published with;
            None: the bundled ones.
        clip: a guide for `Clip.load`.
        antialias: of its resizing; the released code had none.
        clip_weight: of the directional loss.
        l1_weight: of L1, before the cosine.
        identity: an embedding of images in [-1, 1], such as of faces, with ``role = "guide"``; 1
            minus the cosine of those of the edited and of the unedited P_t, times ``id_weight``,
            is added to the loss.
        id_weight: see ``identity``.
        optimizer: of the direction's parameters.
        lr: its learning rate; None: the optimiser's own, which of the default is 6e-4.
        lr_scheduler: stepped once per epoch.
        direction: ``implicit``: f_t; ``shift``: a tensor delta h_t for each timestep; ``global``:
            one delta h for all; ``eps``: a tensor for each timestep that is added to eps instead,
            the paper's comparison. (The released code never adds the tensors that it trains, so
            that they stay as they are; see `Edit`.)
        family: of f_t's layers, see `ImplicitFunction`; None: the backbone's.
        zero_init: start from delta h = 0. Else, as released: f_t from PyTorch's defaults, tensors
            from a normal distribution of standard deviation 0.2.
        ignore_timesteps: f_t does not see the timestep.
        as_released: a batch's images are compared with the last one's source, and shrunk without
            antialiasing; see `DirectionalClipLoss`. The rest of the released training has options
            of its own: ``refine`` 0, ``zero_init`` false, ``t_start`` none, and the optimiser.
        t_start: None edits from T, as the paper does; the default leaves to the bundled
            backbone what is decided before the parts of a face are.
        options: those of every method: see `Method`.

    Raises:
        HslError: unknown or repeated names, as many texts as there are not attributes, texts whose
            cosine is not positive, a judge as guide, an identity without a role.
    """

    surroundings = (Sampled, Intervals, Strength, Directions, Evaluate, Grids)

    def __init__(
        self,
        attribute: str | list[str] = "Smiling",
        *,
        source: str | list[str] | None = None,
        target: str | list[str] | None = None,
        templates: Sequence[str] | Literal["imagenet"] | None = None,
        clip: str = BUNDLED.guide,
        antialias: bool = True,
        clip_weight: float = 0.8,
        l1_weight: float = 10.0,
        identity: nn.Module | None = None,
        id_weight: float = 1.0,
        optimizer: OptimizerCallable = adam,
        lr: float | None = None,
        lr_scheduler: LRSchedulerCallable = decay,
        direction: Kind = "implicit",
        family: Literal["ddpm", "adm"] | None = None,
        zero_init: bool = True,
        ignore_timesteps: bool = False,
        as_released: bool = False,
        t_start: int | None = 770,
        **options: Unpack[ProcessOptions],
    ) -> None:
        weights = {"clip_weight": clip_weight, "l1_weight": l1_weight, "id_weight": id_weight}
        require("model", **{name: (weight, not_negative) for name, weight in weights.items()})
        super().__init__(
            optimizer=optimizer, lr=lr, lr_scheduler=lr_scheduler, t_start=t_start, **options
        )
        self.attribute = attribute if isinstance(attribute, str) else None
        texts = sources_and_targets(names_of(attribute), source, target)
        self.guide_by(clip, texts, templates, antialias, as_released)
        self.clip_weight, self.l1_weight, self.id_weight = clip_weight, l1_weight, id_weight
        self._preserve(identity)
        for name in texts:
            self.directions[name] = self._untrained(direction, family, zero_init, ignore_timesteps)
        self._seen: set[int] = set()

    def _preserve(self, identity: nn.Module | None) -> None:
        """Take the network whose embedding of an image the edits are to leave as it is."""
        if identity is not None:
            require_guide(identity, "identity loss")
            self.guides[fingerprint(identity)] = "the identity network trained the directions"
        self.identity = None if identity is None else identity.requires_grad_(False).eval()

    def _untrained(
        self,
        kind: Kind,
        family: Literal["ddpm", "adm"] | None,
        zero_init: bool,
        ignore_timesteps: bool,
    ) -> Direction:
        """A direction as it is before the first step."""
        if kind == "implicit":
            return implicit(self.backbone, family, zero_init, ignore_timesteps)
        return tensors(self.backbone, kind, self._editable(), zero_init)

    def edited_grid(self, name: str) -> list[int]:
        """The timesteps that direction ``name`` is trained at: t_edit <= t <= t_start.

        Raises:
            HslError: t_edit and t_boost are not known yet, or no timestep lies between.
        """
        edit = self.edit(name)
        grid = [t for t in self.grid if edit.acts(t)]
        if not grid:
            raise HslError(f"no timestep of {len(self.grid)} lies in t_edit to t_start")
        return grid

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Walk the edited part of the reverse process, one optimiser step at each timestep."""
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        x, p_unedited, features = self._unedited(batch.image)
        mean = BatchMean(batch.index, self._seen)
        a = self.backbone.schedule.alpha_bar(self._longest_grid[-1])
        eps = eps_of(x, p_unedited[0], a)  # all begin at one x
        walks = {name: self._walk(name, x, eps) for name in self._texts}
        logged: dict[str, list[Tensor]] = {}
        for t, p in zip(reversed(self._longest_grid), p_unedited, strict=True):
            self.directions.zero_grad()
            self._backward(
                self._loss(name, next(walk).p, p, features, mean, logged)
                for name, walk in walks.items()
                if self.edit(name).acts(t)
            )
            self.hand_over(t)
            optimizer.step()
        means = {f"train/{key}": torch.stack(values).mean() for key, values in logged.items()}
        self.log_dict(means, on_epoch=True, on_step=False,
                      batch_size=mean.count, sync_dist=True, prog_bar=True)  # fmt: skip

    def _walk(self, name: str, x: Tensor, eps: Tensor) -> Iterator[Step]:
        """The edited steps of direction ``name`` from x at the first of them, and the unedited eps
        there."""
        direction = self.directions[name]
        assert isinstance(direction, Direction)
        edit = Edit(direction, 1.0, t_edit=0, injection=self.injection)
        return reverse(self.backbone, x, self.edited_grid(name), edit, eps=eps)

    def _loss(
        self,
        name: str,
        edited: Tensor,
        unedited: Tensor,
        features: Tensor,
        mean: BatchMean,
        logged: dict[str, list[Tensor]],
    ) -> Tensor:
        """The loss of one step of direction ``name``; it and its parts are added to ``logged``."""
        image, cosine = self.backbone.image(edited), self.cosine_of(name)
        terms = {
            "l_dir": mean(self.losses[name](image, features)),
            "l1": mean((edited - unedited).abs()),
        }
        loss = self.clip_weight * log_directional(terms["l_dir"])
        loss = loss + self.l1_weight * cosine * terms["l1"]
        if self.identity is not None:
            alike = identity_loss(self.identity, image, self.backbone.image(unedited))
            terms["l_id"] = mean(alike)
            loss = loss + self.id_weight * terms["l_id"]
        prefix = "" if len(self.directions) == 1 else f"{name}/"
        for term, value in {"loss": loss, **terms}.items():
            logged.setdefault(prefix + term, []).append(value.detach())
        return loss

    def prepare(self, images: Tensor) -> None:
        """Keep the unedited trajectories of images ``[B, 3, S, S]``."""
        self._unedited(images)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As of every method, and which images the epoch has seen."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["hsl"]["seen"] = sorted(self._seen)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As of every method, and which images the epoch has seen."""
        super().on_load_checkpoint(checkpoint)
        self._seen = set(checkpoint["hsl"].get("seen", ()))

    def on_train_epoch_start(self) -> None:
        """No image has been seen in this epoch."""
        self._seen.clear()

    def about(self, name: str) -> dict[str, Any]:
        """What the direction's file says: also the method, the texts and the CLIP."""
        about = super().about(name)
        if name in self._texts:
            about |= {"texts": list(self._texts[name]), "cosine": self.cosine_of(name)}
        return about | {"method": "asyrp", "clip": self.clip_name}

    def _editable(self) -> list[int]:
        """The timesteps that may be edited, as far as it is known before the intervals are."""
        t_start = self.grid[-1] if self.t_start is None else self.t_start
        return [t for t in self.grid if (self.t_edit or 0) <= t <= t_start]

    @property
    def _longest_grid(self) -> list[int]:
        """The timesteps that any direction is trained at."""
        return max((self.edited_grid(name) for name in self._texts), key=len)

    def _unedited(self, images: Tensor) -> Trajectory:
        """What a step needs of images ``[B, 3, S, S]`` and depends on them alone."""
        return unedited(self, images, self._longest_grid, self._features, self.clip_key)
