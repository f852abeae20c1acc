"""A tiny backbone on disk, tiny faces and quiet trainers, for tests of what stands on them."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, VQModel

from hsl.data.toyfaces import ToyFacesDataModule
from hsl.methods.asyrp import Asyrp
from hsl.methods.base import Method
from tiny import backbone

TESTS = Path(__file__).resolve().parent
#: Tests name the callbacks that they are about.
Method.brings_callbacks = False


class Place(NamedTuple):
    """Where runs of ``hsl.train`` are, their backbone, and options that keep them small."""

    root: Path
    backbone: str
    small: dict[str, object]

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def arguments(self, verb: str, name: str, **changed: object) -> list[str]:
        options = self.small | {"model.init_args.backbone": self.backbone, "runs": self.runs}
        options |= {"name": name} | changed
        return [verb, *(f"--{key}={value}" for key, value in options.items())]


def saved_backbone(folder: Path, seed: int = 0) -> str:
    """The path of an untrained 8-pixel backbone in diffusers' layout. Its eps is small, so that
    few steps lead back to the image that was inverted."""
    unet = backbone(seed).unet
    unet.conv_out.weight.data *= 0.003
    unet.conv_out.bias.data *= 0.003
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    return str(folder)


def saved_latent_backbone(folder: Path, seed: int = 0) -> str:
    """The same as the latent diffusion of 16-pixel images, in the layout of its Hub folders."""
    unet = backbone(seed).unet
    unet.conv_out.weight.data *= 0.003
    unet.conv_out.bias.data *= 0.003
    unet.save_pretrained(folder / "unet")
    torch.manual_seed(seed)
    VQModel(
        block_out_channels=(16, 16), norm_num_groups=8, num_vq_embeddings=32, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(folder / "vqvae")  # fmt: skip
    DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195
    ).save_pretrained(folder / "scheduler")
    return str(folder)


def asyrp(backbone: str, **arguments: Any) -> Asyrp:
    """Asyrp of four edited steps of six, without what `Intervals` would find."""
    defaults = {"steps": 6, "t_edit": 300, "t_start": None, "t_boost": 100}
    return Asyrp(backbone=backbone, **(defaults | arguments))


def faces(n: int = 4, **arguments: Any) -> ToyFacesDataModule:
    """Non-smiling 8-pixel faces, ``n`` of each split."""
    where = {"validation": {"Smiling": 0}, "test": {"Smiling": 0}}
    defaults: dict[str, Any] = {"size": 8, "batch_size": 2, "where": where}
    counts = {"train": n, "validation": n, "test": n}
    return ToyFacesDataModule(**(defaults | counts | arguments))


def trainer(folder: Path, *callbacks: L.Callback, epochs: int = 1, **arguments: Any) -> L.Trainer:
    """A trainer on the CPU that prints nothing and writes only what ``callbacks`` write."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
    }  # fmt: skip
    return L.Trainer(
        default_root_dir=folder, callbacks=list(callbacks), max_epochs=epochs,
        **(defaults | arguments),
    )  # fmt: skip


def alone_and_in_two(
    root: Path, script: str, run: Callable[[Path, str, int], object]
) -> tuple[Path, Path]:
    """What ``run(folder, backbone, ranks)`` of ``script`` wrote with one rank, in this process, and
    what it wrote with two."""
    backbone = saved_backbone(root / "backbone")
    for n in ("1", "2"):
        (root / n).mkdir()
    run(root / "1", backbone, 1)
    in_two_ranks(script, root / "2", backbone)
    return root / "1", root / "2"


def in_two_ranks(script: str, folder: Path, backbone: str) -> None:
    """Run ``script FOLDER BACKBONE 2`` in a process of its own, which starts the other rank."""
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "HSL_PROGRESS": "0"}
    command, log = [sys.executable, script, str(folder), backbone, "2"], folder.with_suffix(".log")
    with log.open("w") as out:  # a pipe would stay open as long as either rank lives
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            status = process.wait(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert status == 0, log.read_text()[-2000:]
