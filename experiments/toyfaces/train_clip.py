"""Train a ToyFaces CLIP on generated captions, or measure a trained one again.

    python experiments/toyfaces/train_clip.py --role guide
    python experiments/toyfaces/train_clip.py --role guide --measure

Writes ``clip_ROLE.safetensors`` and its card. The loss is that of SigLIP, except that the true
matches are known: a caption fits every image that is as it says, not its own alone.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize, softplus

from faces import as_float, blurred, degraded, held_out, pictures, training_factors, visible
from hsl.data.toyfaces.captions import TEMPLATES, TEXTS, ZERO_SHOT, caption, vocabulary
from hsl.data.toyfaces.factors import ATTRIBUTES, COLUMN, Factors, counterfactual
from hsl.encoders.clip import KIND, Clip, small
from hsl.encoders.weights import read, write
from training import ASSETS, balanced_accuracy, card, fit, in_chunks, milliseconds, spread, table

#: Guides read P_t, which is blurred and noisy; judges read images that are finished.
ROLES = {
    "guide": {"seed": 37, "width": 16, "text": 128, "blur": 2.0, "noise": 0.2},
    "judge": {"seed": 41, "width": 24, "text": 96, "blur": 0.5, "noise": 0.03},
}
#: A caption fits where the cosine exceeds this. Being positive, it makes texts share a part that
#: all faces have, so that bare texts such as "face" and "smiling face" have a positive cosine.
THRESHOLD = 0.35


def train(args: argparse.Namespace, path: Path) -> None:
    """Train and write the weights."""
    role = ROLES[args.role]
    seed = int(role["seed"])
    torch.manual_seed(seed)
    factors = training_factors(args.role, args.faces, first=100_000)
    images, truth = pictures(factors), visible(factors)
    words, width = vocabulary(), int(role["text"])
    text = {"width": width, "heads": 4, "layers": 2, "context_length": 36, "dim": 64}
    model, tokenize = small(words, int(role["width"]), text)
    nn.init.constant_(model.logit_scale, math.log(20))
    model.visual.to(memory_format=torch.channels_last)

    def loss(step: int, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(images), (args.batch,), generator=rng)
        x = degraded(as_float(images[rows]), role["blur"], role["noise"], rng)
        # One attribute a caption at first: words are learnt before sentences.
        most = 1 if 2 * step < args.steps else 2 if 3 * step < 2 * args.steps else 4
        said = caption(truth[rows[: args.captions]], rng, most)
        fits = said.fit(truth[rows]).float()
        image = normalize(model.encode_image(x), dim=1)
        words_of = normalize(model.encode_text(tokenize(said.texts)), dim=1)
        z = model.logit_scale.exp().clamp(max=100) * (image @ words_of.T - THRESHOLD)
        # Images that fit a caption and images that do not weigh alike, however rare it is.
        yes = (softplus(-z) * fits).sum(0) / fits.sum(0)
        no = (softplus(z) * (1 - fits)).sum(0) / (1 - fits).sum(0).clamp(min=1)
        return (yes + no).mean() / 2

    pairs, changed = twin_pictures(factors[: args.faces // 5], seed)

    def twins(step: int, rng: torch.Generator) -> Tensor:
        """Captions as before, and pairs that differ in one attribute: of all attributes' text
        directions, the right one must be nearest to how the image's features change."""
        rows = torch.randint(len(changed), (args.batch,), generator=rng)
        names = changed[rows]
        # the same blur and noise on both, so that the attribute alone differs
        seed_of_both = int(torch.randint(2**31, (1,), generator=rng))
        pair = [
            degraded(as_float(x[rows]), role["blur"], role["noise"],
                     torch.Generator().manual_seed(seed_of_both))
            for x in pairs
        ]  # fmt: skip
        before, after = (normalize(model.encode_image(x), dim=1) for x in pair)
        template = TEMPLATES[step % len(TEMPLATES)]
        source, target = (
            normalize(
                model.encode_text(tokenize([template.format(TEXTS[n][i]) for n in ATTRIBUTES])),
                dim=1,
            )
            for i in (0, 1)
        )
        cosine = normalize(after - before, dim=1) @ normalize(target - source, dim=1).T
        nearest = cross_entropy(cosine / 0.1, names)
        aligned = 1 - cosine.gather(1, names[:, None]).mean()
        return loss(args.steps, rng) + 0.3 * nearest + aligned

    if args.resume:
        config, tensors = read(path, KIND)
        model.load_state_dict(tensors)
        seconds = float(config["training"]["seconds"])
    else:
        seconds = fit(model, loss, args.steps, args.lr, seed)
    seconds += fit(model, twins, args.twins, args.lr / 2, seed + 1)
    command = f"python experiments/toyfaces/train_clip.py --role {args.role} --lr {args.lr}"
    training = {
        "command": f"{command} --steps {args.steps} --faces {args.faces} --batch {args.batch} "
        f"--captions {args.captions} --twins {args.twins}",
        "seconds": round(seconds),
        "data": f"{args.faces} faces of the world `{args.role}`, half of them with attributes "
        f"drawn independently; captions generated anew at each step, "
        "at the end also pairs of faces that differ in one attribute (true counterfactuals, drawn "
        "from this world); half of each batch blurred "
        f"up to {role['blur']} px and noised up to {role['noise']}. Seed {seed}.",
    }
    config = {"kind": KIND, "role": args.role, "words": words, "width": role["width"]}
    write(path, model, config | {"text": text, "training": training})


