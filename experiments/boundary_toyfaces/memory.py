"""What fitting on many large features takes in memory, read from a store on disk.

python experiments/boundary_toyfaces/memory.py    # before run.py, whose RESULTS.md has its figures
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from hsl.methods.features import Blocks
from hsl.progress import track
from hsl.solvers import SVM, combine, gram
from hsl.store import Store
from hsl.tables import write_json

OUT = Path("runs/boundary/memory.json")


def resident(field: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (peak) in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e9


def main() -> None:
    """Fill a store with random features of planted attributes, and fit at every timestep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--dimensions", type=int, default=32768)
    parser.add_argument("--timesteps", type=int, default=10)
    parser.add_argument("--attributes", type=int, default=2)
    parser.add_argument("--folder", help="where the store is made and removed again")
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (args.images, args.attributes), generator=generator).double() * 2 - 1
    planted = torch.randn(args.attributes, args.dimensions, generator=generator)
    side = int((args.dimensions // 512) ** 0.5)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        store, keys = Store(folder), [f"{i:032x}" for i in range(args.images)]
        for key, y in track(list(zip(keys, labels, strict=True)), "features", args.images):
            noise = torch.randn(args.timesteps, args.dimensions, generator=generator)
            h = (noise + 0.1 * y.float() @ planted).half().view(args.timesteps, 512, side, side)
            store.put(key, {f"h.{t}": row for t, row in enumerate(h)})
        start, began, worst = resident("VmRSS"), time.perf_counter(), 1.0
        for t in track(range(args.timesteps), "timesteps", args.timesteps):
            blocks = Blocks(store, keys, f"h.{t}", torch.device("cpu"))
            solution = SVM()(gram(blocks), labels)
            normals = combine(blocks, solution.coefficients).flatten(1)
            cosine = torch.cosine_similarity(normals, planted.double()).min()
            worst = min(worst, float(cosine))
        seconds = time.perf_counter() - began
    found = vars(args) | {
        "peak_gb": resident("VmHWM"),
        "before_gb": start,
        "seconds": seconds,
        "cosine": worst,
    }
    write_json(OUT, found)
    print(", ".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
