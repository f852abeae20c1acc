"""One writer for all files, and readers that take regular files only."""

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from hsl.errors import HslError
from hsl.files import (
    open_regular,
    read_text,
    replacing,
    require_file,
    require_writable,
    require_writable_folder,
    saying,
)
from hsl.files.leftovers import is_temporary


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def put(path: Path, text: str = "new") -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    put(tmp_path / "deep" / "x.txt", "old")
    put(tmp_path / "deep" / "x.txt", "new")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.txt"]
    assert (tmp_path / "deep" / "x.txt").read_text() == "new"


@pytest.mark.parametrize("length", [242, 246, 255])
def test_names_as_long_as_the_file_system_takes_are_written(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("x" * (length - 4) + ".png")
    put(path)
    assert path.read_text() == "new"


def test_a_name_that_is_all_suffix_is_written(tmp_path: Path) -> None:
    put(tmp_path / ("a." + "b" * 253))
    assert len(list(tmp_path.iterdir())) == 1


def test_the_temporary_name_keeps_the_suffix_and_is_known(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.b.png") as temporary:
        assert temporary.suffix == ".png" and is_temporary(temporary.name)
        assert temporary.parent == tmp_path
        temporary.write_text("")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (".hsl-0123456789ab.png", True),
        (".hsl-0123456789ab", True),
        (".grid.0123456789ab.png", True),  # of older versions
        (".tmpAb3dE9", True),  # safetensors'
        (".hidden.png", False),
        ("hsl-0123456789ab.png", False),
        (".tmp", False),
    ],
)
def test_names_of_files_being_written(name: str, known: bool) -> None:
    assert is_temporary(name) is known


def test_the_mode_is_the_umasks_whatever_writes(tmp_path: Path, umask: int) -> None:
    def by_safetensors(path: Path) -> None:
        save_file({"x": torch.zeros(2)}, path)  # which asks for 0600

    writers: list[Callable[[Path], object]] = [by_safetensors, Path.touch]
    for i, write in enumerate(writers):
        with replacing(tmp_path / str(i)) as temporary:
            write(temporary)
        assert stat.S_IMODE((tmp_path / str(i)).stat().st_mode) == 0o666 & ~umask


FAILURES = [
    (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; make room"),
    (OSError(errno.EACCES, "Permission denied"), "no permission to write here; give another"),
    (OSError(errno.EROFS, "Read-only"), "read-only; give another path"),
    (OSError("encoder error -2"), "encoder error -2; give another path"),
    (SafetensorError("I/O error: No space left on device (os error 28)"), "the disk is full"),
    (SafetensorError("what else"), "what else; give another path"),
    (RuntimeError("PytorchStreamWriter failed writing file data/0"), "disk is not full"),
]


@pytest.mark.parametrize(("error", "said"), FAILURES)
def test_a_failed_write_says_where_and_what_to_do(
    tmp_path: Path, error: Exception, said: str
) -> None:
    path = tmp_path / "x.png"
    path.write_text("old")
    with pytest.raises(HslError, match=said) as caught, replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert str(caught.value).startswith(f"{path}: not written: ")
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"] and path.read_text() == "old"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    out = tmp_path / "weights"
    with pytest.raises(HslError, match=f"{out}: not written: the disk is full"), saying(out):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x" / "config.json"))


def test_the_error_before_that_of_torchs_writer_counts(tmp_path: Path) -> None:
    with pytest.raises(HslError, match="the disk is full"), replacing(tmp_path / "x.pt") as _:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:858] . unexpected pos 64 vs 0")


@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyError("k"), RuntimeError("shapes"), HslError("said"),
              FileNotFoundError(2, "No such file", "/elsewhere/else.png")]
)  # fmt: skip
def test_another_failure_in_the_block_stays_what_it_is(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, replacing(tmp_path / "x.png") as temporary:
        temporary.write_text("half")
        raise error
    assert caught.value is error
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, said in {
        "folder": "is a folder",
        "file/x.png": "is a file, not a folder",
        "file/deep/x.png": "is a file, not a folder",
        "pipe": "is a named pipe",
        "x" * 256: "too long",
        f"{'x' * 256}/y.png": "too long",
        "a\0b": "no name",
    }.items():
        for check in (require_writable, put):
            with pytest.raises(HslError, match=said):
                check(tmp_path / path)
    assert require_writable(tmp_path / "new" / "deep" / "x.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "pipe"]


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(HslError, match="is a device"):
        put(Path("/dev/null"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_folder_to_write_into(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "new" / "deep", Path()):
        assert require_writable_folder(path) == path
    for path, said in {"file": "is a file", "file/x": "is a file", "x" * 256: "too long"}.items():
        with pytest.raises(HslError, match=said):
            require_writable_folder(tmp_path / path)


def test_a_link_to_nothing_is_no_folder_to_write_into(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for check, name in ((require_writable, "link/x"), (require_writable_folder, "link"),
                        (require_writable_folder, "link/x")):  # fmt: skip
        with pytest.raises(HslError, match="is a link to what is not there; give another path"):
            check(tmp_path / name)


@pytest.mark.parametrize("check", [require_writable, require_writable_folder])
def test_a_folder_without_permission(
    tmp_path: Path, check: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root
    with pytest.raises(HslError, match="no permission to write here; give another path"):
        check(tmp_path / "x")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        for path, said in {
            "pipe": "is a named pipe; want a direction",
            "socket": "is a socket; want a direction",
            ".": "is a folder; want a direction",
            "/dev/zero": "is a device; want a direction",
            "none": "no such file; want a direction",
            "pipe/x": "no such file; want a direction",
            "a\0b": "no such file; want a direction",
            "loop": "cannot be read .*; want a direction",
            "x" * 300: "cannot be read .*; want a direction",
        }.items():
            for check in (require_file, open_regular):
                with pytest.raises(HslError, match=said):
                    check(tmp_path / path, "a direction")


def test_a_pipe_that_comes_in_a_files_place_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("hsl.files.reading.require_file", lambda path, what: Path(path))
    with pytest.raises(HslError, match="is no file"):
        open_regular(tmp_path / "pipe")


def test_text_has_unix_line_ends_and_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("é\r\n1\r2\n".encode())
    assert read_text(path) == "é\n1\n2\n"
    path.write_bytes(b"a\xff")
    with pytest.raises(HslError, match=r"not utf-8 text .* at byte 1.*; want labels, saved as"):
        read_text(path, "labels")
