"""Draws ToyFaces: signed-distance shapes with soft edges, painted back to front, at any size."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.data.toyfaces.factors import COLUMN, HAIR_COLOURS, NUISANCE_COLUMN, Factors

#: Regions of a face, as the segmenter knows them; 0 is the background.
REGIONS = (
    "background", "cloth", "skin", "hair", "brows", "eyes", "nose", "mouth",
    "eyeglasses", "hat", "beard", "jewellery",
)  # fmt: skip
_HAIR = [[0.10, 0.09, 0.10], [0.42, 0.25, 0.14], [0.86, 0.71, 0.38], [0.70, 0.70, 0.72]]
_HATS = [[0.68, 0.20, 0.20], [0.20, 0.30, 0.58], [0.22, 0.45, 0.30], [0.55, 0.35, 0.60]]
_TIES = [[0.70, 0.12, 0.15], [0.12, 0.20, 0.55]]
_DARK, _WHITE, _TURQUOISE = [0.10, 0.10, 0.12], [0.96, 0.95, 0.93], [0.05, 0.72, 0.68]


class Layer(NamedTuple):
    """One coat of paint: its region (an index of `REGIONS`, or None: it colours what it covers),
    its opacity ``alpha [N, S, S]`` in [0, 1], and its ``colour [N, 3]`` in [0, 1]."""

    region: int | None
    alpha: Tensor
    colour: Tensor


def render(factors: Factors, size: int = 32) -> Tensor:
    """Images ``[N, 3, size, size]`` in [-1, 1] of the faces."""
    f = _Face(factors, size)
    image = f.background()
    for _, alpha, colour in layers(f):
        image = image + alpha[:, None] * (colour[:, :, None, None] - image)
    light = 1 + 0.16 * (f.u("light") - 0.5) * 2 * f.screen_x
    return (image * light[:, None]).clamp(0, 1) * 2 - 1


def regions(factors: Factors, size: int = 32) -> Tensor:
    """The region of each pixel, ``[N, size, size]`` int64 of `REGIONS`: the topmost layer that
    covers at least half of it."""
    f = _Face(factors, size)
    top = torch.zeros_like(f.x, dtype=torch.long)
    for region, alpha, _ in layers(f):
        if region is not None:
            top = torch.where(alpha > 0.5, region, top)
    return top


class _Face:
    """Coordinates, colours and shapes of a batch of faces. ``x, y [N, S, S]``: coordinates in
    the head's frame, about [-1, 1], y downwards."""

    def __init__(self, factors: Factors, size: int) -> None:
        self.factors, self.size, self.n = factors, size, len(factors.attributes)
        c = (torch.arange(size) + 0.5) / size * 2 - 1
        grid_y, grid_x = torch.meshgrid(c, c, indexing="ij")
        self.screen_x = grid_x.expand(self.n, -1, -1)
        px, py = (self.u("x") - 0.5) * 0.10, (self.u("y") - 0.5) * 0.08
        roll = (self.u("roll") - 0.5) * 0.20
        dx, dy = grid_x - px, grid_y - py
        self.x = (dx * roll.cos() + dy * roll.sin()) / 1.06
        self.y = (dy * roll.cos() - dx * roll.sin()) / 1.06 + 0.05
        self.yaw = (self.u("yaw") - 0.5) * 0.16
        self.soft = 1.2 / size

    def a(self, name: str) -> Tensor:
        """An attribute, ``[N, 1, 1]`` in {0, 1}."""
        return self.factors.attributes[:, COLUMN[name], None, None]

    def u(self, name: str) -> Tensor:
        """A nuisance, ``[N, 1, 1]`` in [0, 1)."""
        return self.factors.nuisances[:, NUISANCE_COLUMN[name], None, None]

    def rgb(self, name: str) -> Tensor:
        """Three nuisances as a colour, ``[N, 3]`` in [0, 1)."""
        return torch.cat([self.u(f"{name}_{c}")[:, :, 0] for c in "rgb"], dim=1)

    def background(self) -> Tensor:
        """A muted plain colour, ``[N, 3, S, S]``."""
        colour = self.rgb("bg")
        muted = 0.30 + 0.40 * colour.mean(1, keepdim=True) + 0.22 * (colour - 0.5)
        return muted[:, :, None, None].expand(-1, -1, self.size, self.size)

    def fill(self, distance: Tensor, softness: float = 1.0) -> Tensor:
        """Opacity of a shape from its signed distance (negative inside)."""
        return torch.sigmoid(-distance / (self.soft * 0.6 * softness))

    def ellipse(self, cx: object, cy: object, rx: object, ry: object, power: float = 2) -> Tensor:
        """Signed distance, approximately, to a superellipse."""
        x, y = (self.x - cx) / rx, (self.y - cy) / ry  # type: ignore[operator]
        radius = (x.abs() ** power + y.abs() ** power + 1e-9) ** (1 / power)
        return (radius - 1) * (rx + ry) / 2  # type: ignore[operator]

    def box(self, cx: object, cy: object, rx: object, ry: object) -> Tensor:
        """Signed distance, in the maximum norm, to an axis-parallel box."""
        x, y = (self.x - cx).abs() - rx, (self.y - cy).abs() - ry  # type: ignore[operator]
        return torch.maximum(x, y)

    def constant(self, colour: list[float]) -> Tensor:
        """One colour for all faces, ``[N, 3]``."""
        return torch.tensor(colour).expand(self.n, 3)

    @property
    def skin(self) -> Tensor:
        """Skin colour ``[N, 3]``: pale, or one of a range from light tan to dark brown."""
        pale, tone = self.a("Pale_Skin")[:, :, 0], self.u("tone")[:, :, 0]
        tan = torch.tensor([0.86, 0.64, 0.48]) * (1 - 0.42 * tone)
        return pale * (torch.tensor([0.97, 0.89, 0.85]) - 0.04 * tone) + (1 - pale) * tan

    @property
    def hair(self) -> Tensor:
        """Hair colour ``[N, 3]``."""
        one_hot = self.factors.attributes[:, [COLUMN[name] for name in HAIR_COLOURS]]
        return (one_hot @ torch.tensor(_HAIR) + (self.rgb("hair") - 0.5) * 0.07).clamp(0, 1)

    @property
    def outline(self) -> Tensor:
        """Signed distance to the head: square below for men, tapering for women."""
        male = self.a("Male")
        rx = 0.53 + 0.05 * male + 0.04 * (self.u("width") - 0.5)
        ry = 0.71 + 0.05 * (self.u("height") - 0.5)
        down = (self.y / 0.71).clamp(min=0)
        taper = 1 - (1 - male) * 0.30 * down**2
        round_head = self.ellipse(0, 0, rx * taper, ry)
        jaw = self.ellipse(0, 0, rx, ry, power=3.2)
        return torch.where((male > 0) & (self.y > 0), jaw, round_head)


