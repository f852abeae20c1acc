"""The texts of attributes, ToyFaces' and the released ones."""

import pytest

from hsl.data.texts import source_and_target, sources_and_targets, texts, texts_of
from hsl.data.toyfaces.captions import TEXTS
from hsl.errors import HslError

COUNTS = {"celebahq": 35, "afhq": 28, "church": 12, "bedroom": 11, "metfaces": 5, "imagenet": 14}


def test_all_released_attributes_are_there() -> None:
    assert {name: len(texts(name)) for name in COUNTS} == COUNTS
    assert texts("toyfaces") == TEXTS
    names = [name for dataset in ("toyfaces", *COUNTS) for name in texts(dataset)]
    assert len(set(names)) == len(names)  # so that an attribute needs no data set


@pytest.mark.parametrize("dataset", COUNTS)
def test_every_pair_is_two_texts(dataset: str) -> None:
    for pairs in (texts(dataset), texts(dataset, as_released=True)):
        for name, pair in pairs.items():
            assert len(pair) == 2 and all(isinstance(t, str) and t for t in pair), name
            assert pair[0] != pair[1], name
            assert "." not in name  # the name of a direction


def test_corrections() -> None:
    corrected = {
        name: (pair[1], texts(dataset, as_released=True)[name][1])
        for dataset in COUNTS
        for name, pair in texts(dataset).items()
        if pair != texts(dataset, as_released=True)[name]
    }
    assert corrected == {
        "short_hair": ("person with short hair", "person with long hair"),
        "jocker": ("The Joker", "The Jocker"),
        "metface_angry": ("painting of an Angry person", "painting of a Angry person"),
    }
    targets = [pair for dataset in COUNTS for pair in texts(dataset).values()]
    assert len(set(targets)) == len(targets)  # no two attributes are the same edit


def test_texts_of_several_attributes() -> None:
    assert sources_and_targets(["Smiling", "bald"]) == {
        "Smiling": TEXTS["Smiling"],
        "bald": ("person", "person with bald head"),
    }
    assert sources_and_targets(["Zebra"], "a horse", ["a zebra"]) == {
        "Zebra": ("a horse", "a zebra")
    }
    with pytest.raises(HslError, match="target: 1 texts for 2 attributes"):
        sources_and_targets(["Smiling", "Bald"], target="bald face")


def test_texts_as_given_or_of_a_data_set() -> None:
    assert texts_of(None, ["Smiling"]) == {}
    assert texts_of({"Zebra": ("a horse", "a zebra")}, None) == {"Zebra": ("a horse", "a zebra")}
    assert texts_of("toyfaces", ["Bald"]) == {"Bald": TEXTS["Bald"]}
    assert texts_of("toyfaces", None) == TEXTS and len(texts_of("church", None)) == 12
    with pytest.raises(HslError, match="no texts for Bald: give"):
        texts_of("church", ["Bald"])


def test_an_attribute_by_its_name() -> None:
    assert source_and_target("smiling") == ("face", "smiling face")
    assert source_and_target("church_gothic") == ("Church", "Gothic Church")
    assert source_and_target("Smiling") == TEXTS["Smiling"]
    assert source_and_target("orange2tennis") == ("An Orange", "Tennis ball")


def test_unknown_names_are_refused_in_one_line() -> None:
    for ask in (lambda: source_and_target("Smirking"), lambda: texts("celeba512")):
        with pytest.raises(HslError, match=r"church") as error:
            ask()
        assert "\n" not in str(error.value)
