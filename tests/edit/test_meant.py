"""Names that are nearly right: one line says which was meant, before any work."""

import pytest

from edits import Place, made_place
from hsl.data.selection import _columns
from hsl.data.texts import source_and_target, texts
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.errors import HslError

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return made_place(tmp_path_factory.mktemp("edit"))


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--direction", "Smilling"], "Smiling"),
        (["--direction", "smiling=0.5"], "Smiling"),
        (["--boundary", "Eyeglases"], "Eyeglasses"),
        (["--boundary", "Smiling", "--keep", "male"], "Male"),
        (["--direction", "{folder}/Smyle.safetensors"], "{folder}/Smile.safetensors"),
        (["--direction", "{folder}/Hat"], "{folder}/Hat.safetensors"),
        (["--direction", "{smile}", "--direction", "{hat}", "--interpolate", "smile=0:1:2"],
         "Smile"),
        (["--direction", "{smile}", "--backbone", "toyface"], "toyfaces"),
    ],
)  # fmt: skip
def test_of_an_edit(arguments: list[str], meant: str, place: Place, capsys) -> None:
    where = {"folder": place.root / "directions", "smile": place.smile, "hat": place.hat}
    given = [item.format(**where) for item in arguments]
    assert place.call(place.root / "a.png", *given, out="refused") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f", did you mean {meant.format(**where)}?")


def test_a_name_like_no_other_is_just_refused(place: Place, capsys) -> None:
    for name in ("Zebra", str(place.root / "directions" / "Zebra.safetensors"), "/nowhere/Smile"):
        assert place.call("--seeds", "0", "--direction", name) == 2
        assert "did you mean" not in capsys.readouterr().err


def test_of_attributes_and_labels() -> None:
    data = ToyFacesDataModule(where={"test": {"Smilling": 0}})
    refused = {
        "Smiling": [lambda: source_and_target("Smilling"), lambda: data.dataset("test"),
                    lambda: _columns(["Smiling", "Male"], {"smilin": 1})],
        "Not_Young": [lambda: source_and_target("Not_Yung")],
        "celebahq": [lambda: texts("celeba_hq")],
    }  # fmt: skip
    for meant, calls in refused.items():
        for call in calls:
            with pytest.raises(HslError, match=rf", did you mean {meant}\?$"):
                call()
