"""The Hub is not waited for without end, and its failures are told apart in one line."""

import errno
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import HFValidationError

from hsl import hub
from hsl.backbones import load
from hsl.data import published
from hsl.data.align import _detector
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


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """A Hub that accepts and never answers; those who asked."""
    asked: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    asked.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "WAIT", 0.3)
        yield asked
    for connection in asked:
        connection.close()


def test_asking_a_silent_hub_has_an_end(silent: list[socket.socket]) -> None:
    with pytest.raises(HslError, match=r"google/none: .*could not be reached") as error:
        load("google/none")
    assert "\n" not in str(error.value) and silent
    assert not constants.HF_HUB_OFFLINE and socket.getdefaulttimeout() is None


def test_what_is_on_this_disk_is_taken_from_a_silent_hub(
    silent: list[socket.socket], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 40
    kept = tmp_path / "models--owner--model"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    (kept / "snapshots" / commit).mkdir(parents=True)
    (kept / "snapshots" / commit / "config.json").write_text("{}")
    with hub.limited() as said:
        assert said is not None and "did not answer" in said
        path = hf_hub_download("owner/model", "config.json", cache_dir=tmp_path)
    assert path.endswith("config.json")


def test_a_model_that_a_detector_needs(silent: list[socket.socket], monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace())  # which need not be installed
    _detector.cache_clear()
    with pytest.raises(HslError, match="did not answer"):
        _detector()


def test_a_data_set(silent: list[socket.socket]) -> None:
    with pytest.raises(HslError, match=r"owner/none: .*did not answer in 0.3 seconds; check the n"):
        published.load("owner/none", None, False)
    assert len(silent) == 1


def test_an_offline_client_asks_nobody(silent: list[socket.socket], monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with hub.limited() as said:
        assert said is None and constants.HF_HUB_OFFLINE
    assert constants.HF_HUB_OFFLINE and not silent


def test_a_hub_that_refuses_says_so_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with hub.limited() as said:
        assert said is None and socket.getdefaulttimeout() == hub.SECONDS
