"""The factors of a ToyFaces image: attributes that have a name, and what varies without one.

Factors are drawn per index from a counter-based generator, so face ``i`` of a seed is the same
face whatever the size of the data set, the batch or the number of workers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

HAIR_COLOURS = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair")
#: Attributes that occur in the training data of the bundled diffusion model (CelebA's column names).
SEEN = (
    "Male", "Young", "Smiling", "Mouth_Slightly_Open", "Eyeglasses", "Wearing_Hat", "Goatee",
    "Wearing_Lipstick", "Bangs", "Bald", *HAIR_COLOURS, "Rosy_Cheeks", "Pale_Skin",
    "Bushy_Eyebrows", "Wearing_Necktie", "Heavy_Makeup", "Wearing_Earrings",
)  # fmt: skip
#: Attributes that the diffusion model never saw: the papers' unseen-domain edits.
UNSEEN = ("Mustache", "Face_Paint")
ATTRIBUTES = SEEN + UNSEEN
#: What varies without a name, each uniform in [0, 1).
NUISANCES = (
    "x", "y", "roll", "yaw", "width", "height", "tone", "hair_r", "hair_g", "hair_b", "long_hair",
    "bg_r", "bg_g", "bg_b", "cloth_r", "cloth_g", "cloth_b", "hat", "tie", "light", "mouth",
)  # fmt: skip
COLUMN = {name: i for i, name in enumerate(ATTRIBUTES)}
NUISANCE_COLUMN = {name: i for i, name in enumerate(NUISANCES)}

#: Attributes that exclude one another by definition: at most one of a group can be present.
EXCLUSIVE = (frozenset(HAIR_COLOURS), *(frozenset({"Bald", c}) for c in (*HAIR_COLOURS, "Bangs")))
#: Attributes whose part another one redraws: a smile is a mouth, so whether it is open changes.
REDRAWS: dict[str, frozenset[str]] = {
    "Smiling": frozenset({"Mouth_Slightly_Open"}),
    "Mouth_Slightly_Open": frozenset({"Smiling"}),
}
#: Worlds (seeds) by what they are for. Frozen with the renderer: every shipped model and figure
#: depends on them. Guides and judges learn from faces of their own.
WORLDS = {"train": 101, "validation": 102, "test": 103, "guide": 201, "judge": 301}
_BLOCK = 1024


class Factors(NamedTuple):
    """Faces as numbers. ``attributes [N, 22]`` float in {0, 1}, columns ``ATTRIBUTES``: what is
    drawn (a bald face keeps the hair colour it would have; `labels` hides it); ``nuisances
    [N, 21]`` float in [0, 1), columns ``NUISANCES``."""

    attributes: Tensor
    nuisances: Tensor

    def __getitem__(self, rows: object) -> "Factors":  # type: ignore[override]
        """Select faces, as indexing a tensor's first dimension does."""
        return Factors(self.attributes[rows], self.nuisances[rows])  # type: ignore[index]


def excluded_by(name: str) -> frozenset[str]:
    """Attributes that cannot be compared before and after an edit of ``name``: excluded by
    definition (another hair colour) or drawn by the same part (`REDRAWS`)."""
    groups = (group for group in EXCLUSIVE if name in group)
    return frozenset().union(*groups, REDRAWS.get(name, ())) - {name}


