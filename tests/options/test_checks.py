"""Values out of range, where they are given."""

import math
from typing import Any

import numpy as np
import pytest

from hsl.callbacks import Evaluate, Grids, Intervals, Mixing, Sampled, Strength
from hsl.data.folder import ImagesDataModule
from hsl.data.sampled import SampledDataModule
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.errors import HslError
from hsl.methods.linear import Linear
from hsl.train.checkpoints import Checkpoints
from runs import asyrp

BAD: list[tuple[Any, str, list[Any]]] = [
    (Strength, "batch", [0, -1, 1.5, True, None, 10**5000]),
    (Strength, "images", [0, -3, None]),
    (Strength, "strengths", [[], [math.nan], [0.5, math.inf], None, [1.0, 0.5], ["a"]]),
    (Strength, "share", [0, -0.1, 1.1, math.nan, None]),
    (Grids, "images", [-1, 0.5, None]),
    (Grids, "factors", [[], [math.nan], None]),
    (Grids, "batch", [0, None]),
    (Intervals, "images", [0, -1]),
    (Intervals, "edit_threshold", [0, math.nan, math.inf, -1.0]),
    (Intervals, "boost_threshold", [0, math.nan, math.inf, -1.0]),
    (Intervals, "table_p", ["a.tsv"]),
    (Mixing, "tolerance", [-0.1, 1.1, math.nan, None]),
    (Mixing, "space", ["z", None]),
    (Sampled, "batch", [0, None]),
    (Checkpoints, "every_n_epochs", [0, None]),
    (Checkpoints, "every_n_batches", [0]),
    (Evaluate, "templates", [[], ["a photo"]]),
    (ToyFacesDataModule, "train", [-1]),
    (ToyFacesDataModule, "size", [0, -8, 10**9, 1.5]),
    (ToyFacesDataModule, "batch_size", [0, None]),
    (ToyFacesDataModule, "num_workers", [-1, None]),
    (ToyFacesDataModule, "seed", [-1, None]),
    (SampledDataModule, "test", [-1, 10**7, None]),
    (lambda **given: ImagesDataModule("images", **given), "validation", [-1]),
    (lambda **given: ImagesDataModule("images", **given), "size", [0]),
]
CASES = [(made, {name: value}, name) for made, name, values in BAD for value in values]


@pytest.mark.parametrize(("made", "given", "name"), CASES, ids=[str(i) for i in range(len(CASES))])
def test_a_value_out_of_range(made: Any, given: dict[str, Any], name: str) -> None:
    if made is Strength:
        given = {"guide": None} | given
    if made is Evaluate:
        given = {"attributes": None, "distance": None, "clip": None} | given
    with pytest.raises(HslError, match=name) as refused:
        made(**given)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 250


def test_numbers_of_numpy_are_numbers() -> None:
    strengths = np.linspace(0.5, 1.5, 3)
    assert Strength(guide=None, strengths=list(strengths)).strengths == [0.5, 1.0, 1.5]
    assert Grids(images=np.int64(2)).images == 2


@pytest.mark.parametrize(
    "given",
    [{"steps": 1}, {"steps": True}, {"t_edit": -1}, {"t_boost": 10**9}, {"t_start": -1},
     {"t_edit": 500, "t_start": 400}, {"refine": -1}, {"refine": 10**7}, {"seed": -1},
     {"invert_steps": 1}, {"clip_weight": math.nan}, {"l1_weight": math.inf}, {"id_weight": -1},
     {"clip_weight": -1}],
    ids=str,
)  # fmt: skip
def test_a_method_looks_before_it_loads(given: dict[str, Any]) -> None:
    with pytest.raises(HslError, match=next(iter(given))):
        asyrp("/nowhere", **given)
    if not {"clip_weight", "l1_weight", "id_weight", "t_edit", "t_start", "invert_steps"} & set(
        given
    ):
        with pytest.raises(HslError, match=next(iter(given))):
            Linear(backbone="/nowhere", **given)
