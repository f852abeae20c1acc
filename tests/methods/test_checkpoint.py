"""What a checkpoint says is checked before anything is made by it."""

import copy
from typing import Any

import pytest
import torch

from hsl.directions import Boundary, Shift
from hsl.errors import HslError
from hsl.methods.checkpoint import about_of

SMILE, BOUNDARY = Shift(torch.ones(2, 3, 3)), Boundary(None, torch.ones(1, 2, 3, 3), [4], 4)
SOUND: dict[str, Any] = {
    "state_dict": {
        **{f"directions.smile.{k}": v for k, v in SMILE.state_dict().items()},
        **{f"directions.plane.{k}": v for k, v in BOUNDARY.state_dict().items()},
    },
    "hsl": {
        "backbone_hash": "0" * 16, "steps": 40, "t_edit": None, "t_edits": {"smile": 3},
        "t_start": 900, "t_boost": 0, "strengths": {"smile": 0.5}, "grid": [0, 4], "t": 4,
        "data_hash": None, "seen": [0, 1],
        "directions": {"smile": SMILE.config(), "plane": BOUNDARY.config()},
    },
}  # fmt: skip


def test_a_sound_one_is_let_through() -> None:
    assert about_of(SOUND, ["grid"]) == SOUND["hsl"]


def test_one_without_later_names_is_let_through() -> None:
    old = copy.deepcopy(SOUND)
    for name in ("steps", "t_edits", "grid", "t", "data_hash", "seen"):
        del old["hsl"][name]
    assert about_of(old)["strengths"] == {"smile": 0.5}
    with pytest.raises(HslError, match="grid is missing"):
        about_of(old, ["grid"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("steps", "x"), ("t_edit", "x"), ("t_edit", -1), ("t_edits", [1]),
        ("t_edits", {"smile": "x"}), ("t_start", 1.5), ("t_boost", 10**9), ("strengths", None),
        ("strengths", {"smile": "x"}), ("strengths", {"smile": float("nan")}),
        ("strengths", {"smile": True}), ("backbone_hash", 3), ("grid", ["a"]), ("grid", [4, 0]),
        ("grid", []), ("t", "x"), ("seen", ["a"]), ("seen", 3), ("directions", []),
        ("directions", {"smile": 3}), ("directions", {"smile": {}}),
        ("directions", {"smile": {"kind": "?"}}), ("directions", {"smile": BOUNDARY.config()}),
        ("directions", {"smile": SMILE.config() | {"shape": [2, 10**9, 10**9]}}),
    ],
)  # fmt: skip
def test_another_type_or_range_is_refused(name: str, value: object) -> None:
    harmed = copy.deepcopy(SOUND)
    harmed["hsl"][name] = value
    with pytest.raises(HslError, match="no checkpoint of hsl's, or a damaged one") as error:
        about_of(harmed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "value"),
    [("epoch", "x"), ("global_step", -1), ("loops", "x"), ("callbacks", "x"),
     ("callbacks", {"a": 3}), ("pytorch-lightning_version", "x"), ("lr_schedulers", "x"),
     ("optimizer_states", "x"), ("optimizer_states", [{}]), ("optimizer_states", [{"a": 1}]),
     ("lr_schedulers", [3])],
)  # fmt: skip
def test_what_lightning_would_trust_is_checked(part: str, value: object) -> None:
    with pytest.raises(HslError, match=f"a damaged one \\({part} is "):
        about_of(SOUND | {part: value})


@pytest.mark.parametrize("value", [torch.ones(2, 3, 3).long(), torch.ones(2, 3, 3) / 0, "x", 3])
def test_weights_are_finite_floats(value: object) -> None:
    harmed = copy.deepcopy(SOUND)
    harmed["state_dict"]["directions.smile.delta"] = value
    with pytest.raises(HslError, match="no checkpoint of hsl's, or a damaged one"):
        about_of(harmed)


@pytest.mark.parametrize(
    "held", [{}, {"state_dict": 3}, {"state_dict": {3: 3}}, {"state_dict": {}}, {"hsl": {}},
             {"state_dict": {}, "hsl": 3}]
)  # fmt: skip
def test_files_of_other_programs_are_refused(held: dict[str, Any]) -> None:
    with pytest.raises(HslError, match="no checkpoint of hsl's"):
        about_of(held)