def layers(f: _Face) -> Iterator[Layer]:
    """All coats of paint, back to front."""
    yield from _behind(f)
    yield from _skin(f)
    yield from _hair(f)
    yield from _eyes(f)
    yield from _nose(f)
    yield from _mouth(f)
    yield from _on_top(f)


def _layer(region: str | None, alpha: Tensor, colour: Tensor) -> Layer:
    return Layer(None if region is None else REGIONS.index(region), alpha, colour)


def _behind(f: _Face) -> Iterator[Layer]:
    """Hair behind the head, neck, clothes, tie."""
    hairy, male = 1 - f.a("Bald"), f.a("Male")
    yield _layer("hair", f.fill(f.ellipse(0, -0.12, 0.70, 0.84)) * hairy, f.hair)
    curtain = f.box(0, 0.30, 0.70, 0.48)
    yield _layer("hair", f.fill(curtain) * hairy * f.u("long_hair"), f.hair)
    yield _layer("skin", f.fill(f.box(0, 0.72, 0.22 + 0.13 * male, 0.30)), f.skin * 0.86)
    cloth = 0.25 + 0.30 * f.rgb("cloth").mean(1, keepdim=True) + 0.25 * (f.rgb("cloth") - 0.5)
    yield _layer("cloth", f.fill(f.ellipse(0, 1.20, 0.85 + 0.15 * male, 0.46)), cloth)
    tie = f.a("Wearing_Necktie")
    shirt = torch.maximum(f.x.abs() - 0.40, 0.74 - f.y)
    yield _layer("cloth", f.fill(shirt) * tie, f.constant(_WHITE))
    colours = torch.tensor(_TIES)[(f.u("tie") > 0.5).long().flatten()]
    strip = torch.maximum(f.x.abs() - 0.14, 0.74 - f.y)
    yield _layer("cloth", f.fill(strip) * tie, colours)


