"""Progress as a reader of a log sees it, and as one at a terminal does."""

import pytest

from hsl import progress
from hsl.progress import duration, track


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until it is set: its only entry is the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.delenv("HSL_PROGRESS", raising=False)
    return now


def walked(clock: list[float], n: int, seconds: float, total: int | None) -> None:
    for _ in track(range(n), "grid of Smiling\x07", total):
        clock[0] += seconds


def test_a_stage_is_a_line_and_then_one_in_half_a_minute(clock, capsys) -> None:
    walked(clock, 8, 20.0, 8)
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == [
        r"grid of Smiling\x07: 0/8",
        r"grid of Smiling\x07: 2/8, 2 min 0 s left",
        r"grid of Smiling\x07: 4/8, 1 min 20 s left",
        r"grid of Smiling\x07: 6/8, 40 s left",
    ]


def test_of_an_unknown_number_it_is_said_how_many_are_done(clock, capsys) -> None:
    walked(clock, 2, 31.0, None)
    assert capsys.readouterr().err.splitlines() == [
        r"grid of Smiling\x07: 0", r"grid of Smiling\x07: 1", r"grid of Smiling\x07: 2",
    ]  # fmt: skip


def test_a_quick_stage_is_one_line(clock, capsys) -> None:
    walked(clock, 100, 0.2, 100)
    assert capsys.readouterr().err == "grid of Smiling\\x07: 0/100\n"


def test_a_terminal_has_a_bar_and_no_lines(clock, capsys, monkeypatch) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    walked(clock, 3, 40.0, 3)
    out, err = capsys.readouterr()
    assert out == "" and "3/3" in err and "0/3\n" not in err


@pytest.mark.parametrize("how", ["told", "rank"])
def test_silence(how: str, clock, capsys, monkeypatch) -> None:
    if how == "told":
        monkeypatch.setenv("HSL_PROGRESS", "0")
    else:
        monkeypatch.setenv("RANK", "1")
    walked(clock, 3, 40.0, 3)
    assert capsys.readouterr() == ("", "")


def test_durations() -> None:
    said = {0: "0 s", 59.4: "59 s", 59.6: "1 min 0 s", 190: "3 min 10 s", 3600: "1 h 0 min",
            3599.7: "1 h 0 min", 7500: "2 h 5 min"}  # fmt: skip
    assert {seconds: duration(seconds) for seconds in said} == said
