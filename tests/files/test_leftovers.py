"""What killed processes were writing goes, and what others are writing stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

from hsl.files.leftovers import ABANDONED, is_abandoned, is_temporary, sweep, temporary_name
from runs import TESTS


def name_of_a_dead_process() -> str:
    code = "from hsl.files.leftovers import temporary_name as name; print(name('.png'))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
    ).stdout.strip()  # fmt: skip


def test_names_are_known_and_no_two_are_the_same() -> None:
    names = {temporary_name(".safetensors") for _ in range(1000)}
    assert len(names) == 1000
    assert all(is_temporary(name) and len(name) < 50 for name in names)
    assert not is_temporary("a.safetensors") and not is_temporary(".hidden")


def test_a_folder_is_swept_of_what_the_dead_left(tmp_path: Path) -> None:
    """As after a conversion that was killed, with gigabytes in its folder."""
    dead, ours = tmp_path / name_of_a_dead_process(), tmp_path / temporary_name()
    others = tmp_path / ".hsl-0123456789abcdef0123"  # of another machine
    for folder in (dead, ours, others, tmp_path / ".hsl-mine"):
        (folder / "unet").mkdir(parents=True)
    file = dead.with_name(dead.name.replace(".png", ".json"))
    file.write_text("half")
    assert is_abandoned(dead) and is_abandoned(file) and not is_abandoned(ours)
    sweep(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {ours.name, others.name, ".hsl-mine"}
    old = time.time() - 2 * ABANDONED
    os.utime(others, (old, old))
    sweep(tmp_path, ABANDONED)
    assert not others.exists() and ours.exists()
    sweep(tmp_path / "nowhere")