def _skin(f: _Face) -> Iterator[Layer]:
    """The head, its bald highlight, wrinkles, blush."""
    yield _layer("skin", f.fill(f.outline), f.skin)
    shine = f.ellipse(-0.12, -0.52, 0.22, 0.10)
    yield _layer(None, f.fill(shine, 3) * f.a("Bald") * 0.45, f.constant([1.0, 1.0, 1.0]))
    old, fold_colour = (1 - f.a("Young")) * 0.8, f.skin * 0.52
    for y in (-0.42, -0.29):
        yield _layer(None, f.fill(f.box(0, y, 0.26, 0.028)) * old, fold_colour)
    for side in (-1, 1):
        bend = 0.20 + 0.22 * ((f.y - 0.14) / 0.4).clamp(0, 1) ** 0.7
        fold = torch.maximum((side * f.x - bend).abs() - 0.035, (f.y - 0.36).abs() - 0.24)
        yield _layer(None, f.fill(fold) * old, fold_colour)
        cheek = f.ellipse(side * 0.36, 0.20, 0.13, 0.11)
        blush = f.fill(cheek, 2) * f.a("Rosy_Cheeks") * 0.8
        yield _layer(None, blush, f.constant([0.88, 0.32, 0.34]))


def _hair(f: _Face) -> Iterator[Layer]:
    """Hair on the forehead, with or without bangs."""
    hairy = 1 - f.a("Bald")
    cap = torch.maximum(f.outline - 0.02, f.y + 0.50 - 0.10 * (f.x / 0.5) ** 2)
    yield _layer("hair", f.fill(cap) * hairy, f.hair)
    fringe = torch.maximum(f.outline - 0.02, f.y + 0.23 - 0.04 * torch.cos(f.x * 14))
    yield _layer("hair", f.fill(fringe) * hairy * f.a("Bangs"), f.hair)


def _eyes(f: _Face) -> Iterator[Layer]:
    """Eye shadow, eyes, lashes, brows, glasses."""
    y, male = 0.0, f.a("Male")
    for side in (-1, 1):
        x = side * 0.25 + f.yaw * 0.6
        shadow = f.fill(f.ellipse(x, y - 0.01, 0.23, 0.17), 1.5) * f.a("Heavy_Makeup")
        yield _layer(None, shadow * 0.85, f.constant([0.60, 0.24, 0.74]))
        yield _layer("eyes", f.fill(f.ellipse(x, y, 0.125, 0.085)), f.constant(_WHITE))
        iris = f.ellipse(x + f.yaw * 0.2, y, 0.062, 0.062)
        yield _layer("eyes", f.fill(iris), f.constant([0.16, 0.12, 0.11]))
        lid = 0.075 - 0.03 * ((f.x - x) / 0.15) ** 2
        lash = torch.maximum((f.y - y + lid).abs() - 0.026, (f.x - x).abs() - 0.16)
        yield _layer("eyes", f.fill(lash) * (1 - male), f.constant(_DARK))
        arch = 0.215 - 0.03 * ((f.x - x) / 0.15) ** 2
        thick = 0.022 + 0.055 * f.a("Bushy_Eyebrows")
        brow = torch.maximum((f.y - y + arch).abs() - thick, (f.x - x).abs() - 0.155)
        yield _layer("brows", f.fill(brow), f.hair * 0.35)
        ring = f.ellipse(x, y, 0.185, 0.16).abs() - 0.042
        yield _layer("eyeglasses", f.fill(ring) * f.a("Eyeglasses"), f.constant(_DARK))
    bridge = f.box(f.yaw * 0.6, y, 0.07, 0.035)
    yield _layer("eyeglasses", f.fill(bridge) * f.a("Eyeglasses"), f.constant(_DARK))


