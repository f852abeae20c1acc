"""What --check tells apart, and what loading and converting a 450 MB file takes in memory.

python experiments/checkpoints/run.py            # writes experiments/checkpoints/RESULTS.md
"""

import argparse
import copy
import subprocess
import sys
import tempfile
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from safetensors.torch import save_file

from hsl.backbones import PRESETS, Backbone, load
from hsl.backbones.architecture import config
from hsl.backbones.ddpm import key_map
from hsl.backbones.eps_error import (
    LINEAR_THRESHOLD,
    RECORDED_THRESHOLD,
    eps_errors,
    linear_errors,
)
from hsl.backbones.original import meta_unet
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.directions import commit
from hsl.files import replacing
from hsl.progress import track
from hsl.tables import markdown

HERE = Path(__file__).parent
#: Run in a process of its own: how far its memory rises above what the imports take.
MEASURE = """
import sys
from pathlib import Path
from hsl import convert
from hsl.backbones import load

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

start = resident("VmRSS")
if sys.argv[1] == "load":
    net = load(sys.argv[2])
    total = sum(float(p.sum()) for p in net.unet.parameters())  # every page is touched
else:
    assert convert.main([sys.argv[2], sys.argv[3]]) == 0
print("ROSE", resident("VmHWM") - start)
"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=512)
    parser.add_argument("--permuted", type=int, default=128, help="faces for the permutations")
    args = parser.parse_args()
    text = f"""# Checkpoints: what --check tells apart, and what loading takes

`python experiments/checkpoints/run.py`, commit {commit()}, {torch.get_num_threads()} CPU threads.

## The eps error of permuted attention

`python -m hsl.convert MODEL --check IMAGE` compares the eps error on one noised image with a
reference: what was recorded for the model itself (`eps_errors` in its hsl.json), or else the error
of the best linear filter for that image. Ratios are geometric means over seven noise levels. A
model is refused above {RECORDED_THRESHOLD} times the first, or {LINEAR_THRESHOLD} times the second.
Below: the bundled diffusion model on single ToyFaces test images, as it is
({args.faces} images) and with the projections q, k and v of every attention layer exchanged
({args.permuted} images). "refused": the share of images with which `--check` refuses it.

{markdown(permuted(args.faces, args.permuted))}
Exchanging q and k only transposes the attention, which this small model, with attention at
{load("toyfaces").h_shape[1]} x {load("toyfaces").h_shape[2]} alone, half survives: its ratio is
reported, and one image does not always suffice to refuse it.

## Memory

A DDPM U-Net of 256 pixels with random weights (113,673,219 parameters, 455 MB in float32), in its
original layout, loaded by `hsl.backbones.load` with every weight read once, and converted by
`python -m hsl.convert`, each in a process of its own. "rise": peak resident memory above that after
the imports, as a multiple of the file's size; files that are mapped count as far as they are read.

{markdown(memory())}"""
    with replacing(HERE / "RESULTS.md") as temporary:
        temporary.write_text(text)
    print(text)


def permuted(faces: int, few: int) -> list[dict[str, Any]]:
    """One row for each order of q, k and v."""
    backbone = load("toyfaces")
    data = ToyFacesDataModule(size=backbone.image_size, batch_size=64, test=faces)
    data.setup("test")
    images = torch.cat([batch.image for batch in data.test_dataloader()])
    linear = linear_errors(backbone, images)
    recorded = torch.tensor([backbone.eps_errors])
    rows = []
    orders = list(permutations("qkv"))
    for order in track(orders, "permutations", len(orders)):
        right = order == ("q", "k", "v")
        chosen = slice(faces if right else few)
        errors = eps_errors(exchanged(backbone, order), images[chosen])
        ratios = (errors / recorded).log().mean(1).exp()
        filtered = (errors / linear[chosen]).log().mean(1).exp()
        rows.append(
            {
                "q, k, v": ", ".join(order) + (" (right)" if right else ""),
                "ratio to its own": f"{ratios.mean():.2f}",
                "lowest": f"{ratios.min():.2f}",
                "highest": f"{ratios.max():.2f}",
                "refused": f"{(ratios > RECORDED_THRESHOLD).float().mean():.0%}",
                "ratio to linear": f"{filtered.mean():.2f}",
                "lowest ": f"{filtered.min():.2f}",
                "highest ": f"{filtered.max():.2f}",
                "refused ": f"{(filtered > LINEAR_THRESHOLD).float().mean():.0%}",
            }
        )
    return rows


def exchanged(backbone: Backbone, order: tuple[str, ...]) -> Backbone:
    """A copy whose attention takes the projections in another order."""
    backbone = copy.deepcopy(backbone)
    for module in backbone.unet.modules():
        if isinstance(module, Attention):
            held = {"q": module.to_q, "k": module.to_k, "v": module.to_v}
            module.to_q, module.to_k, module.to_v = (held[name] for name in order)
    return backbone


def memory() -> list[dict[str, Any]]:
    """One row for each format and job."""
    preset = PRESETS["ddpm-256"]
    keys = key_map(preset.architecture)
    shapes = meta_unet(config(preset.architecture, preset.unstated))
    state = {
        keys[name].source: torch.randn(keys[name].shape(shape)) * 0.02
        for name, shape in shapes.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        torch.save(state, root / "zip.ckpt")
        torch.save(state, root / "legacy.ckpt", _use_new_zipfile_serialization=False)
        save_file(state, root / "file.safetensors")
        del state
        rows = []
        for kind, name in (
            ("PyTorch zip", "zip.ckpt"),
            ("PyTorch legacy", "legacy.ckpt"),
            ("safetensors", "file.safetensors"),
        ):
            out = root / f"{name}-converted"
            rows += [rise(kind, "load", root / name), rise(kind, "convert", root / name, out)]
        rows.append(rise("diffusers folder", "load", root / "zip.ckpt-converted"))
    return rows


def rise(kind: str, job: str, path: Path, *out: Path) -> dict[str, Any]:
    """How far memory rises above what the imports take, in a process of its own."""
    command = [sys.executable, "-c", MEASURE, job, str(path), *map(str, out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    files = path.rglob("*.safetensors") if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    rose = int(done.stdout.rpartition("ROSE")[2])
    return {"file": kind, "job": job, "MB": f"{size / 1e6:.0f}", "rise": f"{rose / size:.2f}"}


if __name__ == "__main__":
    main()
