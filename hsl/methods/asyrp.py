"""Asyrp: an implicit function f_t in h-space, trained with directional CLIP loss and L1.

Kwon, Jeong and Uh, "Diffusion Models Already Have a Semantic Latent Space", ICLR 2023.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from open_clip import OPENAI_IMAGENET_TEMPLATES
from torch import Tensor, nn
from torch.optim import Optimizer

from hsl.backbones import Tap
from hsl.data.texts import source_and_target
from hsl.data.toyfaces.captions import TEMPLATES
from hsl.directions import Direction, ImplicitFunction, Shift
from hsl.encoders.clip import Clip
from hsl.encoders.roles import HasRole, require_guide
from hsl.errors import HslError
from hsl.losses import BatchMean, DirectionalClipLoss, identity_loss, log_directional
from hsl.methods.base import Method
from hsl.process import Edit, Injection, reverse
from hsl.store import key_of
from hsl.types import Batch

Kind = Literal["implicit", "shift", "global", "eps"]
KINDS: tuple[Kind, ...] = ("implicit", "shift", "global", "eps")


def adam(parameters: object) -> Optimizer:
    """Adam at 6e-4: found on ToyFaces' validation faces. The paper's is SGD at 0.5."""
    return torch.optim.Adam(parameters, lr=6e-4)  # type: ignore[arg-type]


def decay(optimizer: Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """A learning rate that falls to a tenth in the seven epochs that ToyFaces is trained for. The
    released checkpoints' is StepLR(20, 0.9)."""
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=7)


