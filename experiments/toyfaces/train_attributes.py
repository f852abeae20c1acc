"""Train a ToyFaces attribute classifier, or measure a trained one again.

    python experiments/toyfaces/train_attributes.py --role judge
    python experiments/toyfaces/train_attributes.py --role judge --measure

Writes ``attributes_ROLE.safetensors`` and its card.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from faces import as_float, blurred, degraded, held_out, pictures, training_factors, visible
from hsl.data.toyfaces.factors import ATTRIBUTES
from hsl.encoders.attributes import KIND, AttributeClassifier
from hsl.encoders.weights import read, write
from training import ASSETS, balanced_accuracy, card, fit, in_chunks, milliseconds, spread, table

#: Guides read P_t, which is blurred and noisy; judges read images that are finished.
ROLES = {
    "guide": {"seed": 11, "width": 16, "blur": 2.0, "noise": 0.2},
    "judge": {"seed": 23, "width": 24, "blur": 0.5, "noise": 0.03},
}


def train(args: argparse.Namespace, path: Path) -> None:
    """Train and write the weights."""
    role = ROLES[args.role]
    torch.manual_seed(int(role["seed"]))
    factors = training_factors(args.role, args.faces)
    images, truth = pictures(factors), visible(factors)
    network = AttributeClassifier(ATTRIBUTES, args.role, int(role["width"]))
    network.to(memory_format=torch.channels_last)

    def loss(step: int, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(images), (args.batch,), generator=rng)
        x = degraded(as_float(images[rows]), role["blur"], role["noise"], rng)
        return binary_cross_entropy_with_logits(network(x), truth[rows])

    seconds = fit(network, loss, args.steps, 2e-3, int(role["seed"]))
    command = f"python experiments/toyfaces/train_attributes.py --role {args.role}"
    training = {
        "command": f"{command} --steps {args.steps} --faces {args.faces} --batch {args.batch}",
        "seconds": round(seconds),
        "data": f"{args.faces} faces of the world `{args.role}`, half of them with attributes "
        f"drawn independently; half of each batch blurred up to {role['blur']} px and noised up "
        f"to {role['noise']}. Seed {role['seed']}.",
    }
    config = {"kind": KIND, "role": args.role, "names": ATTRIBUTES, "width": role["width"]}
    write(path, network, config | {"training": training})


def measure(path: Path) -> None:
    """Measure the written weights on held-out faces and write the card."""
    network = AttributeClassifier.load(str(path))
    columns, summary = [], []
    for name, mixed, sigma, noise in (
        ("as the world has them", False, 0.0, 0.0),
        ("independent attributes", True, 0.0, 0.0),
        ("independent, blur 1 px, noise 0.1", True, 1.0, 0.1),
    ):
        factors = held_out(mixed)
        x, truth = as_float(pictures(factors)), visible(factors)
        rng = torch.Generator().manual_seed(0)
        x = blurred(x, torch.full((len(x),), sigma)) + noise * torch.randn(x.shape, generator=rng)
        predicted = (in_chunks(network, x) > 0).float()
        each = balanced_accuracy(predicted, truth)[0]
        mean, low, high = spread(predicted, truth)
        worst = ATTRIBUTES[int(each.argmin())]
        columns.append(each)
        summary.append([name, f"{mean:.4f}", f"{low:.4f} to {high:.4f}",
                        f"{float(each.min()):.4f} ({worst})"])  # fmt: skip
        print(*summary[-1], flush=True)
    rows = [[a, *(f"{c[i]:.4f}" for c in columns)] for i, a in enumerate(ATTRIBUTES)]
    speed = milliseconds(network, network)
    body = (
        "Balanced accuracy on 4,000 held-out faces (world `test`, unseen attributes included), "
        "with the weights as shipped. A rerun lies within the interval (95%, bootstrap over "
        "faces).\n\n"
        + table(["faces", "mean", "interval", "worst"], summary)
        + "\n\n"
        + table(["attribute", *(s[0] for s in summary)], rows)
        + f"\n\nForward and backward to one 32-px image: {speed:.1f} ms on one thread."
    )
    config, _ = read(path, KIND)
    card(path, f"ToyFaces attribute classifier ({network.role})", config, body)


def main() -> None:
    """Train, then measure; or measure alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=("guide", "judge"), required=True)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--faces", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=128)
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
