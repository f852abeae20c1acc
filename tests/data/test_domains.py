"""Which attributes exclude which, asked by the names that a judge knows."""

from hsl.data.domains import excluded_by
from hsl.data.toyfaces import ATTRIBUTES
from hsl.data.toyfaces import excluded_by as drawn


def test_a_domain_speaks_for_those_whose_attributes_are_all_its_own() -> None:
    for name in ATTRIBUTES:
        assert excluded_by(name, ATTRIBUTES) == drawn(name)
    assert excluded_by("Smiling", ["Smiling", "Mouth_Slightly_Open"]) == {"Mouth_Slightly_Open"}
    assert excluded_by("Smiling", ["Smiling", "Male"]) == frozenset()


def test_nothing_is_excluded_where_nobody_knows() -> None:
    assert excluded_by("Smiling", [*ATTRIBUTES, "Attractive"]) == frozenset()
