"""Measure the bundled diffusion model and write its card.

    python experiments/toyfaces/card_ddpm.py --model toyfaces --card hsl/assets/toyfaces/ddpm.md

Held-out faces are those of the world ``test``; attributes are read by the judge.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.utils import make_grid

from hsl.assets import asset
from hsl.backbones import Backbone, load
from hsl.confidence import of_share
from hsl.data.images import save_image
from hsl.data.toyfaces import SEEN, WORLDS, labels, render, sample
from hsl.data.toyfaces.factors import COLUMN
from hsl.encoders.attributes import AttributeClassifier
from hsl.files import replacing
from hsl.metrics import Reconstruction
from hsl.process import SeededNoise, invert, last, reverse
from hsl.progress import track
from hsl.tables import figure, markdown, write_json

PROBED = ("Male", "Young", "Smiling", "Eyeglasses", "Wearing_Hat", "Bald")
PROBE_STEPS = (100, 250, 400, 550, 700, 850, 999)
BATCH = 32


def faces(n: int, world: str = "test") -> tuple[Tensor, Tensor]:
    """``n`` held-out faces ``[n, 3, S, S]`` and their labels."""
    factors = sample(range(n), WORLDS[world])
    return render(factors), labels(factors)


def reconstruct(
    backbone: Backbone, n: int, judge: AttributeClassifier, refine: int
) -> dict[str, Any]:
    """PSNR and kept attributes of a 40-step inversion and reconstruction."""
    grid, metric = backbone.schedule.grid(40), Reconstruction(judge)
    images, _ = faces(n)
    for start in track(range(0, n, BATCH), "reconstruction"):
        some = images[start : start + BATCH]
        x_T = last(invert(backbone, backbone.x_0(some), grid, refine))
        rebuilt = backbone.image(last(reverse(backbone, x_T, grid))).clamp(-1, 1)
        metric.update(some, rebuilt, torch.arange(start, start + len(some)))
    return metric.compute()


def draw_samples(backbone: Backbone, n: int) -> Tensor:
    """``n`` samples of 40 DDIM steps, ``[n, 3, S, S]``, sample i from seed i."""
    grid, out = backbone.schedule.grid(40), []
    for start in track(range(0, n, BATCH), "samples"):
        index = torch.arange(start, min(start + BATCH, n))
        x_T = SeededNoise(index).x_T(torch.zeros(len(index), *backbone.x_shape))
        out.append(backbone.image(last(reverse(backbone, x_T, grid))).clamp(-1, 1))
    return torch.cat(out)


def statistics(images: Tensor) -> Tensor:
    """Mean of each channel, and the energy of what a 2 x 2 average loses: ``[N, 4]``."""
    smooth = interpolate(avg_pool2d(images, 2), scale_factor=2)
    return torch.cat([images.mean((2, 3)), (images - smooth).square().mean((1, 2, 3))[:, None]], 1)


def outside(samples: Tensor, data: Tensor) -> Tensor:
    """Whether a sample leaves the data's middle 99.9% in any statistic, ``[N]``."""
    tails = torch.tensor([0.0005, 0.9995])
    low, high = statistics(data).quantile(tails, dim=0)
    s = statistics(samples)
    return ((s < low) | (s > high)).any(1).float()


@torch.no_grad()
def probe(backbone: Backbone, n: int) -> list[dict[str, Any]]:
    """Held-out AUC of a linear probe on h, by timestep and attribute; h of noised faces."""
    images, truth = faces(2 * n, "validation")
    x_0, index = backbone.x_0(images), torch.arange(2 * n)
    rows = []
    for t in track(PROBE_STEPS, "probes"):
        a = backbone.schedule.alpha_bar(t)
        x = a**0.5 * x_0 + (1 - a) ** 0.5 * SeededNoise(index, seed=1)(t, x_0)
        h = torch.cat([backbone.encode(part, t).h.flatten(1) for part in x.split(BATCH)]).numpy()
        h = StandardScaler().fit(h[:n]).transform(h)
        row: dict[str, Any] = {"t": t}
        for name in PROBED:
            y = truth[:, COLUMN[name]].numpy()
            fit = LogisticRegression(C=1e-4, max_iter=200).fit(h[:n], y[:n])
            row[name] = round(float(roc_auc_score(y[n:], fit.decision_function(h[n:]))), 3)
        rows.append(row)
    return rows


