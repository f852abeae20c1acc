"""The cache of what is known of images: used as long as it is true, and never in the way."""

import errno
import os
from multiprocessing import get_context
from pathlib import Path

import pytest

from hsl.data import index as index_module
from hsl.data.decoding import OutOfMemory
from hsl.data.folder import FolderSource, ImagesDataModule
from hsl.data.index import cache_folder
from hsl.data.notes import read_notes, write_notes
from hsl.errors import HslError
from layouts import hub, png, save


def module(folder: Path) -> ImagesDataModule:
    return ImagesDataModule(str(folder), 8, None, None, None, num_workers=0)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are opened, as they are."""
    opened: list[str] = []
    original = index_module.decode

    def decode(content: bytes, path: str):
        opened.append(Path(path).name)
        return original(content, path)

    monkeypatch.setattr(index_module, "decode", decode)
    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(60):
        save(tmp_path / "images" / f"{i}.png", i)
    return tmp_path / "images"


def digests(data: ImagesDataModule) -> dict[str, str]:
    found = data.found
    rows = [row for several in found.rows.values() for row in several]
    entries = [entry for several in found.entries.values() for entry in several]
    return {Path(r.path).name: e.digest for r, e in zip(rows, entries, strict=True)}


def test_only_what_changed_is_opened_again(folder: Path, looks: list[str]) -> None:
    before = digests(module(folder))
    assert len(looks) == 60
    looks.clear()
    assert digests(module(folder)) == before and not looks
    (folder / "3.png").write_bytes(png(103))  # of the same length, perhaps: the time tells
    os.utime(folder / "3.png", ns=(1, 1))
    save(folder / "new.png", 200)
    (folder / "5.png").rename(folder / "moved.png")
    after = digests(module(folder))
    assert sorted(looks) == ["3.png", "moved.png", "new.png"]
    assert after["3.png"] != before["3.png"] and after["moved.png"] == before["5.png"]
    assert "5.png" not in after and after["4.png"] == before["4.png"]


@pytest.mark.filterwarnings("ignore:1 of")
def test_broken_files_are_remembered_until_they_are_mended(folder: Path, looks: list[str]) -> None:
    (folder / "7.png").write_bytes(b"broken")
    for _ in range(2):
        assert len(module(folder).found.skipped) == 1
    assert looks.count("7.png") == 1
    (folder / "7.png").write_bytes(png(7))
    assert not module(folder).found.skipped


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": 1, "b": [1]}', b"\xff", b"[" * 100_000, b'{"notes": {}}']
)
def test_a_damaged_cache_counts_as_none(folder: Path, looks: list[str], content: bytes) -> None:
    before = digests(module(folder))
    (cache,) = cache_folder().glob("index/*.json")
    cache.write_bytes(content)
    looks.clear()
    assert digests(module(folder)) == before and len(looks) == 60


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, 5), (1, 5), (1, "0" * 63), (1, "g" * 64), (2, "8"), (2, -1), (2, True), (3, 0), (3, 1e400),
     (4, 7), (4, ["damage"])],
)  # fmt: skip
def test_entries_of_other_types_are_made_anew(
    folder: Path, looks: list[str], place: int, value: object
) -> None:
    """Also where their checksum is right: an older hsl, or another program, may have written it."""
    before = digests(module(folder))
    (cache,) = cache_folder().glob("index/*.json")
    entries = read_notes(cache)
    entries[str(folder / "3.png")][place] = value
    write_notes(cache, entries)
    looks.clear()
    assert digests(module(folder)) == before and looks == ["3.png"]


def test_a_flipped_bit_of_the_cache_is_seen(folder: Path, looks: list[str]) -> None:
    before = digests(module(folder))
    (cache,) = cache_folder().glob("index/*.json")
    digest = before["3.png"]
    other = digest[:-1] + f"{int(digest[-1], 16) ^ 1:x}"
    cache.write_text(cache.read_text().replace(digest, other))
    assert digests(module(folder)) == before


def test_another_pillow_looks_again(
    folder: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one cannot read, another may."""
    digests(module(folder))
    looks.clear()
    monkeypatch.setattr(index_module.PIL, "__version__", "0.0")
    digests(module(folder))
    assert len(looks) == 60


@pytest.mark.parametrize("times", [1, 9])
def test_a_lack_of_memory_is_not_kept(
    folder: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """What fails beside others is tried alone; what fails again says nothing of the image."""
    original, left = index_module.decode, [times]

    def decode(content: bytes, path: str):
        if path.endswith("/7.png") and left[0]:
            left[0] -= 1
            raise OutOfMemory(f"{path}: not enough memory")
        return original(content, path)

    monkeypatch.setattr(index_module, "decode", decode)
    if times == 1:
        assert len(digests(module(folder))) == 60
    else:
        with pytest.raises(HslError, match=r"7\.png: not enough memory"):
            module(folder).sets()
        left[0] = 0
    data = module(folder)
    assert len(digests(data)) == 60 and not data.found.skipped


@pytest.mark.filterwarnings("ignore:1 of")
@pytest.mark.parametrize(
    ("number", "passes"),
    [(errno.EMFILE, True), (errno.ESTALE, True), (errno.ENOMEM, True), (errno.ETIMEDOUT, True),
     (errno.EACCES, False), (errno.ENOENT, False), (errno.EIO, False)],
)  # fmt: skip
def test_what_passes_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, passes: bool
) -> None:
    original, fails = FolderSource.read, [True]

    def read(self, key):
        if fails[0] and str(key).endswith("/7.png"):
            raise OSError(number, os.strerror(number))
        return original(self, key)

    monkeypatch.setattr(FolderSource, "read", read)
    if passes:
        with pytest.raises(HslError, match=r"7\.png: cannot be read at the moment .*; try again"):
            module(folder).sets()
    else:
        (line,) = module(folder).found.skipped
        assert line.endswith(f"7.png: cannot be read ({os.strerror(number)})")
    fails[0] = False
    assert not module(folder).found.skipped


def test_without_a_home_nothing_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, looks: list[str]
) -> None:
    def home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("HSL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(HslError, match=r"no home folder .*: set HSL_CACHE"):
        cache_folder()
    for times in (1, 2):
        assert len(digests(module(folder))) == 60 and len(looks) == 60 * times


def test_a_cache_that_cannot_be_written_is_done_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HSL_CACHE", str(tmp_path / "file" / "cache"))
    assert len(digests(module(folder))) == 60


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSL_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("HSL_CACHE")
    assert cache_folder() == Path("/b/hsl")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "hsl"


def test_only_as_many_images_are_opened_as_are_needed(folder: Path, looks: list[str]) -> None:
    for i in range(60, 400):
        save(folder / f"{i}.png", i)
    data = ImagesDataModule(str(folder), 8, train=3, validation=1, test=1, num_workers=0)
    data.sets()
    assert len(looks) < 200


def test_a_hub_data_set_is_looked_through_once(tmp_path: Path, looks: list[str]) -> None:
    source = hub(tmp_path, {"train": range(50)})
    before = digests(module(source))
    assert len(looks) == 50
    looks.clear()
    assert digests(module(source)) == before and not looks


def indexed(folder: Path) -> int:
    return len(digests(module(folder)))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_two_processes_at_once(folder: Path, looks: list[str]) -> None:
    with get_context("fork").Pool(2) as pool:
        assert pool.map(indexed, [folder] * 6, chunksize=1) == [60] * 6
    assert len(digests(module(folder))) == 60 and not looks
    assert not list(cache_folder().rglob(".*"))  # nothing half-written stays
