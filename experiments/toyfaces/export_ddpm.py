"""Put a trained diffusion model among the package's data, in 16 bits.

python experiments/toyfaces/export_ddpm.py --run runs/toyfaces/ddpm --out hsl/assets/toyfaces/ddpm
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import UNet2DModel


def main() -> None:
    """Convert and copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/toyfaces/ddpm"))
    parser.add_argument("--out", type=Path, default=Path("hsl/assets/toyfaces/ddpm"))
    parser.add_argument("--name", default="toyfaces")
    args = parser.parse_args()
    training = json.loads((args.run / "training.json").read_text())
    half = UNet2DModel.from_pretrained(
        args.run / "model" / "unet", torch_dtype=torch.float16, low_cpu_mem_usage=False
    )
    half.save_pretrained(args.out / "unet")
    shutil.copytree(args.run / "model" / "scheduler", args.out / "scheduler", dirs_exist_ok=True)
    about = {"name": args.name, "image_size": training["size"], "space_to_depth": 2}
    (args.out / "hsl.json").write_text(json.dumps(about, indent=2) + "\n")
    shutil.copy(args.run / "training.json", args.out / "training.json")


if __name__ == "__main__":
    main()
