"""How much of what a job does: counted while it runs, by formula, and in FLOPs."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hsl.backbones import Backbone
from hsl.directions import ImplicitFunction
from hsl.encoders.clip import Clip
from hsl.losses import DirectionalClipLoss

UNET = ("encode", "edited decode", "unedited decode", "backward decode")
TERMS = (*UNET, "f_t", "backward f_t", "CLIP", "backward CLIP")
Work = dict[str, float]  # a figure for each of TERMS, per image


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts images through the U-Net's halves, f_t and CLIP, and those with gradients."""
    seen: Counter[str] = Counter()
    places: tuple[tuple[Any, str, str], ...] = (
        (Backbone, "encode", "encode"),
        (Backbone, "output", "decode"),
        (ImplicitFunction, "forward", "f_t"),
        (Clip, "encode_image", "CLIP"),
    )
    originals = [getattr(owner, name) for owner, name, _ in places]

    def wrapped(original: Callable[..., Any], term: str) -> Callable[..., Any]:
        def call(self: Any, first: Any, *rest: Any) -> Any:
            out = original(self, first, *rest)
            result = out if isinstance(out, Tensor) else out.h
            seen[term] += len(result)
            seen[f"backward {term}"] += len(result) * result.requires_grad
            return out

        return call

    for (owner, name, term), original in zip(places, originals, strict=True):
        setattr(owner, name, wrapped(original, term))
    try:
        yield seen
    finally:
        for (owner, name, _), original in zip(places, originals, strict=True):
            setattr(owner, name, original)


@dataclass(frozen=True)
class Plan:
    """What is to be done: ``steps`` of the grid, ``down`` of them from T down to t_edit, ``edited``
    of them edited, the last ``edited_last`` or not; training in ``epochs``."""

    steps: int
    down: int
    edited: int
    epochs: int = 5

    def train(self, how: str) -> Work:
        """Of one image, over all epochs, with its precompute; ``how``: hsl, plain, official."""
        n, s, k, e = self.steps, self.down, self.edited, self.epochs
        if how == "hsl":  # inversion and trajectory once; the first eps known, the last unused
            encode, unedited, clip = n + s + e * k, n + s + e * max(k - 2, 0), 1 + e * k
        elif how == "plain":
            encode, unedited, clip = e * (n + s + 2 * k), e * (n + s + k), e * (1 + k)
        else:  # facts of the released code: inversion, reconstruction; (E + 2 D) + (E + D) a step
            encode, unedited, clip = 2 * n - 1 + e * 2 * k, 2 * n - 1 + e * 2 * k, e * 2 * k
        return _work(encode, e * k, unedited, e * k, e * k, e * k, clip, e * k)

    def invert(self, how: str) -> Work:
        """Of one image. The released code also reconstructs every image that it inverts."""
        passes = 2 * self.steps - 1 if how == "official" else self.steps
        return _work(passes, 0, passes)

    def edit(self, how: str) -> Work:
        """Of one image, from x_T. Below t_edit the others decode twice, too."""
        n, k = self.steps, self.edited
        decodes = k if how == "hsl" else n
        return _work(2 * n if how == "plain" else n, decodes, n, 0, k)


def _work(*figures: float) -> Work:
    return dict(zip(TERMS, (*figures, *[0.0] * (len(TERMS) - len(figures))), strict=True))


def agrees(seen: Counter[str], images: int, work: Work) -> bool:
    """Whether what was counted over ``images`` is what a formula says."""
    wanted = {
        "encode": work["encode"],
        "decode": work["edited decode"] + work["unedited decode"],
        "backward decode": work["backward decode"],
        "f_t": work["f_t"],
        "CLIP": work["CLIP"],
    }
    return all(seen[term] == images * n for term, n in wanted.items())


def flops(work: Work, units: Work, terms: tuple[str, ...] = TERMS) -> float:
    """FLOPs of some terms."""
    return sum(work[term] * units[term] for term in terms)


def units(backbone: Backbone, loss: DirectionalClipLoss | None = None) -> Work:
    """FLOPs of each term for one image, on the backbone's device (meta computes nothing); a
    multiplication and an addition are two. Without ``loss``, CLIP is left out."""
    device = backbone.device
    x = torch.zeros(1, *backbone.x_shape, device=device)
    with torch.no_grad():
        b, encode = measured(lambda: backbone.encode(x, 500))
        eps, unedited = measured(lambda: backbone.decode(b))
    temb = int(b.temb.shape[1])
    f = ImplicitFunction(b.h.shape[1], temb, family=backbone.family).to(device)
    delta, f_t = measured(lambda: f(b, x, 500))
    h = b.h.clone().requires_grad_()
    eps, edited = measured(lambda: backbone.decode(b._replace(h=h)))
    _, backward = measured(lambda: eps.sum().backward())
    _, backward_f = measured(lambda: delta.sum().backward())
    clip = backward_clip = 0.0
    if loss is not None:
        image = backbone.image(x).clone().requires_grad_()
        features, clip = measured(lambda: loss.features(image))
        _, backward_clip = measured(lambda: features.sum().backward())
    return _work(encode, edited, unedited, backward, f_t, backward_f, clip, backward_clip)


def measured(function: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and its FLOPs by PyTorch's counter: products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        out = function()
    return out, float(counter.get_total_flops())
