"""Tensors with a header and a checksum in one file."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import hsl
from hsl.errors import HslError
from hsl.files.headers import parse_header, read_header
from hsl.files.tensors import (
    SUM,
    read_tensors,
    require_weights,
    write_tensors,
)  # fmt: skip

TENSORS = {
    "h": torch.arange(6.0).view(2, 3),
    "index": torch.tensor(3),
    "none": torch.zeros(0, 2),
    "halves": torch.ones(3, dtype=torch.bfloat16),
    "mask": torch.tensor([True, False]),
}
HEADER: dict[str, Any] = {"format": 1, "about": {"é": [1, 0.1, None, "x"], "b": {"deep": True}}}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x.safetensors", TENSORS, HEADER)
    header, tensors = read_tensors(path, "a test")
    assert header == HEADER
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], v) and tensors[k].dtype == v.dtype
               for k, v in TENSORS.items())  # fmt: skip


def test_the_same_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    paths = [write_tensors(tmp_path / name, TENSORS, HEADER) for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x", TENSORS, {"format": 1, "about": {"a": [0.1, "x"]}})
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    padding = range(len(whole[:end].rstrip(b" ")), end)
    for i in set(range(len(whole))) - set(padding):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[i] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(HslError):
                read_tensors(path, "a test", {"format", "about"})


def test_a_file_without_a_checksum_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x", metadata={"hsl": json.dumps(HEADER)})
    assert read_tensors(tmp_path / "x", "a test")[0] == HEADER


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x", TENSORS, {"a": float("nan"), "b": [float("inf")]})
    header, _ = read_tensors(path, "a test")
    assert header["a"] is None and header["b"] == [None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "says nothing of itself"),
        ("", "Expecting value"),
        ("[1]", "no JSON object"),
        ('{"a": NaN}', "NaN in its header"),
        ('{"a": -Infinity}', "-Infinity in its header"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
        ('{"a": ' + "[" * 150 + "]" * 150 + "}", "nested too deep"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        ('{"a": "' + "x" * (1 << 24) + '"}', "a header of 16777225 characters"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    save_file(TENSORS, tmp_path / "x", metadata=None if text is None else {"hsl": text})
    with pytest.raises(HslError, match=f"x: not a test, or damaged .*{said}.*make it anew") as got:
        read_tensors(tmp_path / "x", "a test")
    assert len(str(got.value)) < 1000


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"x" * 100, b"\xff" * 8):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(HslError, match="not a test, or damaged"):
            read_tensors(tmp_path / "x", "a test")


def test_a_header_may_be_as_deep_as_hsl_writes() -> None:
    text = '{"a": ' * 90 + "1" + "}" * 90
    assert parse_header(text)


def test_weights_are_finite_floats() -> None:
    require_weights({"w": torch.ones(2), "h": torch.ones(2, dtype=torch.float16)})
    for bad, said in {
        (torch.ones(2, dtype=torch.int64)): "w holds int64, not floats",
        (torch.ones(2, dtype=torch.bool)): "w holds bool, not floats",
        (torch.tensor([0, float("nan")])): "w has NaN or infinite values",
        (torch.tensor([-float("inf")])): "w has NaN or infinite values",
    }.items():
        with pytest.raises(ValueError, match=said):
            require_weights({"w": bad})


def test_the_header_is_one_entry(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x", TENSORS, HEADER)  # several come in no fixed order
    with safe_open(path, framework="pt") as file:
        assert list(file.metadata()) == ["hsl"]


def test_what_is_shipped_has_a_checksum() -> None:
    """All but the diffusion model, whose format is diffusers'."""
    assets = Path(hsl.__file__).parent / "assets"
    files = [path for path in assets.rglob("*.safetensors") if path.parent.name != "unet"]
    assert len(files) >= 30
    assert not [path.name for path in files if SUM not in read_header(path)]