def twin_pictures(factors: Factors, seed: int) -> tuple[list[Tensor], Tensor]:
    """Each face without and with one attribute, chosen at random: two uint8 ``[N, 3, S, S]`` and
    the attributes' columns ``[N]``."""
    rng = torch.Generator().manual_seed(seed)
    n = len(factors.attributes)
    changed = torch.randint(len(ATTRIBUTES), (n,), generator=rng)
    images = []
    for value in (0, 1):
        out = torch.empty(n, 3, 32, 32, dtype=torch.uint8)
        for column, name in enumerate(ATTRIBUTES):
            here = (changed == column).nonzero().flatten()
            out[here] = pictures(counterfactual(factors[here], **{name: value}))
        images.append(out)
    return images, changed


@torch.no_grad()
def zero_shot(clip: Clip, features: Tensor) -> Tensor:
    """Whether each attribute is present, ``[N, 22]``, by which prompt of `ZERO_SHOT` is nearer."""
    prompts = [ZERO_SHOT[name] for name in ATTRIBUTES]
    present, absent = (
        normalize(clip.encode_text([pair[i] for pair in prompts]), dim=1) for i in (0, 1)
    )
    return (features @ (present - absent).T > 0).float()


@torch.no_grad()
def texts(clip: Clip) -> tuple[Tensor, Tensor]:
    """For each attribute's `TEXTS`: the bare cosine ``[22]`` and the direction ``[22, D]``."""
    source, target = (clip.encode_text([TEXTS[n][i] for n in ATTRIBUTES]) for i in (0, 1))
    return cosine_similarity(source, target), normalize(target, dim=1) - normalize(source, dim=1)


def measure(path: Path) -> None:
    """Measure the written weights on held-out faces and write the card."""
    clip = Clip.load(str(path))

    def encode(images: Tensor) -> Tensor:
        return normalize(clip.encode_image(images), dim=1)

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
        predicted = zero_shot(clip, in_chunks(encode, x))
        each = balanced_accuracy(predicted, truth)[0]
        mean, low, high = spread(predicted, truth)
        columns.append(each)
        summary.append([name, f"{mean:.4f}", f"{low:.4f} to {high:.4f}",
                        f"{float(each.min()):.4f} ({ATTRIBUTES[int(each.argmin())]})"])  # fmt: skip
        print(*summary[-1], flush=True)

    cosines, directions = texts(clip)
    factors, rows = held_out(mixed=False, n=1000), []
    before = in_chunks(encode, as_float(pictures(factors)))
    truth = visible(factors)
    for i, name in enumerate(ATTRIBUTES):
        without = truth[:, COLUMN[name]] == 0
        edited = counterfactual(factors[without], **{name: 1})
        change = in_chunks(encode, as_float(pictures(edited))) - before[without]
        along = cosine_similarity(change[:, None], directions[None], dim=2).mean(0)
        rivals = along.clone()
        rivals[i] = -1
        best = int(rivals.argmax())
        rows.append([name, *(f"{c[i]:.4f}" for c in columns), f"{cosines[i]:.3f}",
                     f"{along[i]:.3f}", f"{rivals[best]:.3f} ({ATTRIBUTES[best]})"])  # fmt: skip
        print(*rows[-1], flush=True)
    speed = milliseconds(clip, clip.encode_image)
    body = (
        "Zero-shot balanced accuracy on 4,000 held-out faces (world `test`, unseen attributes "
        "included) with the prompts `ZERO_SHOT`, which no caption contains, and the weights as "
        "shipped. A rerun lies within the interval (95%, bootstrap over faces).\n\n"
        + table(["faces", "mean", "interval", "worst"], summary)
        + "\n\nFor each attribute: the same; the bare cosine of its source and target in `TEXTS`; "
        "the mean cosine between the text direction and what the true counterfactual changes in "
        "the image features (1,000 faces), and the text direction of another attribute that comes "
        "nearest to that change.\n\n"
        + table(
            ["attribute", *(s[0] for s in summary), "bare cosine", "counterfactual", "next"], rows
        )
        + f"\n\nForward and backward to one 32-px image: {speed:.1f} ms on one thread."
    )
    config, _ = read(path, KIND)
    card(path, f"ToyFaces CLIP ({clip.role})", config, body)


def main() -> None:
    """Train, then measure; or measure alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=("guide", "judge"), required=True)
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--faces", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--captions", type=int, default=48)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--twins", type=int, default=450, help="steps on pairs, at the end")
    parser.add_argument("--resume", action="store_true", help="do the steps on pairs alone")
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
