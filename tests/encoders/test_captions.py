"""Captions are true, and the zero-shot prompts are not among them."""

import torch

from hsl.data.toyfaces.captions import TEMPLATES, TEXTS, ZERO_SHOT, caption, vocabulary, words
from hsl.data.toyfaces.factors import ATTRIBUTES, labels, sample


def test_a_caption_fits_its_own_image() -> None:
    truth = labels(sample(range(500), 9, unseen=True))
    said = caption(truth, torch.Generator().manual_seed(0))
    fits = said.fit(truth)
    assert fits.diag().all()
    assert 0.2 < fits.float().mean() < 0.7
    assert not (said.present * said.absent).any()


def test_captions_say_presence_absence_and_nothing() -> None:
    truth = labels(sample(range(2000), 9, unseen=True))
    said = caption(truth, torch.Generator().manual_seed(0))
    assert (said.present.sum(0) > 0).all() and (said.absent.sum(0) > 0).all()
    assert {"face", "person"} <= set(said.texts)
    assert words(said.texts) <= set(vocabulary())
    again = caption(truth, torch.Generator().manual_seed(0))
    assert again.texts == said.texts


def test_every_attribute_has_texts_and_prompts_of_known_words() -> None:
    assert tuple(TEXTS) == tuple(ZERO_SHOT) == ATTRIBUTES
    texts = [t for pair in (*TEXTS.values(), *ZERO_SHOT.values()) for t in pair]
    assert words(texts) <= set(vocabulary())
    assert all(template.count("{}") == 1 for template in TEMPLATES)


def test_prompts_are_in_no_caption() -> None:
    truth = labels(sample(range(2000), 9, unseen=True))
    said = caption(truth, torch.Generator().manual_seed(1))
    opening = "the person in this picture"
    assert all(p.startswith(opening) for pair in ZERO_SHOT.values() for p in pair)
    assert not any(opening in text for text in said.texts)
