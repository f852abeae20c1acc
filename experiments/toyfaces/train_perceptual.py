"""Train a network of ToyFaces' perceptual distances, or measure a trained one again.

    python experiments/toyfaces/train_perceptual.py --role guide [--measure]

Writes ``perceptual_ROLE.safetensors`` and its card. The network learns to tell everything that a
face is drawn from: attributes, nuisances, and the share of each region in each of 8x8 cells. Then
the layers are weighted so that each adds 1/4 to the mean distance of two unrelated faces.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
    one_hot,
)

from faces import as_float, blurred, degraded, held_out, masks, pictures, training_factors, visible
from hsl.data.toyfaces.factors import ATTRIBUTES, COLUMN, NUISANCES, counterfactual
from hsl.data.toyfaces.renderer import REGIONS
from hsl.encoders.perceptual import KIND, LayerDistance, PerceptualDistance
from hsl.encoders.weights import read, write
from training import ASSETS, SUITS, card, fit, in_chunks, table

#: Guides read P_t, which is blurred and noisy; judges read images that are finished.
ROLES = {
    "guide": {"seed": 71, "width": 16, "blur": 2.0, "noise": 0.2},
    "judge": {"seed": 67, "width": 24, "blur": 0.5, "noise": 0.03},
}


class Learner(nn.Module):
    """The distance's network of a width, with the heads that it learns by and then loses."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.distance = LayerDistance(width)
        self.factors = nn.Linear(4 * width * 16, len(ATTRIBUTES) + len(NUISANCES))
        self.cells = nn.Conv2d(4 * width, len(REGIONS), 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Attribute logits and nuisances ``[B, 43]``; region logits ``[B, 12, 8, 8]``."""
        features = self.distance.features(images)
        return self.factors(features[3].flatten(1)), self.cells(features[2])


def train(args: argparse.Namespace, path: Path) -> None:
    """Train, weight the layers and write the weights."""
    role = ROLES[args.role]
    seed, width = int(role["seed"]), int(role["width"])
    torch.manual_seed(seed)
    factors = training_factors(args.role, args.faces, first=300_000)
    images, parts, truth = pictures(factors), masks(factors), visible(factors)
    learner = Learner(width).to(memory_format=torch.channels_last)

    def loss(step: int, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(images), (args.batch,), generator=rng)
        said, cells = learner(degraded(as_float(images[rows]), role["blur"], role["noise"], rng))
        shares = avg_pool2d(one_hot(parts[rows].long(), len(REGIONS)).movedim(3, 1).float(), 4)
        attributes, nuisances = said.split([len(ATTRIBUTES), len(NUISANCES)], dim=1)
        return (
            binary_cross_entropy_with_logits(attributes, truth[rows])
            + mse_loss(nuisances, factors.nuisances[rows])
            + 0.3 * cross_entropy(cells, shares)
        )

    seconds = fit(learner, loss, args.steps, 2e-3, seed)
    distance = learner.distance.requires_grad_(False)
    first, second = as_float(images[:1000]), as_float(images[1000:2000])
    distance.weights = 1 / (4 * distance.by_layer(first, second).mean(0))
    training = {
        "command": f"python experiments/toyfaces/train_perceptual.py --role {args.role} --steps "
        f"{args.steps} --faces {args.faces} --batch {args.batch}",
        "seconds": round(seconds),
        "data": f"{args.faces} faces of the world `{args.role}`, half of them with attributes "
        f"drawn independently; half of each batch blurred up to {role['blur']} px and noised up "
        f"to {role['noise']}. Seed {seed}. Layer weights: each layer adds 1/4 to the mean distance "
        f"of 1,000 pairs of unrelated training faces.",
    }
    config = {"kind": KIND, "role": args.role, "width": width} | SUITS
    write(path, distance, config | {"training": training})


def measure(path: Path) -> None:
    """Measure distances between held-out faces and write the card."""
    distance, factors = PerceptualDistance.load(str(path)), held_out(mixed=False, n=1000)
    x, truth = as_float(pictures(factors)), visible(factors)
    rng, rows = torch.Generator().manual_seed(0), []

    def add(what: str, a: Tensor, b: Tensor) -> None:
        found = in_chunks(lambda pair: distance(pair[:, 0], pair[:, 1]), torch.stack([a, b], 1))
        picks = torch.randint(len(found), (500, len(found)), generator=rng)
        error = float(found[picks].mean(1).std())
        five, middle, most = (float(found.quantile(q)) for q in (0.05, 0.5, 0.95))
        rows.append([what, f"{float(found.mean()):.4f} ± {1.96 * error:.4f}",
                     f"{five:.4f}, {middle:.4f}, {most:.4f}"])  # fmt: skip
        print(*rows[-1], flush=True)

    add("another face", x, x.roll(1, 0))
    for level in (0.02, 0.05, 0.1, 0.2, 0.4):
        add(f"noise {level}", x, x + level * torch.randn(x.shape, generator=rng))
    for sigma in (0.5, 1.0, 2.0):
        add(f"blur {sigma} px", x, blurred(x, torch.full((len(x),), sigma)))
    add("shift by 1 px", x, x.roll(1, 3))
    add("brighter by 0.1", x, (x + 0.1).clamp(max=1))
    for name in ATTRIBUTES:
        without = truth[:, COLUMN[name]] == 0
        edited = counterfactual(factors[without], **{name: 1})
        add(f"counterfactual {name}", x[without], as_float(pictures(edited)))
    body = (
        "Distance of a held-out face (world `test`, 1,000 faces) to itself after a change; 1 is "
        "the mean distance of two unrelated faces. With the weights as shipped; ± is 1.96 "
        "bootstrap standard errors over faces, within which a rerun lies.\n\n"
        + table(["change", "mean", "5%, median, 95%"], rows)
        + f"\n\nLayer weights: {[round(w, 3) for w in distance.network.weights.tolist()]}."
    )
    config, _ = read(path, KIND)
    card(path, f"ToyFaces perceptual distance ({distance.role})", config, body)


def main() -> None:
    """Train, then measure; or measure alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=("guide", "judge"), required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--faces", type=int, default=15_000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--measure", action="store_true", help="only measure what is there")
    parser.add_argument("--out", type=Path, default=ASSETS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{KIND}_{args.role}.safetensors"
    if not args.measure:
        train(args, path)
    measure(path)


if __name__ == "__main__":
    main()
