"""Files are read as tensors and nothing else, or refused in one line."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from hsl.errors import HslError
from hsl.files import checkpoints

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(())}


def test_every_format_gives_the_tensors_back(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "zip.pt")
    torch.save(TENSORS, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(TENSORS, tmp_path / "file.safetensors")
    os.link(tmp_path / "file.safetensors", tmp_path / "unnamed")
    for name in ("zip.pt", "legacy.pt", "file.safetensors", "unnamed"):
        for mapped in (False, True):
            held = checkpoints.read(tmp_path / name, mapped)
            assert all(torch.equal(held[key], TENSORS[key]) for key in TENSORS), name


class Harm:
    """What a hostile pickle asks for."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def broken(folder: Path, kind: str) -> Path:
    path = folder / "file.pt"
    torch.save({"a": torch.randn(5000)}, path)
    if kind == "truncated zip":
        path.write_bytes(cut(path.read_bytes()))
    elif kind == "truncated legacy":
        torch.save({"a": torch.randn(5000)}, path, _use_new_zipfile_serialization=False)
        path.write_bytes(cut(path.read_bytes()))
    elif kind == "truncated safetensors":
        path = folder / "file.safetensors"
        path.write_bytes(cut(save(TENSORS)))
    elif kind == "garbled safetensors":
        path = folder / "file.safetensors"
        path.write_bytes(b"\xff" * 100)
    elif kind == "code in a zip":
        torch.save({"a": torch.ones(3), "b": Harm()}, path)
    elif kind == "code in a pickle":
        path.write_bytes(pickle.dumps(Harm(), protocol=2))
    elif kind == "code in a legacy file":
        torch.save({"b": Harm()}, path, _use_new_zipfile_serialization=False)
    elif kind == "a zip of other things":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "no tensors")
    elif kind == "compressed":
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
    elif kind == "a program":
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    elif kind == "a whole module":
        torch.save(torch.nn.Linear(2, 2), path)
    elif kind == "a web page":
        path.write_text("<!DOCTYPE html><title>Sign in</title>")
    elif kind == "a pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("weights")
    elif kind == "missing":
        path.unlink()
    elif kind == "a folder":
        path = folder
    return path


KINDS = {
    "truncated zip": "truncated",
    "truncated legacy": "truncated",
    "truncated safetensors": "safetensors",
    "garbled safetensors": "safetensors",
    "code in a zip": "mkdir",
    "code in a pickle": "mkdir",
    "code in a legacy file": "mkdir",
    "a zip of other things": "no checkpoint",
    "a program": "TorchScript",
    "a whole module": "torch.nn.modules.linear.Linear",
    "a web page": "web page",
    "a pointer": "git lfs pull",
    "empty": "neither",
    "text": "neither",
    "missing": "no such file",
    "a folder": "is a folder",
    "compressed": "compressed",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch.jit's
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_other_files_are_refused_in_one_line(
    kind: str, mapped: bool, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = broken(tmp_path, kind)
    with pytest.raises(HslError) as error:
        checkpoints.read(path, mapped)
    text = str(error.value)
    assert "\n" not in text and str(path) in text and KINDS[kind] in text, text
    assert not (tmp_path / "harm").exists()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ckpt")
    with pytest.raises(HslError, match="is a named pipe; want a checkpoint"):
        checkpoints.read(tmp_path / "pipe.ckpt")


@pytest.mark.parametrize("mapped", [False, True])
def test_a_flipped_bit_in_a_zip_is_refused(mapped: bool, tmp_path: Path) -> None:
    path, values = tmp_path / "file.ckpt", torch.arange(1000.0)
    torch.save({"a": values}, path)
    whole = path.read_bytes()
    begin = whole.index(values.numpy().tobytes())
    for i in (begin, begin + 1999, begin + 3999):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x20]) + whole[i + 1 :])
        with pytest.raises(HslError, match=r"file.ckpt: damaged or truncated \(Bad CRC-32"):
            checkpoints.read(path, mapped)


def test_a_zip_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    torch.save(TENSORS, tmp_path / "file.ckpt")
    torch.serialization.set_crc32_options(True)
    assert torch.equal(checkpoints.read(tmp_path / "file.ckpt")["a"], TENSORS["a"])


def test_state_dicts_are_found_wherever_they_are() -> None:
    held = [{"a": torch.ones(1)}, {"state": {0: {"step": torch.ones(1)}}}, 3, {"e": torch.ones(1)}]
    assert [where for where, _ in checkpoints.state_dicts(held)] == ["0", "1.state.0", "3"]
    assert [where for where, _ in checkpoints.state_dicts(TENSORS)] == [""]


@pytest.fixture
def announce() -> Callable[[], dict[str, tuple[int, ...]]]:
    return lambda: {key: tuple(tensor.shape) for key, tensor in TENSORS.items()}


def test_written_one_by_one(tmp_path: Path, announce) -> None:
    path = tmp_path / "new" / "file.safetensors"
    checkpoints.write(path, announce(), ((k, t.half()) for k, t in TENSORS.items()))
    held = load_file(path)
    assert list(held) == list(TENSORS) and held["a"].dtype == torch.float32
    assert all(torch.equal(held[key], TENSORS[key]) for key in TENSORS)


def test_a_flipped_bit_in_what_was_written_is_refused(tmp_path: Path, announce) -> None:
    path = tmp_path / "file.safetensors"
    checkpoints.write(path, announce(), TENSORS.items())
    whole = path.read_bytes()
    assert torch.equal(checkpoints.read(path)["a"], TENSORS["a"])
    for i in range(len(whole) - 4 * 7, len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(HslError, match="not those that were written"):
            checkpoints.read(path)


@pytest.mark.parametrize("fault", ["fewer", "other order", "other shape"])
def test_what_was_not_announced_leaves_no_file(fault: str, tmp_path: Path, announce) -> None:
    given = list(TENSORS.items())
    if fault == "fewer":
        given.pop()
    elif fault == "other order":
        given.reverse()
    else:
        given[0] = ("a", torch.ones(7))
    with pytest.raises(ValueError, match="announced"):
        checkpoints.write(tmp_path / "file.safetensors", announce(), given)
    assert not list(tmp_path.iterdir())
