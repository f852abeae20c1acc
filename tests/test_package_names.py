"""What `import hsl` gives by name."""

import importlib
from pathlib import Path

import pytest

import hsl
from hsl.version import version

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", sorted(hsl._MODULES))
def test_each_name_is_what_its_module_has(name: str) -> None:
    assert getattr(hsl, name) is getattr(importlib.import_module(hsl._MODULES[name]), name)
    assert name in dir(hsl)
    assert not (ROOT / "hsl" / name).exists() and not (ROOT / "hsl" / f"{name}.py").exists()


def test_type_checkers_see_the_same_names() -> None:
    lines = (ROOT / "hsl" / "__init__.py").read_text().splitlines()
    seen = {line.split()[-1] for line in lines if line.startswith("    from ")}
    assert seen == set(hsl._MODULES)


def test_another_name_is_an_attribute_error_that_knows_what_was_meant() -> None:
    with pytest.raises(AttributeError, match=r"'loda', did you mean load\?$"):
        hsl.loda  # noqa: B018
    assert not hasattr(hsl, "nothing")


def test_names_of_commands_stay_packages() -> None:
    for name in ("edit", "train", "study", "data", "store", "convert", "process"):
        assert importlib.import_module(f"hsl.{name}").__path__


def test_the_version_is_the_projects() -> None:
    assert f'version = "{version()}"' in (ROOT / "pyproject.toml").read_text()
