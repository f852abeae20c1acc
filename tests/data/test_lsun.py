"""LSUN's LMDBs, built as they are released."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hsl.data import lsun
from hsl.data.lsun import LsunDataModule
from hsl.errors import HslError
from layouts import picture, png

lmdb = pytest.importorskip("lmdb")


def build(root: Path, train: int = 60, val: int = 5) -> Path:
    """church_outdoor_{train,val}_lmdb with keys of 40 letters, the values image files."""
    for split, n, first in (("train", train, 0), ("val", val, 1000)):
        folder = root / f"church_outdoor_{split}_lmdb"
        with lmdb.open(str(folder), map_size=2**24) as env, env.begin(write=True) as transaction:
            for i in range(n):
                transaction.put(f"{first + i:040x}".encode(), png(first + i))
    return root


def module(root: Path, **arguments) -> LsunDataModule:
    settings = {"size": 16, "train": None, "validation": None, "test": None, "num_workers": 0}
    return LsunDataModule(str(root), "church_outdoor", **(settings | arguments))


def test_images_and_splits(tmp_path: Path) -> None:
    data = module(build(tmp_path))
    sets = data.sets()
    assert len(sets["test"]) == 5 and len(sets["train"]) + len(sets["validation"]) == 60
    assert len(sets["validation"]) > 0 and data.names == ()
    for images in sets.values():
        for item in images:
            pixels = np.array(picture(int(Path(item.path).name, 16)), np.float32)
            wanted = torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1
            assert torch.equal(item.image, wanted)
    hashed = module(tmp_path, split="hash").sets()
    assert sum(map(len, hashed.values())) == 65
    assert any(
        Path(path).parent.name.endswith("val_lmdb") for path in hashed["train"].paths.values()
    )


def test_workers_read_the_same(tmp_path: Path) -> None:
    build(tmp_path)
    one, two = (
        [b.image for b in module(tmp_path, num_workers=n, batch_size=4).predict_dataloader()]
        for n in (0, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_cut_database_is_refused(tmp_path: Path) -> None:
    """It is mapped into memory: to read behind its end would kill the process."""
    path = build(tmp_path) / "church_outdoor_train_lmdb" / "data.mdb"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(HslError, match=r"data\.mdb: cut, a part is missing; fetch it anew$"):
        module(tmp_path).sets()


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = build(tmp_path) / "church_outdoor_train_lmdb" / "data.mdb"
    content = bytearray(path.read_bytes())
    content[2 * 4096 :] = b"\xff" * (len(content) - 2 * 4096)  # all but both heads
    path.write_bytes(content)
    with pytest.raises(HslError, match=r"church_outdoor_train_lmdb: .*\(.+\)") as raised:
        module(tmp_path).sets()
    assert "\n" not in str(raised.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = build(tmp_path) / "church_outdoor_train_lmdb" / "data.mdb"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(HslError, match=r"data\.mdb: is a named pipe; want the file of an LMDB"):
        module(tmp_path).sets()


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HslError, match="no LMDB can be opened here") as raised:
        module(tmp_path).sets()
    assert "\n" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(HslError, match=r"pip install \"hspace\[lmdb\]\""):
        lsun.environment(tmp_path)
