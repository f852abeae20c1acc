"""How all commands end: statuses, one line, signals, streams that have not all characters."""

import argparse
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from hsl import commands
from hsl.commands.signals import Stopped, stoppable
from hsl.commands.starting import start
from hsl.errors import HslError


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10)  # the handler ends this


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_command_by_one_line(number: int, status: int, capsys) -> None:
    before = signal.getsignal(number)
    assert commands.run("hsl.some", lambda: send(number)) == status
    assert capsys.readouterr().err == "hsl.some: stopped\n"
    assert signal.getsignal(number) is before


def test_what_may_be_said_of_going_on(capsys) -> None:
    for advice, said in (("go on with --resume", "hsl.x: stopped; go on with --resume\n"),
                         (None, "")):  # fmt: skip

        def work(advice: str | None = advice) -> None:
            stopped = Stopped(signal.SIGTERM)
            stopped.advice = advice
            raise stopped

        assert commands.run("hsl.x", work) == 143
        assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("block", "err"), [("stoppable()", b""), ("suppress()", b"hsl.x: stopped\n")]
)
def test_a_signal_after_the_end_says_nothing_more(block: str, err: bytes) -> None:
    """A launcher's second SIGTERM to a rank that is ending; before, it says the line."""
    code = (
        "import os; from contextlib import suppress; from hsl.commands import signals\n"
        "from hsl.commands.signals import stoppable; signals.end_while_importing('hsl.x')\n"
        f"with {block}: pass\n"
        "os.kill(os.getpid(), 15)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode in (-15, 143)
    assert done.stderr == err


@pytest.mark.parametrize("begun", [True, False])
def test_a_signal_to_a_command_that_imports_more(begun: bool) -> None:
    """It is not raised where a library may lose it; in a program that calls one, it is."""
    code = (
        "import os; from contextlib import suppress; from hsl import commands\n"
        "from hsl.commands.signals import Stopped, end_while_importing, importing, stoppable\n"
        f"if {begun}: end_while_importing('hsl.x')\n"
        "with stoppable(), suppress(Stopped):\n"
        "    with importing(): os.kill(os.getpid(), 15)\n"
        "with stoppable(), importing(): pass\n"
        "print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    said = (143, b"hsl.x: stopped\n", b"") if begun else (0, b"", b"went on\n")
    assert (done.returncode, done.stderr, done.stdout) == said


def test_the_same_request_from_several_senders_is_one(monkeypatch) -> None:
    """And one that comes much later ends the process at once."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    with stoppable():
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert not ended
        later = time.monotonic() + 5
        monkeypatch.setattr(time, "monotonic", lambda: later)
        signal.raise_signal(signal.SIGINT)
    assert ended == [130]


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_forked_worker_dies_of_its_signal() -> None:
    with stoppable():
        pid = os.fork()
        if pid == 0:
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


def test_in_another_thread_nothing_changes() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(commands.run("hsl.x", lambda: 5)))
    thread.start()
    thread.join()
    assert found == [5]


@pytest.mark.parametrize(
    ("error", "line"),
    [(HslError("a: wrong"), "hsl.x: a: wrong\n"), (FileNotFoundError(2, "none", "b"), None),
     (argparse.ArgumentError(None, "no option"), "hsl.x: no option\n"),
     (HslError("a: wrong\nand more"), "hsl.x: a: wrong\n"), (HslError(""), "hsl.x: HslError\n"),
     (HslError("a" * 5000), f"hsl.x: {'a' * 999}…\n")],
)  # fmt: skip
def test_what_can_be_mended_is_one_line(error: Exception, line: str | None, capsys) -> None:
    def work() -> None:
        raise error

    assert commands.run("hsl.x", work) == 2
    assert capsys.readouterr().err == (line or f"hsl.x: {error}\n")


def test_other_errors_are_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        commands.run("hsl.x", lambda: 1 // 0)


def test_streams_that_have_not_all_characters(monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252", errors="strict"))
    assert commands.run("hsl.x", lambda: print("caf\u00e9 \u9854 \udcff", flush=True)) == 0
    assert raw.getvalue() == b"caf\xe9 \\u9854 \\udcff" + os.linesep.encode()


def test_a_reader_that_goes_away() -> None:
    """``| head -1``: neither a line nor a traceback."""
    code = (
        "import sys; from hsl import commands\n"
        "sys.exit(commands.run('hsl.x', lambda: [print('line') for _ in range(99999)] and 0))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""


def test_a_reader_that_goes_away_from_rich() -> None:
    """It would end the process with 1, which says that damage was found."""

    def work() -> None:
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            raise SystemExit(1)  # noqa: B904

    assert commands.run("hsl.x", work) == 141
    with pytest.raises(SystemExit):
        commands.run("hsl.x", lambda: sys.exit(0))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_below_a_standard_stream(stream: str) -> None:
    code = (
        "import sys; from hsl import commands; from hsl.errors import HslError\n"
        "def work():\n"
        "    print('line')\n"
        "    if sys.argv[1] == 'stderr':\n"
        "        raise HslError('wrong')\n"
        "sys.exit(commands.run('hsl.x', work))"
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, stream], **(streams | {stream: full}), check=False
        )
    assert done.returncode == 2
    if stream == "stdout":
        assert done.stderr.startswith(b"hsl.x: standard output: not written: the disk is full")
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_the_imports_is_one_line(number: int) -> None:
    """Sent by a module that is found in PyTorch's place."""
    code = f"import os, time; os.kill(os.getpid(), {int(number)}); time.sleep(20)"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "torch.py").write_text(code)
        path = os.pathsep.join([folder, str(Path(commands.__file__).parents[2])])
        done = subprocess.run(
            [sys.executable, "-m", "hsl.study", "latents"], env=os.environ | {"PYTHONPATH": path},
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + number, b"hsl.study: stopped\n")


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"])
@pytest.mark.parametrize("value", ["x", "", "-1"])
def test_a_rank_that_is_no_number_is_one_line(name: str, value: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit, match="2"):
        start(["python", "-m", "hsl.edit", "a.png"])
    assert capsys.readouterr().err.startswith(f"hsl.edit: the environment's {name} is {value!r}: ")
    for other in (["python", "-m", "pytest"], ["python", "-m"], ["python", "a.py"]):
        start(other)
