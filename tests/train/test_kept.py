"""A checkpoint is looked at before anything is made by it."""

from pathlib import Path

import pytest
import torch

from hsl.errors import HslError
from hsl.train.kept import check_checkpoint

WEIGHTS = {
    "pytorch-lightning_version": "2.6.6",
    "state_dict": {},
    "hsl": {"backbone_hash": "", "t_edit": 0, "t_boost": 0, "t_start": None, "strengths": {}},
}
WHOLE = WEIGHTS | {"epoch": 1, "global_step": 4, "loops": {}, "optimizer_states": [],
                   "lr_schedulers": []}  # fmt: skip


def kept(folder: Path, held: object) -> str:
    torch.save(held, folder / "x.ckpt")
    return str(folder / "x.ckpt")


def test_what_is_whole_is_let_through(tmp_path: Path) -> None:
    assert check_checkpoint(None) == check_checkpoint("last") == {}
    assert check_checkpoint(kept(tmp_path, WEIGHTS)) == WEIGHTS
    assert check_checkpoint(kept(tmp_path, WHOLE), goes_on=True) == WHOLE


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in WEIGHTS])
def test_a_training_goes_on_from_a_whole_one_alone(name: str, tmp_path: Path) -> None:
    path = kept(tmp_path, {k: v for k, v in WHOLE.items() if k != name})
    check_checkpoint(path)
    with pytest.raises(HslError, match=f"x.ckpt: no whole checkpoint, {name} is missing"):
        check_checkpoint(path, goes_on=True)


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_what_is_missing_is_said(name: str, tmp_path: Path) -> None:
    path = kept(tmp_path, {k: v for k, v in WEIGHTS.items() if k != name})
    with pytest.raises(HslError, match=r"x.ckpt: no (whole )?checkpoint"):
        check_checkpoint(path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HslError, match="no checkpoint of hsl's"):
        check_checkpoint(kept(tmp_path, [1]))
