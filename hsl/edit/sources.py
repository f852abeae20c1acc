"""What is edited: images that are inverted, or samples by seed."""

import argparse
import sys
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.backbones import Backbone
from hsl.data.images import load_images
from hsl.edit import texts
from hsl.process import SeededNoise, invert, last, reverse
from hsl.progress import track


class Inputs(NamedTuple):
    """N images before the edit: a name and a number each, by which noise is drawn, and either
    the images ``[N, 3, S, S]`` in [-1, 1] or, to be sampled, None."""

    names: list[str]
    numbers: Tensor
    images: Tensor | None

    @property
    def labels(self) -> list[str]:
        """What each is called in a picture: by its seed, or by its file."""
        if self.images is None:
            return [f"seed {number}" for number in self.numbers.tolist()]
        return self.names


class Unedited(NamedTuple):
    """x_T ``[N, C, s, s]``, and the images ``[N, 3, S, S]`` that it leads to unedited; on the
    CPU."""

    x_T: Tensor
    rebuilt: Tensor


def read(options: argparse.Namespace, backbone: Backbone) -> Inputs:
    """The images or seeds of a command line. Of a backbone that is of one domain alone, such as
    drawn faces, a line on stderr says so where images are given.

    Raises:
        HslError: they cannot be had.
    """
    if options.seeds:
        seeds = texts.seeds(options.seeds)
        return Inputs([f"seed{s}.png" for s in seeds], torch.tensor(seeds), None)
    size = backbone.image_size
    images, names = load_images(options.images, size)
    if backbone.domain is not None:
        print(f"hsl.edit: note: {backbone.name} is a model of {backbone.domain} at {size} pixels, "
              "and makes such images of whatever it is given; of photographs, edit with one of "
              "theirs: --backbone celebahq, ...", file=sys.stderr)  # fmt: skip
    return Inputs(names, torch.arange(len(names)), images)


def latents(
    backbone: Backbone,
    source: Inputs,
    inversion: list[int],
    grid: list[int],
    eta: float,
    batch: int,
    rebuild: bool = True,
) -> Unedited:
    """Invert the images, or draw the noise of the seeds; and reconstruct, or sample, by the same
    noise as the edit will see.

    Args:
        backbone: the frozen denoiser.
        source: N images or seeds.
        inversion: its timesteps, which end where ``grid`` does.
        grid: timesteps of the reverse process.
        eta: of the reverse process.
        batch: images at once.
        rebuild: else ``rebuilt`` is empty.
    """
    begins, ends = [], [torch.empty(0)]
    starts = range(0, len(source.names), batch)
    for start in track(starts, "reconstructing" if rebuild else "inverting", len(starts)):
        rows = slice(start, start + batch)
        noise = SeededNoise(source.numbers[rows])
        if source.images is None:
            like = torch.zeros(len(noise.index), *backbone.x_shape, device=backbone.device)
            x = noise.x_T(like)
        else:
            x_0 = backbone.x_0(source.images[rows].to(backbone.device))
            x = last(invert(backbone, x_0, inversion, refine=1))
        begins.append(x.cpu())
        if rebuild:
            steps = reverse(backbone, x, grid, eta=eta, noise=noise)
            ends.append(backbone.image(last(steps)).clamp(-1, 1).cpu())
    return Unedited(torch.cat(begins), torch.cat(ends[1:] or ends))
