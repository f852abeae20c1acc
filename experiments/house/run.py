"""The house before and after: how the code is built, and how quickly its commands begin.

    python experiments/house/run.py --before OTHER_CHECKOUT

Counts modules, lines, functions and repeated places of two checkouts, and the modules of hsl that
lie between a command and its optimiser step. Then runs each command in both by turns, several
times, and takes CPU seconds and peak memory of the process. Writes RESULTS.md beside this file.
About 10 minutes on 2 cores.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from structure import structure

from hsl.files import replacing
from hsl.tables import markdown

HERE, ROOT = Path(__file__).parent, Path(__file__).resolve().parents[2]
HELP = ("train", "edit", "study", "data", "store", "convert")
#: What no command that runs a U-Net of diffusers can do without.
FLOOR = "import torch; from diffusers import UNet2DModel"
#: Prints which modules of hsl lie between the command and its first optimiser step.
TRACE = """
import sys, traceback
import torch
from torch.optim import Adam

def step(self, *arguments, **named):
    stack = traceback.extract_stack()
    if not any(frame.name == "training_step" for frame in stack):
        return  # a trial
    files = [frame.filename for frame in stack]
    ours = [f.rpartition("/hsl/")[2] for f in files if f.startswith(sys.argv[1] + "/hsl/")]
    print("HOPS", *dict.fromkeys(ours))
    raise SystemExit(0)

Adam.step = step
sys.path.insert(0, sys.argv[1])
try:
    from hsl.train.command import main
except ImportError:
    from hsl.train import main
main(["fit", "--data.train=2", "--data.batch_size=2", "--model.t_edit=500", "--model.t_boost=100",
      "--wandb=disabled", "--name=hops", "--runs=" + sys.argv[2]])
"""


class Cost(NamedTuple):
    """CPU seconds and peak memory in MiB of a process, by run."""

    seconds: list[float]
    memory: list[float]


def environment(checkout: Path) -> dict[str, str]:
    """Of a command that runs the code of a checkout."""
    quiet = {"HSL_PROGRESS": "0", "WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}
    return os.environ | quiet | {"PYTHONPATH": str(checkout), "OMP_WAIT_POLICY": "PASSIVE"}


def cost(command: list[str], checkout: Path, folder: Path) -> tuple[float, float]:
    """CPU seconds and MiB of one run of a command."""
    process = subprocess.Popen(
        [sys.executable, *command], env=environment(checkout), cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != (2 if "nothing" in command else 0):
        raise SystemExit(f"{' '.join(command)} in {checkout} failed: {said.decode()[-500:]}")
    unit = 1024 if sys.platform == "linux" else 1024**2  # of ru_maxrss
    return used.ru_utime + used.ru_stime, used.ru_maxrss / unit


def hops(checkout: Path, folder: Path) -> list[str]:
    """The modules of hsl on the stack of the first optimiser step of the main job."""
    done = subprocess.run(
        [sys.executable, "-c", TRACE, str(checkout), str(folder / "runs")],
        env=environment(checkout), cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("HOPS")]
    if not found:
        raise SystemExit(f"no optimiser step in {checkout}: {done.stderr[-500:]}")
    return found[0]


def measured(checkouts: dict[str, Path], runs: int) -> list[dict[str, object]]:
    """Each command's cost, a row each."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_store(checkouts["after"], folder / "cache")
        edit = ["-m", "hsl.edit", "--seeds", "0-7", "--overwrite", "--direction"]
        commands = [["-m", f"hsl.{command}", "--help"] for command in HELP]
        commands.append(["-m", "hsl.store", "list", str(folder / "cache")])
        commands += [[*edit, "Smiling"], [*edit, "nothing"], ["-c", FLOOR]]
        for command in commands:
            costs = {when: Cost([], []) for when in checkouts}
            for _ in range(runs):
                for when, checkout in checkouts.items():
                    seconds, memory = cost(command, checkout, folder)
                    costs[when].seconds.append(seconds)
                    costs[when].memory.append(memory)
            shown = " ".join(command).replace(str(folder), "").replace("/cache", "FOLDER")
            shown = shown.removeprefix("-m ")
            row: dict[str, object] = {"command": f"`{shown}`"}
            for what in Cost._fields:
                for when in checkouts:
                    values = getattr(costs[when], what)
                    name = "CPU s" if what == "seconds" else "MiB"
                    row[f"{name}, {when}"] = f"{statistics.median(values):.3g}"
            rows.append(row)
            print(row, flush=True)
    return rows


def make_store(checkout: Path, folder: Path) -> None:
    """A cache with the latents of a few faces, for ``store list``."""
    options = ["--data.train=4", "--data.batch_size=4", f"--model.cache={folder}"]
    subprocess.run(
        [sys.executable, "-m", "hsl.train", "predict", "--wandb=disabled", *options,
         "--name=cache", f"--runs={folder.parent / 'runs'}"],
        env=environment(checkout), cwd=folder.parent, check=True, capture_output=True,
    )  # fmt: skip


def main() -> None:
    """Measure two checkouts, and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the old code")
    parser.add_argument("--runs", type=int, default=3, help="of each command, in each checkout")
    options = parser.parse_args()
    checkouts = {"before": options.before.resolve(), "after": ROOT}
    built = {when: structure(checkout) for when, checkout in checkouts.items()}
    with tempfile.TemporaryDirectory() as name:
        for when, checkout in checkouts.items():
            path = hops(checkout, Path(name))
            what = "modules between a command and its optimiser step"
            built[when][what] = f"{len(path)} ({', '.join(path)})"
    rows = [{"": what} | {when: built[when][what] for when in built} for what in built["before"]]
    commits = {
        when: subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for when, checkout in checkouts.items()
    }  # fmt: skip
    text = (HERE / "template.md").read_text("utf-8").format(
        structure=markdown(rows), start=markdown(measured(checkouts, options.runs)),
        runs=options.runs, machine=f"{platform.machine()}, {os.cpu_count()} cores",
        python=platform.python_version(), **commits,
    )  # fmt: skip
    with replacing(HERE / "RESULTS.md") as temporary:
        temporary.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
