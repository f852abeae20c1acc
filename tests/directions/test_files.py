"""Directions survive a file."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hsl.directions import Direction, Shift, provenance
from hsl.errors import HslError
from some_directions import implicit, pass_through, randn
from tiny import backbone


@pytest.mark.parametrize(
    "make",
    [
        lambda: Shift(randn(32, 4, 4)),
        lambda: Shift(randn(2, 32, 4, 4), [10, 20], "h"),
        lambda: implicit(family="adm"),
        lambda: implicit() * 0.5 - Shift(randn(32, 4, 4)),
        lambda: implicit(0).without(implicit(1)),
    ],
)
def test_a_file_keeps_everything(make, tmp_path: Path) -> None:
    net, direction = backbone(), make()
    path = direction.save(tmp_path / "new" / "d.safetensors", **provenance(net), t_edit=513)
    loaded = Direction.load(path, net)
    assert torch.allclose(pass_through(loaded, net), pass_through(direction, net))
    assert loaded.about["t_edit"] == 513 and loaded.about["backbone_hash"] == net.hash
    assert [p.name for p in path.parent.iterdir()] == ["d.safetensors"]
    assert not any(p.requires_grad for p in loaded.parameters())


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    good = Shift(randn(32, 4, 4)).save(tmp_path / "good.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:200])
    plain = tmp_path / "plain.safetensors"
    save_file({"delta": randn(3)}, plain)
    odd = tmp_path / "odd.safetensors"
    save_file({"delta": randn(3)}, odd, metadata={"hsl": json.dumps({"direction": {"kind": "?"}})})
    for path in (cut, plain, odd, tmp_path / "none.safetensors"):
        with pytest.raises(HslError) as error:
            Direction.load(path)
        assert path.name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("header", ["{", "[1]", '{"direction": "x"}', '{"direction": []}', None])
def test_damaged_headers_are_refused(header: str | None, tmp_path: Path) -> None:
    metadata = None if header is None else {"hsl": header}
    save_file({"delta": torch.ones(2, 2, 2)}, tmp_path / "file.safetensors", metadata=metadata)
    with pytest.raises(HslError) as error:
        Direction.load(tmp_path / "file.safetensors")
    assert "not a direction saved by hsl" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_is_no_direction(tmp_path: Path) -> None:
    with pytest.raises(HslError, match="cannot be read"):
        Direction.load(tmp_path)
