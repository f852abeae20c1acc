"""Two nodes of torchrun, here two launchers on one machine, make one run in one folder."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runs import TESTS, Place, saved_backbone
from test_train import SMALL

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def launched(node: int, port: int, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """One node's launcher, which starts one rank."""
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "HSL_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    environment.pop("HSL_RUN", None)
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1",
               f"--node_rank={node}", "--master_addr=127.0.0.1", f"--master_port={port}",
               "-m", "hsl.train", *arguments]  # fmt: skip
    with log.open("w") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=log.parent)


def test_two_nodes_agree_on_one_folder(tmp_path: Path) -> None:
    place = Place(tmp_path, saved_backbone(tmp_path / "backbone"), SMALL)
    spread = {"trainer.strategy": "ddp", "trainer.num_nodes": 2, "data.init_args.batch_size": 1}
    arguments = [a for a in place.arguments("fit", "", **spread) if not a.startswith("--name")]
    logs, port = [tmp_path / f"{node}.log" for node in (0, 1)], free_port()
    nodes = [launched(node, port, arguments, log) for node, log in enumerate(logs)]
    try:
        statuses = [node.wait(timeout=300) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert statuses == [0, 0], "".join(log.read_text()[-2000:] for log in logs)
    (folder,) = place.runs.iterdir()
    assert json.loads((folder / "summary.json").read_text())["images"] == 3
    assert (folder / "checkpoints" / "final.ckpt").exists() and (folder / "grid.png").exists()
    assert [log.read_text().splitlines()[-1:] == [str(folder)] for log in logs] == [True, False]
