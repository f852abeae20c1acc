"""Captions of ToyFaces, and the texts that name its attributes.

A caption names a random subset of attributes in random order, present or absent: "a picture of
a smiling face with eyeglasses without a hat", "a pale person", "face".
"""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from hsl.data.toyfaces.factors import ATTRIBUTES

#: Sentences around a noun phrase, in training and for directions between texts.
TEMPLATES = (
    "a {}", "the {}", "a picture of a {}", "a photo of the {}", "this is a {}",
    "this is a photo of a {}",
)  # fmt: skip
NOUNS = ("face", "person")
#: How often a caption names 0, 1, 2, ... attributes. Short captions say most about each word.
HOW_MANY = (0.06, 0.40, 0.28, 0.16, 0.10)


class Wording(NamedTuple):
    """How an attribute is said: adjectives before the noun, clauses after it, and the sentence
    of `ZERO_SHOT`; ``present`` and ``absent`` forms."""

    adjectives: tuple[str, str]
    present: tuple[str, ...]
    absent: tuple[str, ...]
    predicates: tuple[str, str]


def _has(thing: str, worn: bool = False, adjective: str = "") -> Wording:
    """The wording of a thing: "with a hat", "that has no hat"."""
    bare = re.sub(r"^an? ", "", thing)
    present = [f"with {thing}", f"that has {thing}"] + [f"wearing {thing}"] * worn
    absent = [f"without {thing}", f"with no {bare}", f"that has no {bare}"]
    absent += [f"wearing no {bare}"] * worn
    return Wording((adjective, ""), (*present,), (*absent,), (f"has {thing}", f"has no {bare}"))


def _is(adjective: str, opposite: str = "", clauses: tuple[str, str] | None = None) -> Wording:
    """The wording of a quality: "a young face", "a person that is not young"."""
    present, absent = [f"that is {adjective}"], [f"that is not {adjective}"]
    if opposite:
        absent.append(f"that is {opposite}")
    if clauses:
        present.append(clauses[0])
        absent.append(clauses[1])
    predicates = (f"is {adjective}", f"is {opposite or 'not ' + adjective}")
    return Wording((adjective, opposite), (*present,), (*absent,), predicates)


_WORDINGS: dict[str, Wording] = {
    "Male": _is("male", "female"),
    "Young": _is("young", "old"),
    "Smiling": _is("smiling", clauses=("with a smile", "without a smile")),
    "Mouth_Slightly_Open": Wording(
        ("", ""),
        ("with an open mouth", "that has an open mouth"),
        ("with a closed mouth", "that has a closed mouth", "without an open mouth"),
        ("has an open mouth", "has a closed mouth"),
    ),
    "Eyeglasses": _has("eyeglasses", worn=True),
    "Wearing_Hat": _has("a hat", worn=True),
    "Goatee": _has("a goatee"),
    "Wearing_Lipstick": _has("lipstick", worn=True),
    "Bangs": _has("bangs"),
    "Bald": _is("bald", clauses=("with a bald head", "with hair")),
    "Black_Hair": _has("black hair"),
    "Brown_Hair": _has("brown hair"),
    "Blond_Hair": _has("blond hair"),
    "Gray_Hair": _has("gray hair"),
    "Rosy_Cheeks": _has("rosy cheeks"),
    "Pale_Skin": _has("pale skin", adjective="pale"),
    "Bushy_Eyebrows": _has("bushy eyebrows"),
    "Wearing_Necktie": _has("a necktie", worn=True),
    "Heavy_Makeup": _has("heavy makeup", worn=True),
    "Wearing_Earrings": _has("earrings", worn=True),
    "Mustache": _has("a mustache"),
    "Face_Paint": _has("face paint", worn=True),
}

#: Source and target text of the edit that adds each attribute. Their bare cosine is positive.
TEXTS: dict[str, tuple[str, str]] = {
    name: ("face", f"{w.adjectives[0]} face" if w.adjectives[0] else f"face {w.present[0]}")
    for name, w in _WORDINGS.items()
}
#: The same of the edit that takes each away, under ``Not_`` and its name.
OPPOSITE_TEXTS: dict[str, tuple[str, str]] = {
    f"Not_{name}": ("face", f"{w.adjectives[1]} face" if w.adjectives[1] else f"face {w.absent[0]}")
    for name, w in _WORDINGS.items()
}
#: Prompts (present, absent) by which a CLIP is measured: sentences that no caption has.
ZERO_SHOT: dict[str, tuple[str, str]] = {
    name: (f"the person in this picture {w.predicates[0]}",
           f"the person in this picture {w.predicates[1]}")
    for name, w in _WORDINGS.items()
}  # fmt: skip


class Captions(NamedTuple):
    """Texts and what they claim: ``present`` and ``absent [N, 22]`` float in {0, 1}, columns
    ``ATTRIBUTES``."""

    texts: list[str]
    present: Tensor
    absent: Tensor

    def fit(self, labels: Tensor) -> Tensor:
        """Whether each of M images with ``labels [M, 22]`` is as each caption says: bool
        ``[M, N]``."""
        return (1 - labels) @ self.present.T + labels @ self.absent.T == 0


def caption(labels: Tensor, rng: torch.Generator, at_most: int = len(HOW_MANY) - 1) -> Captions:
    """One true caption for each image with ``labels [N, 22]`` (see `factors.labels`), which names
    ``at_most`` so many attributes."""
    odds = torch.tensor(HOW_MANY[: at_most + 1])
    counts = torch.multinomial(odds, len(labels), True, generator=rng).tolist()
    texts, mentioned = [], torch.zeros(len(labels), len(ATTRIBUTES))
    for i, (row, count) in enumerate(zip(labels, counts, strict=True)):
        chosen = torch.randperm(len(ATTRIBUTES), generator=rng)[:count].tolist()
        mentioned[i, chosen] = 1
        texts.append(_sentence({ATTRIBUTES[c]: bool(row[c]) for c in chosen}, rng))
    return Captions(texts, mentioned * labels, mentioned * (1 - labels))


def words(texts: list[str]) -> set[str]:
    """The words and signs of texts, in lower case."""
    return {word for text in texts for word in re.findall(r"[a-z]+|[^\sa-z]", text.lower())}


def vocabulary() -> tuple[str, ...]:
    """Every word that captions, `TEXTS`, `TEMPLATES` and `ZERO_SHOT` use, sorted."""
    texts = [*TEMPLATES, *NOUNS, "an and ,", *(t for pair in ZERO_SHOT.values() for t in pair)]
    for wording in _WORDINGS.values():
        texts += [*wording.adjectives, *wording.present, *wording.absent]
    return tuple(sorted(words([text.replace("{}", "") for text in texts])))


def _sentence(claims: dict[str, bool], rng: torch.Generator) -> str:
    """A caption that makes the claims in their order, adjectives first."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(torch.randint(len(options), (), generator=rng))]

    adjectives, clauses = [], []
    for name, present in claims.items():
        wording = _WORDINGS[name]
        adjective = wording.adjectives[0 if present else 1]
        if adjective and pick(("before", "after")) == "before":
            adjectives.append(adjective)
        else:
            clauses.append(pick(wording.present if present else wording.absent))
    tail = pick((" ", " and ", ", ")).join(clauses)
    phrase = " ".join([*adjectives, pick(NOUNS), *([tail] if tail else [])])
    return re.sub(r"\ba(?= [aeiou])", "an", pick(("{}", *TEMPLATES)).format(phrase))
