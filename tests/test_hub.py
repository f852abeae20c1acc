"""The Hub is not waited for without end, and its failures are told apart in one line."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import HFValidationError

from hsl import hub
from hsl.errors import HslError


class Hub:
    """What the client's calls do here: ``says`` and ``keeps`` are raised, or None."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.says, self.keeps = folder, None, None
        self.calls: list[dict[str, Any]] = []

    def model_info(self, name: str, timeout: float) -> None:
        self.calls.append({"timeout": timeout})
        if self.says:
            raise self.says

    def snapshot_download(self, name: str, **options: Any) -> str:
        self.calls.append(options)
        if self.keeps:
            raise self.keeps
        return str(self.folder)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch) -> Hub:
    found = Hub(tmp_path)
    monkeypatch.setattr(hub, "HfApi", lambda: SimpleNamespace(model_info=found.model_info))
    monkeypatch.setattr(hub, "snapshot_download", found.snapshot_download)
    return found


def test_its_first_answer_is_waited_for_so_long(fake: Hub, tmp_path: Path) -> None:
    assert hub.snapshot("owner/model", "*.json") == tmp_path
    asked, fetched = fake.calls
    assert asked["timeout"] == hub.WAIT
    assert fetched == {"allow_patterns": ["*.json"], "local_files_only": False}


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionError(), ValueError("a web page")])
def test_without_an_answer_what_is_here_is_taken(fake: Hub, error: Exception) -> None:
    fake.says = error
    hub.snapshot("owner/model", "*.json")
    assert fake.calls[-1]["local_files_only"] is True
    fake.keeps = FileNotFoundError("nothing cached")
    with pytest.raises(HslError, match=r"owner/model: .*could not be reached \(FileNotFoundError"):
        hub.snapshot("owner/model", "*.json")


def test_what_it_does_not_have(fake: Hub) -> None:
    fake.says = HFValidationError("no such name")
    with pytest.raises(HslError, match="the Hub has no such model"):
        hub.snapshot("owner/model", "*.json")
    assert len(fake.calls) == 1


def test_what_cannot_be_kept(fake: Hub) -> None:
    fake.keeps = OSError(errno.ENOSPC, "No space left on device", "/there/.cache")
    with pytest.raises(HslError, match=r"kept at /there/.cache \(No space left.*HF_HOME"):
        hub.snapshot("owner/model", "*.json")