def _sentences(templates: Sequence[str] | None) -> Sequence[str]:
    """Templates by name, or as they are."""
    if templates is None:
        return TEMPLATES
    if templates == "imagenet":
        return [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    return templates


class Asyrp(Method):
    """Trains one direction for one attribute, f_t by default, one optimiser step per edited
    timestep.

    The loss at timestep t is ``clip_weight * -log((2 - L_dir) / 2) + l1_weight * cosine * L1``:
    L_dir between each image and its own edited P_t, L1 between the edited and the unedited
    trajectory's P_t (facts in the paper's eq. 6 and appendix; the cosine as released).

    Args:
        attribute: the name of the direction, and of the texts used by default: ToyFaces' or,
            by its name in Asyrp's released code, one of hsl/assets/texts.yaml.
        source: text of what is there; None: the attribute's.
        target: text of what is wanted; None: the attribute's.
        templates: sentences with one ``{}``; ``imagenet``: the 80 that CLIP was published with;
            None: ToyFaces'.
        clip: a guide for `Clip.load`.
        antialias: of its resizing; the released code had none.
        clip_weight: of the directional loss.
        l1_weight: of L1, before the cosine.
        identity: an embedding of images in [-1, 1], such as of faces; 1 minus the cosine of those
            of the edited and of the unedited P_t, times ``id_weight``, is added to the loss.
        id_weight: see ``identity``.
        optimizer: of the direction's parameters.
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
        t_start: None edits from T, as the paper does; ToyFaces' default leaves to the backbone
            what is decided before the parts of a face are.
        backbone, steps, t_edit, t_boost, injection, refine, cache, seed, tap: see `Method`.

    Raises:
        HslError: unknown names, texts whose cosine is not positive, a judge as guide.
    """

    def __init__(
        self,
        attribute: str = "Smiling",
        source: str | None = None,
        target: str | None = None,
        templates: Sequence[str] | Literal["imagenet"] | None = None,
        clip: str = "toyfaces/guide",
        antialias: bool = True,
        clip_weight: float = 0.8,
        l1_weight: float = 10.0,
        identity: nn.Module | None = None,
        id_weight: float = 1.0,
        optimizer: OptimizerCallable = adam,
        lr_scheduler: LRSchedulerCallable = decay,
        direction: Kind = "implicit",
        family: Literal["ddpm", "adm"] | None = None,
        zero_init: bool = True,
        ignore_timesteps: bool = False,
        as_released: bool = False,
        backbone: str = "toyfaces",
        steps: int = 40,
        t_edit: int | None = None,
        t_start: int | None = 770,
        t_boost: int | None = None,
        injection: Injection = "asymmetric",
        refine: int = 1,
        cache: str | None = None,
        seed: int = 0,
        tap: Tap = "after",
    ) -> None:
        super().__init__(
            backbone, steps, t_edit, t_start, t_boost, injection, refine, cache, seed, tap
        )
        self.automatic_optimization = False
        if source is None or target is None:
            known = source_and_target(attribute)
            source = known[0] if source is None else source
            target = known[1] if target is None else target
        self.source, self.target = source, target
        self.attribute, self.clip_name = attribute, clip
        antialias = antialias and not as_released
        self.clip = Clip.load(clip, antialias=antialias)
        self.clip_key = key_of(antialias, *self.clip.state_dict().values())
        self.loss = DirectionalClipLoss(
            self.clip, self.source, self.target, _sentences(templates), as_released
        )
        self.clip_weight, self.l1_weight, self.id_weight = clip_weight, l1_weight, id_weight
        if isinstance(identity, HasRole):
            require_guide(identity, "identity loss")
        self.identity = None if identity is None else identity.requires_grad_(False).eval()
        self.make_optimizer, self.make_scheduler = optimizer, lr_scheduler
        if direction == "implicit":
            self.directions[attribute] = ImplicitFunction.for_backbone(
                self.backbone,
                family=family or self.backbone.family,
                zero_init=zero_init,
                ignore_timesteps=ignore_timesteps,
            )
        else:
            self.directions[attribute] = self._tensors(direction, zero_init)
        self._seen: set[int] = set()

    @property
    def cosine(self) -> float:
        """Cosine of the bare source and target texts; the Intervals callback weighs by it."""
        return self.loss.cosine

    @property
    def source_and_target(self) -> tuple[str, str]:
        """The texts that the edit goes between."""
        return self.source, self.target

    @property
    def edited_grid(self) -> list[int]:
        """The timesteps that are trained: t_edit <= t <= t_start.

        Raises:
            HslError: t_edit and t_boost are not known yet, or no timestep lies between.
        """
        edit = self.edit(self.attribute)
        grid = [t for t in self.grid if edit.acts(t)]
        if not grid:
            raise HslError(f"no timestep of {len(self.grid)} lies in t_edit to t_start")
        return grid

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Walk the edited part of the reverse process, one optimiser step at each timestep."""
        images, optimizer = batch.image, self.optimizers()
        assert not isinstance(optimizer, list)
        x, unedited, features = self._source(images)
        direction = self.directions[self.attribute]
        assert isinstance(direction, Direction)
        edit = Edit(direction, 1.0, t_edit=0, injection=self.injection)
        steps = reverse(self.backbone, x, self.edited_grid, edit)
        totals: dict[str, Tensor] = {}
        mean = BatchMean(batch.index, self._seen)
        for step, p in zip(steps, unedited, strict=True):
            image = self.backbone.image(step.p)
            parts = {"l_dir": mean(self.loss(image, features)), "l1": mean((step.p - p).abs())}
            loss = self.clip_weight * log_directional(parts["l_dir"])
            loss = loss + self.l1_weight * self.cosine * parts["l1"]
            if self.identity is not None:
                alike = identity_loss(self.identity, image, self.backbone.image(p))
                parts["l_id"] = mean(alike)
                loss = loss + self.id_weight * parts["l_id"]
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            for name, value in {"loss": loss, **parts}.items():
                totals[name] = totals.get(name, torch.zeros_like(loss)) + value.detach()
        means = {f"train/{k}": total / len(self.edited_grid) for k, total in totals.items()}
        self.log_dict(means, on_epoch=True, on_step=False,
                      batch_size=mean.count, sync_dist=True, prog_bar=True)  # fmt: skip

    def on_train_epoch_start(self) -> None:
        """No image has been seen in this epoch."""
        self._seen.clear()

    def on_train_epoch_end(self) -> None:
        """One step of the learning rate's schedule."""
        scheduler = self.lr_schedulers()
        assert scheduler is not None and not isinstance(scheduler, list)
        scheduler.step()

    def about(self, name: str) -> dict[str, Any]:
        """What the direction's file says: also the method, the texts and the CLIP."""
        return super().about(name) | {
            "method": "asyrp",
            "texts": [self.source, self.target],
            "cosine": self.cosine,
            "clip": self.clip_name,
        }

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """The optimiser of the direction's parameters and its schedule."""
        optimizer = self.make_optimizer(self.directions.parameters())
        return [optimizer], [self.make_scheduler(optimizer)]

    def _tensors(self, kind: Kind, zero_init: bool) -> Shift:
        """The `Shift` of a kind of direction, for the timesteps that may be edited."""
        if kind not in KINDS:
            raise HslError(f"direction {kind!r}: want one of {', '.join(KINDS)}")
        size = int(self.backbone.unet.config.sample_size)
        shape = self.backbone.h_shape if kind != "eps" else (self.backbone.channels, size, size)
        t_edit, t_start = self.t_edit or 0, self.grid[-1] if self.t_start is None else self.t_start
        timesteps = None if kind == "global" else [t for t in self.grid if t_edit <= t <= t_start]
        rows = () if timesteps is None else (len(timesteps),)
        delta = torch.randn(*rows, *shape) * (0.0 if zero_init else 0.2)
        return Shift(delta, timesteps, "eps" if kind == "eps" else "h")

    def _source(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What depends on the image alone: x at the first edited step ``[B, C, s, s]``, the
        unedited trajectory's P_t ``[n, B, C, s, s]``, noisiest first, and the image's unit CLIP
        features ``[B, E]``."""
        edited = self.edited_grid
        grid = [t for t in self.grid if t >= edited[0]]
        parts = ("P_t", self.backbone.hash, self.grid, self.refine, edited, self.clip_key)

        def compute(rows: list[int]) -> list[dict[str, Tensor]]:
            some = images[rows]
            with torch.no_grad():
                p, x = [], self.x_T(some)
                for step in reverse(self.backbone, x, grid):
                    if step.t == edited[-1]:
                        x = step.x
                    if step.t <= edited[-1]:
                        p.append(step.p)
                found = {"x": x, "p": torch.stack(p, 1), "features": self.loss.features(some)}
            return [{name: t[i] for name, t in found.items()} for i in range(len(some))]

        keys = [key_of(*parts, image) for image in images]
        records = self.store.many(keys, compute, self.record_about("trajectory"))
        x, p, features = (
            torch.stack([record[name] for record in records]).to(images.device)
            for name in ("x", "p", "features")
        )
        return x, p.transpose(0, 1), features
