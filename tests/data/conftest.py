"""Every test of data has a cache of its own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HSL_CACHE", str(folder))
    monkeypatch.setenv("HSL_PROGRESS", "0")
    return folder
