"""``python -m hsl.store``, and what processes that write at once, or are killed, leave behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hsl.files import replacing
from hsl.store import Store, key_of
from hsl.store.__main__ import main
from hsl.store.folder import damage, leftovers, records

DAY = 86400
X_T = {"kind": "x_T", "backbone": "ab12"}
#: Writes the same keys again and again, and reads what the other process writes meanwhile.
HAMMER = """
import sys, torch
from pathlib import Path
from hsl.store import Store, key_of
from hsl.store.folder import damage
store, turns = Store(sys.argv[1]), int(sys.argv[2])
keys = [key_of(i) for i in range(8)]
for turn in range(turns):
    for i, key in enumerate(keys):
        store.put(key, {"a": torch.full((64, 64), float(i))})
    for i, key in enumerate(reversed(keys)):
        assert store.has(key), "a record was gone"
        record = store.get(key)
        assert record is not None and bool((record["a"] == 7 - i).all()), "a torn record"
        assert damage(store._path(key)) is None, "a damaged record"
print("done", flush=True)
"""
#: Tells when it begins to write a large record without end.
ENDLESS = """
import sys, torch
from hsl.store import Store, key_of
big = torch.arange(4_000_000.)
Store(sys.argv[1]).put(key_of("whole"), {"a": big})
print("writing", flush=True)
while True:
    Store(sys.argv[1]).put(key_of("big"), {"a": big})