def sample(indices: Sequence[int] | Tensor, seed: int, unseen: bool = False) -> Factors:
    """Draw the factors of faces ``indices`` of the world ``seed``.

    Dependencies have the signs they have in CelebA, yet any two seen attributes that can occur
    together do so in all four combinations in at least 0.5% of faces. ``unseen=True`` lets the
    two unseen attributes occur too (30% each); they are absent otherwise.
    """
    u = _uniforms(torch.as_tensor(indices, dtype=torch.long), seed)
    a: dict[str, Tensor] = {}
    draws = iter(u.unbind(1))

    def draw(name: str, p: Tensor | float) -> None:
        a[name] = (next(draws) < p).float()

    draw("Male", 0.45)
    male, female = a["Male"], 1 - a["Male"]
    draw("Young", 0.72 - 0.1 * male)
    old = 1 - a["Young"]
    draw("Smiling", 0.38 + 0.14 * female)
    draw("Mouth_Slightly_Open", 0.25 + 0.3 * a["Smiling"])
    draw("Eyeglasses", 0.12 + 0.1 * male + 0.2 * old)
    draw("Wearing_Hat", 0.10 + 0.1 * male)
    draw("Goatee", 0.03 + 0.27 * male)
    draw("Wearing_Lipstick", 0.10 + 0.55 * female)
    draw("Bangs", 0.14 + 0.2 * female)
    draw("Bald", 0.04 + 0.10 * male + 0.12 * male * old)
    hair = _hair(next(draws), male, old)
    a |= {name: (hair == k).float() for k, name in enumerate(HAIR_COLOURS)}
    draw("Heavy_Makeup", 0.08 + 0.2 * female + 0.25 * female * a["Wearing_Lipstick"])
    draw("Rosy_Cheeks", 0.10 + 0.15 * female + 0.15 * a["Heavy_Makeup"])
    draw("Pale_Skin", 0.18 + 0.08 * female)
    draw("Bushy_Eyebrows", 0.12 + 0.26 * male)
    draw("Wearing_Necktie", 0.06 + 0.2 * male + 0.1 * male * old)
    draw("Wearing_Earrings", 0.08 + 0.28 * female)
    for name in UNSEEN:
        draw(name, 0.3 if unseen else 0.0)
    draw("long_hair", 0.12 + 0.7 * female)
    long_hair = a.pop("long_hair")
    nuisances = u[:, -len(NUISANCES) :].clone()
    nuisances[:, NUISANCE_COLUMN["long_hair"]] = long_hair
    return Factors(torch.stack([a[name] for name in ATTRIBUTES], dim=1), nuisances)


def labels(factors: Factors) -> Tensor:
    """What can be seen, ``[N, 22]`` float in {0, 1}: a bald face has no hair colour, no bangs."""
    a = factors.attributes.clone()
    hidden = [COLUMN[name] for name in (*HAIR_COLOURS, "Bangs")]
    a[:, hidden] *= 1 - a[:, [COLUMN["Bald"]]]
    return a


def counterfactual(factors: Factors, **attributes: int) -> Factors:
    """The same faces with ``attributes`` set to 0 or 1, and nothing else changed but what they
    exclude by definition. ``counterfactual(f, Smiling=1)``: the same person, smiling.

    A hair colour set to 1 replaces the others and baldness; set to 0 it gives way to brown
    (brown to black). Bangs set to 1 end baldness.

    Raises:
        ValueError: an unknown attribute, or a value other than 0 and 1.
    """
    a = factors.attributes.clone()
    for name, value in attributes.items():
        if name not in COLUMN or value not in (0, 1):
            raise ValueError(f"{name}={value}: want 0 or 1 for one of {', '.join(ATTRIBUTES)}")
        if name in HAIR_COLOURS:
            other = "Black_Hair" if name == "Brown_Hair" else "Brown_Hair"
            had = a[:, COLUMN[name]].bool()
            chosen = torch.where(had | bool(value), COLUMN[name if value else other], -1)
            for colour in HAIR_COLOURS:
                column = a[:, COLUMN[colour]]
                a[:, COLUMN[colour]] = torch.where(chosen < 0, column, chosen == COLUMN[colour])
        else:
            a[:, COLUMN[name]] = float(value)
        if value and name in (*HAIR_COLOURS, "Bangs"):
            a[:, COLUMN["Bald"]] = 0
    return Factors(a, factors.nuisances)


def _hair(u: Tensor, male: Tensor, old: Tensor) -> Tensor:
    """Hair colour as an index of ``HAIR_COLOURS``, from u in [0, 1)."""
    gray = 0.06 + 0.5 * old
    blond = (1 - gray) * (0.34 - 0.18 * male)
    brown = (1 - gray) * 0.30
    return 3 - (u >= gray).long() - (u >= gray + blond).long() - (u >= gray + blond + brown).long()


def _uniforms(indices: Tensor, seed: int) -> Tensor:
    """Uniforms in [0, 1) of each index: ``[N, 41]``, a function of (seed, index) alone."""
    width = len(ATTRIBUTES) - len(HAIR_COLOURS) + 2 + len(NUISANCES)
    out = torch.empty(len(indices), width)
    blocks = indices // _BLOCK
    for block in blocks.unique().tolist():
        rng = np.random.Generator(np.random.Philox(key=[seed, block]))
        values = torch.from_numpy(rng.random((_BLOCK, width), dtype=np.float32))
        here = blocks == block
        out[here] = values[indices[here] % _BLOCK]
    return out
