"""What one rank and two find around a training: curves, t_edit and t_boost, directions of every
kind and of several attributes, strengths; and a run of two ranks that is killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from hsl import intervals
from hsl.callbacks import Evaluate, Grids, Intervals, Strength
from hsl.encoders.perceptual import PerceptualDistance
from hsl.intervals.profile import measure
from runs import TESTS, alone_and_in_two, asyrp, faces, saved_backbone, trainer
from test_ranks import assert_alike
from test_resume import SMALL, assert_the_same

FACES = 5  # odd
NAMES = ["Smiling", "Young"]
KINDS = ("implicit", "shift", "global", "eps")
TABLES = ("LPIPS_distance_x0_t.tsv", "LPIPS_distance_x.tsv")
pytestmark = pytest.mark.slow


def run(folder: Path, backbone: str, ranks: int) -> None:
    """Measure the curves, train, choose strengths, edit and measure."""
    spread = {"devices": ranks, "strategy": "ddp" if ranks > 1 else "auto"}
    probe, distance = asyrp(backbone), PerceptualDistance.load("toyfaces/guide", resize=True)
    curves = measure(probe.backbone, probe.grid, faces(FACES).faces("train").images, distance).mean
    low, high = sorted(curves.p.values())[2], max(curves.x.values()) / 2
    for kind in KINDS:
        torch.manual_seed(0)
        method = asyrp(backbone, attribute=NAMES, direction=kind, zero_init=False, t_edit=None,
                       t_boost=None, optimizer=partial(torch.optim.SGD, lr=0.1))  # fmt: skip
        found = Intervals(edit_threshold=low, boost_threshold=high, images=FACES)
        # hardly any share is enough: all are tried, and the one that gets furthest is chosen
        tried = Strength(strengths=[0.5, 4.0, 32.0], share=1.0, images=3, resize=True)
        judged, drawn = Evaluate(resize=True), Grids(images=2, factors=(1.0,))
        fitting = trainer(folder / kind, found, tried, judged, drawn, epochs=2,
                          limit_val_batches=1.0, **spread)  # fmt: skip
        data = faces(FACES, batch_size=4 // ranks, where={})
        fitting.fit(method, datamodule=data)
        logged = {name: float(value) for name, value in fitting.callback_metrics.items()}
        kept = {
            "logged": logged,
            "directions": method.directions.state_dict(),
            "found": [method.t_edits, method.t_boost, method.strengths],
        }
        logged |= fitting.test(method, datamodule=data, verbose=False)[0]
        torch.save(kept, folder / kind / f"rank-{fitting.global_rank}.pt")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """What one rank wrote, in this process, and what two wrote."""
    return alone_and_in_two(tmp_path_factory.mktemp("ranks"), __file__, run)


@pytest.mark.parametrize("kind", KINDS)
def test_alike(kind: str, folders: tuple[Path, Path]) -> None:
    one = torch.load(folders[0] / kind / "rank-0.pt", weights_only=True)
    t_edits, t_boost, strengths = one["found"]
    assert set(t_edits) == set(strengths) == set(NAMES) and t_boost
    for name in TABLES:
        first, second = (intervals.read_tsv(folder / kind / name) for folder in folders)
        assert second == pytest.approx(first, rel=1e-5)
    for rank in (0, 1):
        two = torch.load(folders[1] / kind / f"rank-{rank}.pt", weights_only=True)
        assert two["found"] == one["found"]
        assert_alike(one["logged"], two["logged"])
        assert two["directions"].keys() == one["directions"].keys()
        for key, expected in one["directions"].items():
            assert torch.allclose(two["directions"][key], expected, atol=1e-5), key
    figures = [json.loads((folder / kind / "summary.json").read_text()) for folder in folders]
    assert figures[0].keys() == set(NAMES)
    assert one["logged"].keys() > {f"{stage}/{name}/effect" for stage in ("val", "test")
                                   for name in NAMES}  # fmt: skip
    for name in NAMES:  # the second is drawn by the second rank
        assert all((folder / kind / f"grid_{name}.png").exists() for folder in folders)
    assert_alike(*figures)


def start(root: Path, name: str, *options: str) -> subprocess.Popen[bytes]:
    """Begin or resume a run of two ranks in a process group of its own."""
    settings = SMALL | {"model.init_args.backbone": root / "backbone", "runs": root, "name": name}
    settings |= {"trainer.devices": 2, "trainer.strategy": "ddp", "data.init_args.batch_size": 1}
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "HSL_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    environment.pop("HSL_RUN", None)
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    with (root / f"{name}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "hsl.train", "fit", *arguments, *options],
            env=environment, stdout=log, stderr=log, start_new_session=True, cwd=root,
        )  # fmt: skip


def kill_after(process: subprocess.Popen[bytes], path: Path, writes: int) -> None:
    """Kill all ranks when a file has been replaced so often."""
    seen: set[tuple[int, int]] = set()
    while len(seen) <= writes:
        assert process.poll() is None, "ended before it was killed"
        if path.exists():
            status = path.stat()
            seen.add((status.st_ino, status.st_mtime_ns))
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_and_resumed(tmp_path: Path) -> None:
    saved_backbone(tmp_path / "backbone")
    assert start(tmp_path, "alone").wait(timeout=300) == 0, (tmp_path / "alone.log").read_text()
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    kill_after(start(tmp_path, "killed"), last, 1)
    kill_after(start(tmp_path, "killed", "--resume"), last, 4)
    assert start(tmp_path, "killed", "--resume").wait(timeout=300) == 0, (
        tmp_path / "killed.log"
    ).read_text()
    assert_the_same(tmp_path / "alone", tmp_path / "killed")


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
