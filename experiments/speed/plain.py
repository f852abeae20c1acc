"""The same work as hsl's, done plainly: full forward passes alone, and nothing kept.

Every epoch inverts each image anew and takes its unedited trajectory anew; each edited step is a
forward pass of the edited U-Net and one of the unedited, at the same x_t.
"""

from itertools import pairwise

import torch
from torch import Tensor

from hsl.backbones import Backbone
from hsl.directions import Direction
from hsl.losses import log_directional
from hsl.methods.asyrp import Asyrp
from hsl.process import Edit, SeededNoise
from hsl.types import Batch


def forward(backbone: Backbone, x: Tensor, t: int, edit: Edit | None = None) -> Tensor:
    """The U-Net's eps ``[B, C, s, s]``, with an edited h if there is an edit."""
    b = backbone.encode(x, t)
    return backbone.decode(b if edit is None else b._replace(h=edit.h(b, x, t)))


def predicted(x: Tensor, eps: Tensor, a: float) -> Tensor:
    """P_t."""
    return (x - (1 - a) ** 0.5 * eps) / a**0.5


@torch.no_grad()
def invert(method: Asyrp, images: Tensor) -> Tensor:
    """x_T of images, by the inversion that hsl defaults to (eps at the upper timestep)."""
    net = method.backbone
    x = net.x_0(images)
    eps = forward(net, x, method.grid[0])
    for t, t_next in pairwise(method.grid):
        a, a_next = net.schedule.alpha_bar(t), net.schedule.alpha_bar(t_next)
        guess = a_next**0.5 * predicted(x, eps, a) + (1 - a_next) ** 0.5 * eps
        eps = forward(net, guess, t_next)
        x = a_next**0.5 * predicted(x, eps, a) + (1 - a_next) ** 0.5 * eps
    return x


def descending(grid: list[int]) -> list[tuple[int, int]]:
    """(t, t_next) from the noisiest down to the clean image."""
    return list(pairwise([*reversed(grid), -1]))


def train_on(
    method: Asyrp, batch: Batch, direction: Direction, optimizer: torch.optim.Optimizer
) -> float:
    """One batch of one epoch; the mean loss over the edited steps."""
    net, (name,) = method.backbone, method.directions
    x = unedited = invert(method, batch.image)
    features = method.loss(name).features(batch.image)
    edit, edited, losses = Edit(direction), method.edited_grid(name), []
    for t, t_next in descending(method.grid):
        if t < edited[0]:
            break
        a, a_next = net.schedule.alpha_bar(t), net.schedule.alpha_bar(t_next)
        with torch.no_grad():
            eps_o = forward(net, unedited, t)
            p_o = predicted(unedited, eps_o, a)
            unedited = a_next**0.5 * p_o + (1 - a_next) ** 0.5 * eps_o
        if t > edited[-1]:
            x = unedited
            continue
        p = predicted(x, forward(net, x, t, edit), a)
        with torch.no_grad():
            eps = forward(net, x, t)
        image = net.image(p)
        l_dir = method.loss(name)(image, features).mean()
        l1 = (p - p_o).abs().mean()
        loss = method.clip_weight * log_directional(l_dir)
        loss = loss + method.l1_weight * method.cosine_of(name) * l1
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        x = a_next**0.5 * p.detach() + (1 - a_next) ** 0.5 * eps
    return sum(losses) / len(losses)


@torch.no_grad()
def edit_from(method: Asyrp, x: Tensor, index: Tensor, edit: Edit) -> Tensor:
    """Edited images from x_T: two forward passes at each step, edited or not."""
    net, noise = method.backbone, SeededNoise(index, method.seed)
    for t, t_next in descending(method.grid):
        a, a_next = net.schedule.alpha_bar(t), net.schedule.alpha_bar(t_next)
        eps, eps_p = forward(net, x, t), forward(net, x, t, edit if edit.acts(t) else None)
        variance = (1 - a / a_next) * (1 - a_next) / (1 - a) if t < edit.t_boost else 0.0
        p = predicted(x, eps_p, a)
        x = a_next**0.5 * p + (1 - a_next - variance) ** 0.5 * eps
        if variance > 0:
            x = x + variance**0.5 * noise(t, x)
    return net.image(x).clamp(-1, 1)