@torch.no_grad()
def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="toyfaces")
    parser.add_argument("--card", type=Path, default=Path("hsl/assets/toyfaces/ddpm.md"))
    parser.add_argument("--reconstructions", type=int, default=512)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--probed", type=int, default=512)
    args = parser.parse_args()
    started = time.perf_counter()
    backbone, judge = load(args.model), AttributeClassifier.load("toyfaces/judge")
    data, truth = faces(10_000)
    samples = draw_samples(backbone, args.samples)
    judged = torch.cat([judge.probabilities(part) for part in samples.split(256)]) >= 0.5
    seen = [judge.names.index(name) for name in SEEN]
    data_judged = torch.cat([judge.probabilities(part) for part in data.split(256)]) >= 0.5
    rows = []
    for column, name in zip(seen, SEEN, strict=True):
        have, want = judged[:, column].float(), data_judged[:, column].float()
        rows.append({
            "attribute": name,
            "samples": have.mean().item(),
            "samples_ci": of_share(have),
            "data, judged": want.mean().item(),
            "data, true": truth[:, COLUMN[name]].mean().item(),
            "difference": abs(have.mean() - want.mean()).item(),
        })  # fmt: skip
    worst = max(rows, key=lambda row: row["difference"])
    strays = outside(samples, data)
    rebuilt = reconstruct(backbone, args.reconstructions, judge, refine=1)
    plain = reconstruct(backbone, args.reconstructions, judge, refine=0)
    probes = probe(backbone, args.probed)
    sheet = make_grid(interpolate(samples[:64], scale_factor=3), 8, padding=2, pad_value=-1)
    picture = args.card.with_name(f"{args.card.stem}_samples.png")
    save_image(picture, sheet)
    figures = {
        **rebuilt,
        "papers_inversion": plain,
        "frequency_difference_worst": worst["difference"],
        "frequency_difference_worst_attribute": worst["attribute"],
        "strays": strays.mean().item(),
        "strays_ci": of_share(strays),
        "strays_of_data": outside(data, data).mean().item(),
        "probe_auc": probes,
        "backbone_hash": backbone.hash,
        "seconds": round(time.perf_counter() - started),
    }
    write_json(args.card.with_suffix(".json"), figures)
    folder = asset("toyfaces/ddpm") if args.model == "toyfaces" else Path(args.model)
    training = json.loads((folder / "training.json").read_text())
    with replacing(args.card) as temporary:
        temporary.write_text(card(figures, rows, training, args, picture.name))
    print(args.card)


def card(
    f: dict[str, Any],
    rows: list[dict[str, Any]],
    training: dict[str, Any],
    args: argparse.Namespace,
    picture: str,
) -> str:
    """The card's text."""
    keys = ("size", "steps", "batch", "images", "seed")
    size, steps, batch, images, seed = (training[k] for k in keys)
    plain = f["papers_inversion"]
    papers = ", ".join(figure(plain[k], plain[f"{k}_ci"]) for k in ("psnr", "psnr_p5", "kept"))
    table = [
        {"figure": "reconstruction PSNR, median (dB)", "value": figure(f["psnr"], f["psnr_ci"]),
         "wanted": ">= 36"},
        {"figure": "reconstruction PSNR, 5th percentile (dB)",
         "value": figure(f["psnr_p5"], f["psnr_p5_ci"]), "wanted": ">= 28"},
        {"figure": "reconstructions that keep every judged attribute",
         "value": figure(f["kept"], f["kept_ci"]), "wanted": ">= 0.90"},
        {"figure": "the same three by the papers' inversion (refine=0)", "value": papers,
         "wanted": ""},
        {"figure": "largest difference of an attribute's frequency "
         f"({f['frequency_difference_worst_attribute']})",
         "value": figure(f["frequency_difference_worst"]), "wanted": "<= 0.10"},
        {"figure": "samples outside the data's 99.9% range of colour or high-frequency energy",
         "value": figure(f["strays"], f["strays_ci"]), "wanted": "<= 0.04"},
    ]  # fmt: skip
    return f"""# The ToyFaces diffusion model

A DDPM ({training["parameters"]:,} parameters, eps prediction) of {size} x {size} ToyFaces, behind
a lossless space-to-depth by 2. Its h-space is {"192 x 8 x 8" if size == 32 else "256 x 8 x 8"}.
Its noise schedule has {training["snr_shift"]:g} times the signal-to-noise ratio of the linear
256-pixel schedule, so that a timestep means here what it means in the papers. Weights are stored
in 16 bits; the figures are of the stored file (hash {f["backbone_hash"]}).

Trained by

    python experiments/toyfaces/train_ddpm.py --size {size} --steps {steps} --images {images} \\
        --seed {seed}

in {training["seconds"]:,} seconds on {training["device"]} ({training["threads"]} thread of a
2-core machine that did other work besides), {steps:,} steps of batch {batch} over
{training["images"]:,} faces of world {training["world"]}. Measured by

    python experiments/toyfaces/card_ddpm.py --model {args.model} --card {args.card.as_posix()} \\
        --samples {args.samples} --reconstructions {args.reconstructions} --probed {args.probed}

in {f["seconds"]} seconds: {args.reconstructions} held-out faces inverted (by fixed-point steps,
`invert(..., refine=1)`, which take as many U-Net passes as the papers' inversion) and
reconstructed in 40 steps, {args.samples:,} samples of 40 DDIM steps; 95% intervals over
images (Wilson's of shares).

{markdown(table)}
By the same rule {figure(f["strays_of_data"])} of the data are outside their own range.

## Attribute frequencies, by the judge

{markdown(rows)}
## Held-out AUC of a linear probe on h, by timestep

Logistic regression on {args.probed} noised faces, scored on {args.probed} others.

{markdown(f["probe_auc"])}
![64 samples]({picture})

A run of the same script at a shorter budget (1,500 steps, another seed), to show how far a rerun
moves: `experiments/toyfaces/ddpm_short.md`.
"""


if __name__ == "__main__":
    main()
