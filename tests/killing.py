"""Runs of ``hsl.train`` that are killed at chosen moments: a script that forks a process a run.

``python killing.py FILE``: FILE holds a JSON list of ``[arguments, moment]``. A moment is
``module:attribute.attribute:n``, the n-th call of that function; its first half of a file, for
``torch.save``; a number of seconds; or null: left alone. Prints the list of exit statuses.
"""

import importlib
import io
import json
import os
import signal
import sys
import time
from functools import reduce
from pathlib import Path
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(moment: str) -> None:
    """Let a call be the end of this process."""
    module, path, count = moment.split(":")
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, importlib.import_module(module))
    original, left = getattr(owner, name), int(count)

    def killed(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            if moment.startswith("torch:save"):  # with half of the bytes written
                whole = io.BytesIO()
                original(arguments[0], whole)
                arguments[1].write(whole.getvalue()[: whole.tell() // 2])
                arguments[1].flush()
            die()
        return original(*arguments, **named)

    setattr(owner, name, killed)


def child(arguments: list[str], moment: Any) -> None:
    from hsl.train import command as train

    sys.argv = ["hsl.train"]
    if isinstance(moment, str):
        kill_at(moment)
    os._exit(train.main(arguments))


def main(runs: list[tuple[list[str], Any]]) -> list[int]:
    # once for all: forks have them, so that all runs are of one state of the code
    for module in ("train", "methods.asyrp", "methods.linear", "data.toyfaces"):
        importlib.import_module(f"hsl.{module}")
    statuses = []
    for arguments, moment in runs:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.dup2(2, 1)
            child(arguments, moment)
        if isinstance(moment, float):
            time.sleep(moment)
            os.kill(pid, signal.SIGKILL)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return statuses


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
