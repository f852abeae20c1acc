"""Write into a model's hsl.json what its eps error is on validation faces, for ``--check``.

python experiments/toyfaces/record_eps_errors.py --model hsl/assets/toyfaces/ddpm
"""

import argparse
from pathlib import Path

import torch

from hsl.backbones import load
from hsl.backbones.configs import read_json
from hsl.backbones.eps_error import LEVELS, eps_errors
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.tables import write_json


def faces(split: str, n: int, size: int) -> torch.Tensor:
    """The first ``n`` faces of a split, ``[n, 3, size, size]``."""
    data = ToyFacesDataModule(size=size, batch_size=n, **{split: n})
    loaders = {"validation": data.val_dataloader, "test": data.test_dataloader}
    data.setup("validate" if split == "validation" else split)
    return torch.cat([batch.image for batch in loaders[split]()])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("hsl/assets/toyfaces/ddpm"))
    parser.add_argument("--faces", type=int, default=128)
    args = parser.parse_args()
    backbone = load(str(args.model))
    errors = eps_errors(backbone, faces("validation", args.faces, backbone.image_size)).mean(0)
    about = read_json(args.model / "hsl.json")
    write_json(args.model / "hsl.json", about | {"eps_errors": errors.tolist()})
    shown = zip(LEVELS, errors.tolist(), strict=True)
    print(", ".join(f"{level}: {error:.4f}" for level, error in shown))


if __name__ == "__main__":
    main()
