"""Whether a network predicts noise as a trained one does: the test of a loaded or converted file.

A wrong order of q, k and v, a wrong head width or sinusoid gives a network of the right shapes
whose eps is wrong. Its error on a noised image tells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hsl.backbones.unet import Backbone
from hsl.errors import HslError

#: Alpha-bar of the noise levels at which the error is taken.
LEVELS = (0.99, 0.9, 0.7, 0.5, 0.3, 0.1, 0.03)
#: Largest ratio that passes: to the errors recorded for the model itself, and to the linear
#: filter's. The bundled model's ratios, right and with q, k and v permuted, are in
#: experiments/checkpoints/RESULTS.md.
RECORDED_THRESHOLD, LINEAR_THRESHOLD = 2.0, 1.0


class Check(NamedTuple):
    """The outcome: ``ratio`` of the eps error to ``reference``'s, in the geometric mean over the
    levels; ``threshold``, the largest that passes; the ``errors`` themselves by alpha-bar."""

    ratio: float
    threshold: float
    reference: str
    errors: dict[float, float]

    @property
    def passed(self) -> bool:
        """Whether the network predicts noise well enough."""
        return self.ratio <= self.threshold


@torch.no_grad()
def eps_errors(backbone: Backbone, images: Tensor, draws: int = 4, seed: int = 0) -> Tensor:
    """Mean squared error of eps ``[B, len(LEVELS)]`` on images ``[B, 3, S, S]`` with noise n:
    that of eps(sqrt(a) x_0 + sqrt(1 - a) n, t) against n."""
    x_0 = backbone.x_0(images.to(backbone.device))
    alpha_bar = backbone.schedule.alphas_cumprod
    generator = torch.Generator().manual_seed(seed)
    columns = []
    for level in LEVELS:
        t = int((alpha_bar - level).abs().argmin())
        a, total = backbone.schedule.alpha_bar(t), torch.zeros(len(x_0), device=x_0.device)
        for _ in range(draws):
            noise = torch.randn(x_0.shape, generator=generator).to(x_0)
            eps = backbone.decode(backbone.encode(a**0.5 * x_0 + (1 - a) ** 0.5 * noise, t))
            total += (eps - noise).square().mean(dim=(1, 2, 3))
        columns.append(total.cpu() / draws)
    return torch.stack(columns, dim=1)


@torch.no_grad()
def linear_errors(backbone: Backbone, images: Tensor) -> Tensor:
    """Mean squared error of eps ``[B, len(LEVELS)]`` by the best linear filter for each image.

    Of a picture with power spectrum S(f) the Wiener filter's is the mean over f of
    a S / (a S + 1 - a). S is the image's own, averaged over directions and channels. A trained
    network sees more than a spectrum and errs less.
    """
    x_0 = backbone.x_0(images.to(backbone.device))
    picture = images if images.numel() == x_0.numel() else x_0.cpu()  # a lossless codec: pixels
    power = torch.fft.fft2(picture.double(), norm="ortho").abs().square().mean(1)
    cycles = torch.fft.fftfreq(power.shape[-1], dtype=torch.float64) * power.shape[-1]
    ring = torch.hypot(cycles[:, None], cycles[None]).round().long().flatten()
    sums = torch.zeros(len(power), int(ring.max()) + 1, dtype=torch.float64)
    sums.index_add_(1, ring, power.flatten(1))
    spectrum = (sums / ring.bincount())[:, ring]
    return torch.stack(
        [(a * spectrum / (a * spectrum + 1 - a)).mean(1) for a in LEVELS], dim=1
    ).float()


def check(backbone: Backbone, image: Tensor) -> Check:
    """Compare the eps error on an image ``[3, S, S]`` in [-1, 1] with a trained model's.

    The reference is what was recorded for this very model, where its folder says so
    (``eps_errors`` in hsl.json), and else the error of the best linear filter for this image, which
    any trained model stays well below. The image should be of the kind the model was trained on.

    Raises:
        HslError: an image of another size.
    """
    size = backbone.image_size
    if image.shape != (3, size, size):
        raise HslError(f"want an image [3, {size}, {size}], not {list(image.shape)}")
    errors = eps_errors(backbone, image[None])
    if backbone.eps_errors is not None:
        reference, name = torch.tensor([backbone.eps_errors]), "this model's recorded error"
        threshold = RECORDED_THRESHOLD
    else:
        reference, name = linear_errors(backbone, image[None]), "the best linear filter's error"
        threshold = LINEAR_THRESHOLD
    ratio = float((errors.double() / reference.double()).log().mean().exp())
    return Check(ratio, threshold, name, dict(zip(LEVELS, errors[0].tolist(), strict=True)))
