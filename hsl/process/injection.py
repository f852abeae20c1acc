"""How an edit enters a step: into x, h or eps; into P_t alone, or into both."""

import torch
from torch import Tensor

from hsl.backbones import Backbone, Bottleneck
from hsl.directions import Boundary
from hsl.process.edit import Edit

#: Images whose two decodes a CPU runs as one batch: the bundled U-Net's take 0.7 of the time at
#: one image, 0.8 at two, about as much at 8 and 1.1 of it at 32 (experiments/speed); those of a
#: U-Net of 64 pixels 0.97 at one and 1.07 at four.
TOGETHER = 2


def inject(
    backbone: Backbone,
    x: Tensor,
    b: Bottleneck,
    t: int,
    edit: Edit,
    eps: Tensor | None = None,
    needs_d: bool = True,
) -> tuple[Tensor, Bottleneck, Tensor, Tensor]:
    """An edited step's x ``[B, C, s, s]``, unedited bottleneck, eps for D_t and eps for P_t.

    Args:
        backbone: the frozen denoiser.
        x: x_t.
        b: ``backbone.encode(x, t)``.
        t: the timestep.
        edit: what to put in.
        eps: ``backbone.decode(b)``, where it is known: saves an asymmetric edit that decode.
        needs_d: whether D_t counts; else an asymmetric edit's eps for it is that for P_t, and not
            decoded either.
    """
    if isinstance(edit.direction, Boundary):
        x, b, edited = edit.direction.cross(backbone, x, b, t, edit.strength)
        eps = backbone.decode(edited)
        return x, b, eps, eps
    space = edit.direction.space
    if space == "x":
        x = x + edit.change(b, x, t)
        b = backbone.encode(x, t)
        eps = backbone.decode(b)
        return x, b, eps, eps
    asymmetric = edit.injection in ("asymmetric", "slerp")
    if space == "eps":
        eps = backbone.decode(b) if eps is None else eps
        changed = eps + edit.change(b, x, t)
        return x, b, eps if asymmetric else changed, changed
    edited = b._replace(h=edit.h(b, x, t))
    if asymmetric and eps is None and needs_d:
        return x, b, *decode_both(backbone, b, edited)
    eps_p = backbone.decode(edited)
    return x, b, eps if asymmetric and eps is not None else eps_p, eps_p


def decode_both(backbone: Backbone, b: Bottleneck, edited: Bottleneck) -> tuple[Tensor, Tensor]:
    """The eps ``[B, C, s, s]`` of a bottleneck and of the same with another h.

    As one batch of 2 B where it pays: on a CPU, up to `TOGETHER` images (experiments/speed); never
    with gradients, since the unedited half would keep its activations, too.
    """
    few = b.h.device.type != "cpu" or len(b.h) <= TOGETHER
    if not few or (torch.is_grad_enabled() and edited.h.requires_grad):
        return backbone.decode(b), backbone.decode(edited)
    both = Bottleneck(
        torch.cat([b.h, edited.h]),
        torch.cat([b.temb, b.temb]),
        tuple(torch.cat([skip, skip]) for skip in b.skips),
    )
    eps, eps_p = backbone.decode(both).chunk(2)
    return eps, eps_p
