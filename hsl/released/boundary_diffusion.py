"""BoundaryDiffusion as its authors released it, beside the right one (Zhu et al. 2023).

`hsl.directions.Boundary` edits as the paper says. These functions do what the released code does
instead, so that what was made with it can be made again; each says how the two differ, and names
the function and the lines in the release (``boundarydiffusion.py``, unless another file is named).
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from hsl.backbones import Backbone, Bottleneck
from hsl.directions import Direction
from hsl.errors import HslError
from hsl.process import Edit, Noise, Step, invert, last, reverse
from hsl.schema import Rule, listed, whole

Inject = Literal["stale", "once", "never"]
INJECT: tuple[Inject, ...] = ("stale", "once", "never")


class Latents(NamedTuple):
    """``x [B, C, s, s]`` at t_0, and the ``h [B, K, s, s]`` that the release takes for its h."""

    x: Tensor
    h: Tensor


def grid_as_released(n: int, t_0: int) -> list[int]:
    """Int(linspace(0, 1, n) * t_0), as every mode of the release; ``n = 1`` gives [0].

    It truncates what `hsl.backbones.Schedule.grid` takes for a whole number in spite of rounding:
    one in twenty pairs (n, t_0) has a timestep that is one less here, e.g. n=36 of t_0=500. A few
    with n close to t_0 + 1 repeat a timestep; these the loops refuse.

    Raises:
        HslError: no step.
    """
    if n < 1:
        raise HslError(f"n={n} steps: want at least 1")
    return [int(t) for t in np.linspace(0, 1, n) * t_0]


@torch.no_grad()
def inverted_as_released(backbone: Backbone, x_0: Tensor, t_0: int, n: int) -> Latents:
    """The features that boundaries are fitted on, and edited, of x_0 ``[B, C, s, s]``.

    The paper's h is that of x_{t_0}. The release takes the h of the inversion's last evaluation,
    so at the timestep before t_0 (``boundary_search``, 373-405; ``edit_image_boundary``).

    Raises:
        HslError: fewer than two steps, of which there would be no h.
    """
    if n < 2:
        raise HslError(f"n={n} steps of inversion: want at least 2")
    for step in invert(backbone, x_0, grid_as_released(n, t_0)):
        x, h = step.x_next, step.b.h
    return Latents(x, h)


@torch.no_grad()
def sampled_as_released(backbone: Backbone, x_T: Tensor, t_0: int) -> Latents:
    """The latents of the unconditional mode, from x_T ``[B, C, s, s]``, by steps of one.

    T - 1 timesteps instead of T leave out one, of 1000 the 998 (``unconditional``, 130); and h is
    again that of the evaluation before, here at t_0 + 1 (134-147).

    Raises:
        HslError: no step of this chain ends at t_0.
    """
    last_t = len(backbone.schedule) - 1
    grid = grid_as_released(last_t, last_t)
    if t_0 not in grid[:-1]:
        raise HslError(f"t_0={t_0}: want a timestep in [0, {grid[-2]}]")
    for step in reverse(backbone, x_T, grid):
        x, h = step.x_next, step.b.h
        if step.t_next == t_0:
            break
    return Latents(x, h)


def to_coordinates(v: Tensor, normal: Tensor, coordinates: Sequence[float]) -> Tensor:
    """Move ``v [B, C, s, s]`` along ``normal [C, s, s]`` to n coordinates d: ``[n, B, C, s, s]``.

    v + (d - <v, normal>) normal. With a unit normal <v, normal> = d afterwards, wherever v was and
    wherever the hyperplane is: the release never uses its intercept (``edit_image_boundary``,
    626-629). In the paper d is a distance to go. The no-op is d = <v, normal>, not 0.
    """
    normal = normal.to(v)
    d = torch.as_tensor(coordinates, dtype=v.dtype, device=v.device)
    way = d[:, None] - v.flatten(1) @ normal.flatten()
    return v + way[..., None, None, None] * normal


def decode_as_released(
    backbone: Backbone,
    latents: Latents,
    grid: Sequence[int],
    eta: float = 1.0,
    noise: Noise | None = None,
    inject: Inject | None = None,
) -> Iterator[Step]:
    """The reverse process from moved latents.

    The paper edits once, then denoises deterministically. The release sets eta to 1 and only
    prints the ``--eta`` it was given (188, 666), and injects h as `injected_as_released` says.

    Args:
        backbone: the frozen denoiser.
        latents: x and h after the move.
        grid: ascending timesteps.
        eta: as in `reverse`.
        noise: for eta > 0.
        inject: see `injected_as_released`.

    Raises:
        HslError: an unknown ``inject``.
    """
    edit = injected_as_released(backbone, latents.h, grid, inject)
    return reverse(backbone, latents.x, grid, edit, eta, noise=noise)


def injected_as_released(
    backbone: Backbone, h: Tensor, grid: Sequence[int], inject: Inject | None = None
) -> Edit | None:
    """How the release puts a moved h ``[B, K, s, s]`` into the reverse process from its x.

    It hands each step's own h, not the edited one, on to the next step: the first decodes with the
    moved h, every other one with the stale h of the step before (179-194, 656-672).

    Args:
        backbone: the frozen denoiser.
        h: after the move.
        grid: ascending timesteps.
        inject: ``stale``; ``once``: into the first step alone, as the code seems to intend;
            ``never``: its i_DDPM networks (ADM, P2) are given h where they expect a class label,
            and ignore it (``utils/diffusion_utils.py``, 44). None: as released, so ``never`` if the
            network predicts a variance, which all i_DDPM networks of the release do and its DDPM
            networks do not; else ``stale``.

    Raises:
        HslError: an unknown ``inject``.
    """
    if inject is None:
        inject = "never" if backbone.learned_variance else "stale"
    if inject not in INJECT:
        raise HslError(f"inject {inject!r}: want one of {', '.join(INJECT)}")
    if inject == "never":
        return None
    t_edit = grid[-1] if inject == "once" else 0
    return Edit(Carried(h), t_edit=t_edit, injection="replaced")


def edit_as_released(
    backbone: Backbone,
    x_0: Tensor,
    x_normal: Tensor,
    h_normal: Tensor,
    distances: Sequence[float],
    t_0: int,
    n_inv: int = 40,
    n_test: int = 40,
    eta: float = 1.0,
    noise: Noise | None = None,
    inject: Inject | None = None,
) -> Tensor:
    """Edited x_0 ``[n, B, C, s, s]`` for n distances, of x_0 ``[B, C, s, s]``.

    Both latents go to the same coordinate, though x has six times the dimensions of h
    (``edit_image_boundary``, 499-710).

    Args:
        backbone: the frozen denoiser.
        x_0: from ``backbone.x_0(image)``.
        x_normal: ``[C, s, s]``, the SVM's coefficients in x_{t_0}, of any length.
        h_normal: ``[K, s, s]``, those in h.
        distances: coordinates along the unit normals (`to_coordinates`).
        t_0: where to edit; README: 500.
        n_inv: timesteps of the inversion.
        n_test: timesteps of the reverse process.
        eta: see `decode_as_released`.
        noise: the same; it is asked for n * B images, the first distance's B first.
        inject: the same.
    """
    x, h = inverted_as_released(backbone, x_0, t_0, n_inv)
    x = to_coordinates(x, x_normal / x_normal.norm(), distances)
    h = to_coordinates(h, h_normal / h_normal.norm(), distances)
    return _decoded(backbone, Latents(x, h), grid_as_released(n_test, t_0), eta, noise, inject)


def sample_as_released(
    backbone: Backbone,
    x_T: Tensor,
    x_normal: Tensor,
    h_coef: Tensor,
    distances: Sequence[float],
    t_0: int,
    n: int = 40,
    eta: float = 1.0,
    noise: Noise | None = None,
    inject: Inject | None = None,
) -> Tensor:
    """Samples x_0 ``[n_d, B, C, s, s]`` for n_d distances, from noise x_T ``[B, C, s, s]``.

    In h the SVM's coefficients are not normalised (``unconditional``, 122; it is commented out), so
    that h moves by |d - <h, w>| |w|, which is nearly nothing, and does not arrive at d.

    Args:
        backbone: the frozen denoiser.
        x_T: standard normal.
        x_normal: ``[C, s, s]``, of any length.
        h_coef: ``[K, s, s]``, taken as long as it is.
        distances: see `to_coordinates`.
        t_0: where to edit. README's command leaves it at 400, with boundaries fitted at 500.
        n: timesteps of the reverse process below t_0.
        eta: see `edit_as_released`.
        noise: the same.
        inject: the same.
    """
    x, h = sampled_as_released(backbone, x_T, t_0)
    x = to_coordinates(x, x_normal / x_normal.norm(), distances)
    h = to_coordinates(h, h_coef, distances)
    return _decoded(backbone, Latents(x, h), grid_as_released(n, t_0), eta, noise, inject)


def _decoded(
    backbone: Backbone,
    latents: Latents,
    grid: Sequence[int],
    eta: float,
    noise: Noise | None,
    inject: Inject | None,
) -> Tensor:
    """``[n, B, ...]`` latents decoded as one batch."""
    flat = Latents(*(v.flatten(0, 1) for v in latents))
    x = last(decode_as_released(backbone, flat, grid, eta, noise, inject))
    return x.view_as(latents.x)


@final
class Carried(Direction):
    """Gives each step the h that the one before it computed, and the first one ``h``; for one walk
    of the reverse process: another needs its own, of `of`.

    Args:
        h: ``[N, K, s, s]``, a map for each image of the batch that it will see.
    """

    kind = "carried"
    rules: ClassVar[dict[str, Rule]] = {"shape": listed(whole(1), (4,))}

    def __init__(self, h: Tensor) -> None:
        super().__init__("h")
        self.h: Tensor
        self.register_buffer("h", h)

    def forward(self, b: Bottleneck, x: Tensor, t: int) -> Tensor:
        if len(x) != len(self.h):
            raise HslError(f"Carried: h of {len(self.h)} images, a batch of {len(x)}")
        carried, self.h = self.h, b.h
        return carried

    def of(self, rows: slice) -> "Carried":
        """The same for some of the images."""
        return Carried(self.h[rows])

    def outline(self) -> str:
        return f"the h of the step before, for {len(self.h)} images"

    def config(self) -> dict[str, Any]:
        return {"kind": self.kind, "shape": list(self.h.shape)}

    @classmethod
    def from_config(cls, **arguments: Any) -> "Carried":
        return cls(torch.zeros(arguments["shape"]))

    @property
    def h_shape(self) -> tuple[int, ...] | None:
        return tuple(self.h.shape[1:])