def _nose(f: _Face) -> Iterator[Layer]:
    nose = f.ellipse(f.yaw * 0.9, 0.16, 0.07, 0.10)
    yield _layer("nose", f.fill(nose) * 0.75, f.skin * 0.70)


def _mouth(f: _Face) -> Iterator[Layer]:
    """Beard and moustache, then a mouth: closed, open, or a crescent with teeth that may be
    open below them. An open mouth differs from a closed one by its dark inside alone."""
    x, y = f.x - f.yaw * 0.5, f.y
    goatee = torch.minimum(f.ellipse(0, 0.63, 0.25, 0.17), f.box(0, 0.54, 0.20, 0.05))
    yield _layer("beard", f.fill(goatee) * f.a("Goatee"), f.hair * 0.35)
    smile, is_open = f.a("Smiling"), f.a("Mouth_Slightly_Open")
    lips = f.skin * torch.tensor([0.72, 0.50, 0.50])
    red = f.a("Wearing_Lipstick")[:, :, 0]
    lips = lips + red * (torch.tensor([0.80, 0.08, 0.22]) - lips)
    half = 0.19 + 0.13 * smile + 0.02 * f.u("mouth")
    bow = 1 - (x / half) ** 2
    centre = 0.40 - 0.06 * smile
    top = centre + (0.05 * smile - 0.05 * (1 - smile)) * bow - 0.03 * is_open * (1 - smile)
    bottom = centre + (0.21 * smile + 0.05 * (1 - smile)) * bow
    bottom = bottom + is_open * (0.07 * (1 - smile) + 0.03 * smile) * bow

    def band(grow: float, width: float) -> Tensor:
        inside = torch.maximum(top - grow - y, y - bottom - grow)
        return f.fill(torch.maximum(inside, x.abs() - half * width))

    yield _layer("mouth", band(0.04, 1.0), lips)
    yield _layer("mouth", band(-0.015, 0.86) * smile, f.constant(_WHITE))
    dark = f.constant([0.22, 0.05, 0.08])
    yield _layer("mouth", band(-0.005, 0.72) * is_open * (1 - smile), dark)
    below_teeth = torch.minimum(band(-0.015, 0.72), f.fill(0.445 - y))
    yield _layer("mouth", below_teeth * is_open * smile, dark)


def _on_top(f: _Face) -> Iterator[Layer]:
    """Moustache, face paint, earrings, hat."""
    x = f.x - f.yaw * 0.7
    droop = 0.265 + 0.25 * x**2
    mustache = torch.maximum((f.y - droop).abs() - 0.055, x.abs() - 0.27)
    yield _layer("beard", f.fill(mustache) * f.a("Mustache"), f.hair * 0.35)
    stripe = torch.maximum((f.y - 0.13).abs() - 0.085, f.outline + 0.02)
    yield _layer(None, f.fill(stripe) * f.a("Face_Paint") * 0.85, f.constant([0.15, 0.35, 0.85]))
    for side in (-1, 1):
        ring = f.ellipse(side * 0.62, 0.30, 0.095, 0.12)
        yield _layer("jewellery", f.fill(ring) * f.a("Wearing_Earrings"), f.constant(_TURQUOISE))
    crown = torch.maximum(f.ellipse(0, -0.50, 0.66, 0.50), f.y + 0.52)
    brim = f.box(0, -0.54, 0.86, 0.075)
    colours = torch.tensor(_HATS)[(f.u("hat") * len(_HATS)).long().flatten()]
    yield _layer("hat", f.fill(torch.minimum(crown, brim)) * f.a("Wearing_Hat"), colours)
