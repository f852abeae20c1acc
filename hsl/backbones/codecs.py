"""Image codecs: what stands between an image and the tensor that a denoiser sees."""

from typing import Protocol

from diffusers import AutoencoderKL, VQModel
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


class Codec(Protocol):
    """Maps images ``[B, 3, S, S]`` in [-1, 1] to the denoiser's x_0 ``[B, C, s, s]`` and back."""

    def encode(self, image: Tensor) -> Tensor:
        """Image to x_0."""
        ...

    def decode(self, x: Tensor) -> Tensor:
        """X_0 to image."""
        ...


class Identity:
    """Pixel-space diffusion: x_0 is the image."""

    def encode(self, image: Tensor) -> Tensor:
        """Return the image."""
        return image

    def decode(self, x: Tensor) -> Tensor:
        """Return x_0."""
        return x


class SpaceToDepth:
    """Folds ``factor x factor`` pixels into channels: lossless, for small images."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def encode(self, image: Tensor) -> Tensor:
        """``[B, 3, S, S]`` to ``[B, 3 f^2, S/f, S/f]``."""
        return pixel_unshuffle(image, self.factor)

    def decode(self, x: Tensor) -> Tensor:
        """``[B, 3 f^2, s, s]`` to ``[B, 3, s f, s f]``."""
        return pixel_shuffle(x, self.factor)


class VQ(nn.Module):
    """Latent diffusion: x_0 is a vector-quantised autoencoder's latent, not yet quantised
    (Rombach et al. 2022).

    Args:
        vqvae: the autoencoder; frozen.
        scale: factor between the autoencoder's latent and x_0. CelebA-HQ's model has none, whatever
            ``scaling_factor`` diffusers writes into its config.
    """

    def __init__(self, vqvae: VQModel, scale: float = 1.0) -> None:
        super().__init__()
        self.vqvae = vqvae.requires_grad_(False).eval()
        self.scale = scale

    @property
    def factor(self) -> int:
        """Pixels per latent position along a side."""
        return int(2 ** (len(self.vqvae.config.block_out_channels) - 1))

    @property
    def channels(self) -> int:
        """C of x_0."""
        config = self.vqvae.config
        return int(config.vq_embed_dim or config.latent_channels)

    def encode(self, image: Tensor) -> Tensor:
        """``[B, 3, S, S]`` to ``[B, C, S/f, S/f]``."""
        latents: Tensor = self.vqvae.encode(image).latents
        return latents * self.scale

    def decode(self, x: Tensor) -> Tensor:
        """``[B, C, s, s]`` to ``[B, 3, s f, s f]``, through the nearest codes."""
        image: Tensor = self.vqvae.decode(x / self.scale).sample
        return image


class KL(nn.Module):
    """Latent diffusion: x_0 is the mean of a variational autoencoder's latent (Rombach et al.
    2022), times a factor that gives it about unit variance.

    Args:
        vae: the autoencoder; frozen.
        scale: that factor, ``scaling_factor`` in diffusers' configs.
    """

    def __init__(self, vae: AutoencoderKL, scale: float) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False).eval()
        self.scale = scale

    @property
    def factor(self) -> int:
        """Pixels per latent position along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def channels(self) -> int:
        """C of x_0."""
        return int(self.vae.config.latent_channels)

    def encode(self, image: Tensor) -> Tensor:
        """``[B, 3, S, S]`` to ``[B, C, S/f, S/f]``."""
        latents: Tensor = self.vae.encode(image).latent_dist.mode()
        return latents * self.scale

    def decode(self, x: Tensor) -> Tensor:
        """``[B, C, s, s]`` to ``[B, 3, s f, s f]``."""
        image: Tensor = self.vae.decode(x / self.scale).sample
        return image
