"""Each data set is known to its own room alone, and each class has a name of its own."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

HSL = Path(__file__).resolve().parents[1] / "hsl"
ROOM = HSL / "data" / "toyfaces"
#: As class, word, folder or option; in code, comments and docstrings alike.
NAME = re.compile(r"toy[ _-]?faces", re.IGNORECASE)


def modules() -> dict[str, str]:
    """The text of each module, by its path in hsl/."""
    return {p.relative_to(HSL).as_posix(): p.read_text("utf-8") for p in HSL.rglob("*.py")}


def strangers(texts: dict[str, str]) -> list[str]:
    """Lines outside the room that name its data set; hsl/__init__.py gives the names of all."""
    room = ROOM.relative_to(HSL).as_posix() + "/"
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        if not name.startswith(room) and name != "__init__.py"
        for number, line in enumerate(text.splitlines(), start=1)
        if NAME.search(line)
    ]


def shared(texts: dict[str, str]) -> list[str]:
    """Names that several classes have; those within a class are its own matter."""
    names = Counter(
        node.name
        for text in texts.values()
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    )
    return [name for name, count in names.items() if count > 1]


def test_no_module_outside_its_room_names_the_bundled_data_set() -> None:
    texts = modules()
    assert any(NAME.search(text) for name, text in texts.items() if "data/toyfaces" in name)
    assert not strangers(texts)


@pytest.mark.parametrize(
    "line",
    ["from hsl.data.toyfaces import labels", "x = 'toyfaces/guide'", "# as ToyFaces has it",
     '"""Of Toy faces."""', "isinstance(data, ToyFacesDataModule)"],
)  # fmt: skip
def test_a_module_that_names_it_is_caught(line: str) -> None:
    assert strangers({"losses.py": line}) == [f"losses.py:1: {line}"]
    assert not strangers({"data/toyfaces/dataset.py": line})


def test_no_two_classes_share_a_name() -> None:
    assert not shared(modules())


def test_classes_of_one_name_are_caught() -> None:
    nested = "class B:\n    class A:\n        pass\n"
    assert shared({"a.py": "class A:\n    pass\n", "b.py": nested}) == []
    assert shared({"a.py": "class _A:\n    pass\n", "b.py": "class _A(int):\n    pass\n"}) == ["_A"]