"""


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    monkeypatch.setenv("HSL_PROGRESS", "0")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def cache(tmp_path: Path) -> Store:
    """Five records: two x_T of 10 and 20 days, a trajectory of 1 day, and two that say nothing."""
    store = Store(tmp_path / "cache")
    told = [(10, X_T), (20, X_T), (1, {"kind": "trajectory"}), (5, None), (6, None)]
    for i, (days, about) in enumerate(told):
        store.put(key_of(i), {"a": torch.full((50, 50), float(i))}, about)
        age(path_of(store, i), days)
    return store


def path_of(store: Store, name: object) -> Path:
    key = key_of(name)
    assert store.folder is not None
    return store.folder / key[:2] / f"{key}.safetensors"


def age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * DAY,) * 2)


def flip(path: Path) -> None:
    """Change the last byte, which no header tells."""
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))


def names(store: Store) -> set[int]:
    return {i for i in range(5) if store.has(key_of(i))}


def process(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_list(cache: Store, capsys) -> None:
    assert main(["list", str(cache.folder)]) == 0
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    rows = {cells[1].strip(): [c.strip() for c in cells[2:-1]] for cells in lines}
    assert rows["x_T"][:2] == ["ab12", "2"] and rows["x_T"][3:] == ["20", "10"]
    assert rows["trajectory"][1] == "1" and rows["unknown"][1] == "2"
    assert rows["all"][1] == "5" and float(rows["all"][2]) == pytest.approx(0.051, abs=2e-3)


def test_what_is_no_record_is_neither_listed_nor_removed(cache: Store, capsys) -> None:
    assert cache.folder is not None
    others = [cache.folder / "model.safetensors", cache.folder / "ab" / "ab.safetensors",
              cache.folder / "ab" / f"cd{'0' * 30}.safetensors",
              cache.folder / "ab" / ".tmp"]  # fmt: skip
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    assert len(records(cache.folder)) == 5
    assert main(["prune", str(cache.folder), "--days", "0", "--damaged", "--megabytes=0"]) == 0
    assert "removed 5 files" in capsys.readouterr().out
    assert all(path.exists() for path in others) and not records(cache.folder)


@pytest.mark.parametrize("harm", ["values", "truncated", "empty", "other", "header"])
def test_verify_lists_what_is_damaged(cache: Store, harm: str, capsys) -> None:
    assert main(["verify", str(cache.folder)]) == 0
    assert capsys.readouterr().out.splitlines() == ["5 records, 0 damaged"]
    path = path_of(cache, 2)
    whole = path.read_bytes()
    harmed = {"truncated": whole[:-1], "empty": b"", "other": b"not a safetensors file",
              "header": whole.replace(b"checksum", b"checksun", 1)}  # fmt: skip
    path.write_bytes(harmed[harm]) if harm in harmed else flip(path)
    assert main(["verify", str(cache.folder)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{path}: ") and last == "5 records, 1 damaged"
    assert main(["prune", str(cache.folder), "--damaged"]) == 0
    assert names(cache) == {0, 1, 3, 4} and main(["verify", str(cache.folder)]) == 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], {0, 1, 2, 3, 4}),
        (["--days=5.5"], {2, 3}),
        (["--megabytes=0.025"], {2, 3}),  # a record has some 10 kB
        (["--megabytes=1"], {0, 1, 2, 3, 4}),
        (["--days=15", "--megabytes=0.025"], {2, 3}),
        (["--kind=x_T"], {2, 3, 4}),
        (["--kind=x_T", "--days=15"], {0, 2, 3, 4}),
        (["--kind=unknown", "--megabytes=0.015"], {0, 1, 2, 3}),
        (["--damaged"], {0, 1, 2, 3, 4}),
    ],
    ids=str,
)
def test_prune(cache: Store, given: list[str], kept: set[int], capsys) -> None:
    folder = str(cache.folder)
    assert main(["prune", folder, *given, "--dry-run"]) == 0
    assert f"would remove {5 - len(kept)} files" in capsys.readouterr().out
    assert names(cache) == {0, 1, 2, 3, 4}
    assert main(["prune", folder, *given]) == 0
    assert f"removed {5 - len(kept)} files" in capsys.readouterr().out
    assert names(cache) == kept


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["list", "absent"], "absent: no such folder"),
        (["prune", "absent"], "absent: no such folder"),
        (["prune", ".", "--days=-1"], "--days"),
        (["prune", ".", "--megabytes=nan"], "--megabytes"),
        (["prune", ".", "--kind=x_T"], "no such records"),
        (["prune", ".", "--old"], "--old"),
        (["tidy", "."], "tidy"),
        (["list"], "give a verb and a folder"),
        ([], "give a verb and a folder"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(given, message, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(given) == 2
    err = capsys.readouterr().err
    assert err.startswith("hsl.store: ") and message in err and err.count("\n") == 1


def test_two_processes_write_the_same_keys_at_once(tmp_path: Path) -> None:
    both = [process(HAMMER, tmp_path, 40) for _ in range(2)]
    ends = [(*one.communicate(timeout=120), one.returncode) for one in both]
    assert [(out, code) for out, _, code in ends] == [("done\n", 0)] * 2, ends
    assert len(records(tmp_path)) == 8 and not [e for e in records(tmp_path) if damage(e.path)]
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 8


def test_a_killed_writer_leaves_nothing_broken(tmp_path: Path, capsys) -> None:
    left: list[Path] = []
    for _ in range(20):  # until one was killed amid its writing
        writer = process(ENDLESS, tmp_path)
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        deadline = time.time() + 5
        while not (left := list(tmp_path.glob("??/.*"))) and time.time() < deadline:
            time.sleep(0.001)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        if left := list(tmp_path.glob("??/.*")):
            break
    assert left
    store = Store(tmp_path)
    assert store.has(key_of("whole")) and main(["verify", str(tmp_path)]) == 0
    other = left[0].with_name(".hsl-0123456789abcdef0123")  # of another machine: it may live there
    other.touch()
    assert {entry.path for entry in leftovers(tmp_path)} == set(left)
    assert main(["list", str(tmp_path)]) == 0
    assert "left behind" in capsys.readouterr().out
    assert main(["prune", str(tmp_path)]) == 0
    assert not any(path.exists() for path in left) and other.exists() and store.has(key_of("whole"))
    assert store.many([key_of("big")], lambda rows: [{"a": torch.ones(1)}])[0]["a"].numel() > 0


def test_a_record_pruned_meanwhile_is_not_damaged(cache: Store) -> None:
    assert damage(path_of(cache, "absent")) is None


def test_temporary_files_of_both_writers_are_known(cache: Store) -> None:
    with replacing(path_of(cache, 0)) as temporary:
        ours, theirs = temporary, temporary.with_name(".tmpA1b2C3")
        for path, days in ((ours, 1.0), (theirs, 1.0), (theirs.with_name(".tmpA1b2C4"), 0.01)):
            path.touch()
            age(path, days)
        assert cache.folder is not None
        assert {entry.path for entry in leftovers(cache.folder)} == {ours, theirs}
        assert len(records(cache.folder)) == 5
        temporary.write_bytes(path_of(cache, 0).read_bytes())
    assert cache.has(key_of(0))
