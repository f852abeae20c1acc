"""W&B online, where nobody is logged in."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from hsl.train.loggers import require_login

ROOT = Path(__file__).resolve().parents[2]
CODE = "import sys; from pathlib import Path; from hsl.train.loggers import loggers; " \
       "loggers(Path(sys.argv[1]), 'a', 'online', None)"  # fmt: skip


def test_wandb_online_without_a_login_is_refused_and_asks_nothing(tmp_path: Path) -> None:
    """Also at a terminal, where W&B would wait for a key."""
    unknown = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), "WANDB_SILENT": "true",
               "WANDB_CONFIG_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}  # fmt: skip
    others = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(tmp_path / "run")], env=others | unknown, stdin=theirs,
            stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert "--wandb online: nobody is logged in" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_who_is_known_or_stays_offline_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wandb.login", lambda prompt, verify: True)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    require_login()
    monkeypatch.setattr("wandb.login", None)
    monkeypatch.setenv("WANDB_MODE", "offline")
    require_login()
