"""Noise schedules: alpha-bar and timestep grids.

``t = -1`` is the clean image: alpha-bar(-1) = 1.
"""

from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor

from hsl.backbones.architecture import LONGEST

Grid = Literal["asyrp", "leading", "linspace", "trailing"]
GRIDS: tuple[Grid, ...] = ("asyrp", "leading", "linspace", "trailing")


class Schedule:
    """Alpha-bar of a discrete diffusion process, in float64.

    Args:
        betas: variances beta_t of the forward process, ``[T]``, each in (0, 1).

    Raises:
        ValueError: no betas, some outside (0, 1), or not one-dimensional; of the named
            schedules, also fewer than 2 or more than `LONGEST` timesteps.
    """

    def __init__(self, betas: Sequence[float] | Tensor) -> None:
        self.betas = torch.as_tensor(betas, dtype=torch.float64).detach().cpu()
        inside = bool(((self.betas > 0) & (self.betas < 1)).all())
        if self.betas.ndim != 1 or not len(self.betas) or not inside:
            raise ValueError("betas: want one dimension and values between 0 and 1")
        #: Alpha-bar_t = prod_{s <= t} (1 - beta_s).
        self.alphas_cumprod = torch.cumprod(1 - self.betas, dim=0)

    @classmethod
    def linear(cls, n: int = 1000, start: float = 1e-4, end: float = 0.02) -> Self:
        """The DDPM schedule (Ho et al. 2020), used by every 256-pixel checkpoint of the papers."""
        return cls(torch.linspace(start, end, _whole(n), dtype=torch.float64))

    @classmethod
    def scaled_linear(cls, n: int = 1000, start: float = 0.0015, end: float = 0.0195) -> Self:
        """Linear in the square root of beta: the latent diffusion models (Rombach et al. 2022)."""
        root = torch.linspace(start**0.5, end**0.5, _whole(n), dtype=torch.float64)
        return cls(root**2)

    @classmethod
    def cosine(cls, n: int = 1000) -> Self:
        """Alpha-bar_t = f(t) / f(0) with f(t) = cos^2((t / T + s) / (1 + s) pi / 2), s = 0.008,
        and beta at most 0.999 (Nichol & Dhariwal 2021, eq. 17): some of improved-diffusion's
        models."""
        share = torch.arange(_whole(n) + 1, dtype=torch.float64) / n
        angle = (share + 0.008) / 1.008 * torch.pi / 2
        alpha_bar = angle.cos() ** 2  # without f(0), which no beta needs: 1 - f(t) / f(t - 1)
        return cls((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999))

    def shifted(self, factor: float) -> "Schedule":
        """The schedule whose signal-to-noise ratio is ``factor`` times this one's at every t.

        A picture of s x s pixels needs (256 / s)^2 times the SNR for the noise to hide as much of
        it as at 256 pixels, so that a t means the same at both sizes (Hoogeboom et al. 2023,
        eq. 11-12). From an SNR, alpha-bar = SNR / (1 + SNR).
        """
        snr = factor * self.alphas_cumprod / (1 - self.alphas_cumprod)
        alpha_bar = snr / (1 + snr)
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        return Schedule(1 - alpha_bar / previous)

    def __repr__(self) -> str:
        """One line."""
        ends = f"{self.alpha_bar(0):.4g} to {self.alpha_bar(len(self) - 1):.3g}"
        return f"Schedule({len(self)} timesteps, alpha-bar {ends})"

    def __len__(self) -> int:
        return len(self.betas)

    def alpha_bar(self, t: int) -> float:
        """Alpha-bar at timestep ``t`` in [-1, T-1]; 1 at ``t = -1``.

        Raises:
            IndexError: t outside the schedule.
        """
        if not -1 <= t < len(self):
            raise IndexError(f"t={t} is outside the schedule's [-1, {len(self) - 1}]")
        return 1.0 if t == -1 else float(self.alphas_cumprod[t])

    def snr(self, t: int) -> float:
        """Signal-to-noise ratio alpha-bar / (1 - alpha-bar); infinite at ``t = -1``."""
        a = self.alpha_bar(t)
        return a / (1 - a) if a < 1 else float("inf")

    def grid(self, n: int, spacing: Grid = "asyrp", t_0: int | None = None) -> list[int]:
        """``n`` ascending timesteps, without -1.

        Args:
            n: number of steps, at least 1 (``asyrp``: at least 2).
            spacing: ``asyrp``: int(linspace(0, 1, n) * t_0 + 1e-6) (Kwon et al., released code);
                ``leading``, ``linspace``, ``trailing``: as diffusers' ``timestep_spacing``.
            t_0: last timestep of the ``asyrp`` grid; T - 1 unless given.

        Raises:
            ValueError: an unknown spacing, or more steps than there are timesteps.
        """
        total = len(self)
        last = total - 1 if t_0 is None else t_0
        if not 0 <= last < total:
            raise ValueError(f"t_0={last}: want a timestep in [0, {total - 1}]")
        if t_0 is not None and spacing != "asyrp":
            raise ValueError(f"t_0 belongs to the asyrp grid, not to {spacing}")
        if not 1 <= n <= last + 1 or (n == 1 and spacing == "asyrp"):
            raise ValueError(f"n={n} steps: want 2 to {last + 1} distinct timesteps")
        if spacing == "asyrp":
            unit = torch.linspace(0, 1, n, dtype=torch.float64)
            return [int(v) for v in (unit * last + 1e-6).tolist()]
        if spacing == "leading":
            return [i * (total // n) for i in range(n)]
        if spacing == "linspace":
            points = torch.linspace(0, total - 1, n, dtype=torch.float64)
            return [int(v) for v in points.round().tolist()]
        if spacing == "trailing":
            points = torch.arange(n, 0, -1, dtype=torch.float64) * (total / n)
            return [int(v) - 1 for v in reversed(points.round().tolist())]
        raise ValueError(f"spacing {spacing!r}: want one of {', '.join(GRIDS)}")


def _whole(n: int) -> int:
    """A number of timesteps that a schedule can have, known before any memory is asked for."""
    if not 2 <= n <= LONGEST:
        raise ValueError(f"{n} timesteps: want 2 to {LONGEST}")
    return n
