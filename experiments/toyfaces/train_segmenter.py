"""Train the ToyFaces segmenter on the renderer's regions, or measure a trained one again.

    python experiments/toyfaces/train_segmenter.py [--measure]

Writes ``segmenter.safetensors`` and its card.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from faces import as_float, degraded, held_out, masks, pictures, training_factors
from hsl.data.toyfaces.renderer import REGIONS
from hsl.encoders.segmenter import KIND, Segmenter
from hsl.encoders.weights import read, write
from training import ASSETS, card, fit, in_chunks, table

SEED, WIDTH = 53, 24
BLUR, NOISE = 0.5, 0.03


def train(args: argparse.Namespace, path: Path) -> None:
    """Train and write the weights."""
    torch.manual_seed(SEED)
    factors = training_factors("judge", args.faces, first=200_000)
    images, truth = pictures(factors), masks(factors)
    network = Segmenter(REGIONS, WIDTH).to(memory_format=torch.channels_last)

    def loss(step: int, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(images), (args.batch,), generator=rng)
        x = degraded(as_float(images[rows]), BLUR, NOISE, rng)
        return cross_entropy(network(x), truth[rows].long())

    seconds = fit(network, loss, args.steps, 3e-3, SEED)
    training = {
        "command": f"python experiments/toyfaces/train_segmenter.py --steps {args.steps} "
        f"--faces {args.faces} --batch {args.batch}",
        "seconds": round(seconds),
        "data": f"{args.faces} faces of the world `judge`, half of them with attributes drawn "
        f"independently; half of each batch blurred up to {BLUR} px and noised up to {NOISE}. "
        f"Seed {SEED}.",
    }
    config = {"kind": KIND, "role": "judge", "regions": REGIONS, "width": WIDTH}
    write(path, network, config | {"training": training})


def overlap(counts: Tensor) -> Tensor:
    """Intersection over union ``[..., K]`` from confusion counts ``[..., K, K]``."""
    both = counts.diagonal(dim1=-2, dim2=-1)
    return both / (counts.sum(-1) + counts.sum(-2) - both).clamp(min=1)


def measure(path: Path) -> None:
    """Measure the written weights on held-out faces and write the card."""
    network, k = Segmenter.load(str(path)), len(REGIONS)
    columns, summary = [], []
    for name, mixed in (("as the world has them", False), ("independent attributes", True)):
        factors = held_out(mixed)
        predicted = in_chunks(lambda x: network(x).argmax(1), as_float(pictures(factors)))
        cells = masks(factors).long() * k + predicted
        counts = torch.stack([torch.bincount(c.flatten(), minlength=k * k) for c in cells])
        counts = counts.float()
        each = overlap(counts.sum(0).view(k, k))
        rng, n = torch.Generator().manual_seed(0), len(counts)
        rows = torch.randint(n, (200, n), generator=rng)
        weights = torch.zeros(200, n).scatter_add_(1, rows, torch.ones(200, n))
        means = overlap((weights @ counts).view(200, k, k)).mean(1)
        low, high = (float(means.quantile(q)) for q in (0.025, 0.975))
        columns.append(each)
        summary.append([name, f"{float(each.mean()):.4f}", f"{low:.4f} to {high:.4f}",
                        f"{float(each.min()):.4f} ({REGIONS[int(each.argmin())]})"])  # fmt: skip
        print(*summary[-1], flush=True)
    rows_of = [[r, *(f"{c[i]:.4f}" for c in columns)] for i, r in enumerate(REGIONS)]
    body = (
        "Intersection over union on 4,000 held-out faces (world `test`, unseen attributes "
        "included), pooled over pixels, with the weights as shipped. A rerun lies within the "
        "interval (95%, bootstrap over faces).\n\n"
        + table(["faces", "mIoU", "interval", "worst"], summary)
        + "\n\n"
        + table(["region", *(s[0] for s in summary)], rows_of)
    )
    config, _ = read(path, KIND)
    card(path, "ToyFaces segmenter", config, body)


def main() -> None:
    """Train, then measure; or measure alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--faces", type=int, default=15_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--measure", action="store_true", help="only measure what is there")
    parser.add_argument("--out", type=Path, default=ASSETS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{KIND}.safetensors"
    if not args.measure:
        train(args, path)
    measure(path)


if __name__ == "__main__":
    main()
