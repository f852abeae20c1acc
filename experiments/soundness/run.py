"""What soundness changes in published figures, old and new: t_edit by a guide instead of the
judge, and the intervals of shares.

    python experiments/soundness/run.py

Prints the tables that RESULTS.md has. About two minutes on one core.
"""

import csv
from pathlib import Path

import torch

from hsl import intervals
from hsl.backbones import load
from hsl.confidence import wilson
from hsl.data.texts import source_and_target
from hsl.data.toyfaces import ToyFaces
from hsl.data.toyfaces.captions import TEMPLATES
from hsl.encoders.clip import Clip
from hsl.encoders.perceptual import PerceptualDistance, Thresholds
from hsl.intervals.profile import measure
from hsl.losses import DirectionalClipLoss
from hsl.tables import markdown

FITS = Path(__file__).parents[1] / "asyrp_toyfaces" / "fits.csv"
FACES = 128  # that each share of fits.csv is of
IMAGES = 32  # training faces that the Intervals callback looks at
#: What the judge's network chose by before.
BEFORE = Thresholds(0.013, 0.0088)
ATTRIBUTES = ("Smiling", "Eyeglasses", "Wearing_Hat", "Blond_Hair", "Goatee", "Male", "Not_Young",
              "Wearing_Lipstick", "Mustache", "Face_Paint")  # fmt: skip


@torch.no_grad()
def chosen() -> list[dict[str, object]]:
    """t_edit and t_boost by attribute, as the judge chose and as the guide does."""
    backbone, clip = load("toyfaces"), Clip.load("toyfaces/guide")
    images, grid = ToyFaces("train", IMAGES).images, backbone.schedule.grid(40)
    ways = {}
    for which, role in (("judge, before", "judge"), ("guide, now", "guide")):
        network = PerceptualDistance.load(f"toyfaces/{role}")
        limits = BEFORE if network.thresholds is None else network.thresholds
        ways[which] = measure(backbone, grid, images, network).mean, limits
    rows: list[dict[str, object]] = []
    for name in ATTRIBUTES:
        cosine = DirectionalClipLoss(clip, *source_and_target(name), TEMPLATES).cosine
        row: dict[str, object] = {"attribute": name, "cosine": round(cosine, 3)}
        for which, (curves, limits) in ways.items():
            row[f"t_edit, {which}"] = intervals.t_edit(curves, cosine, limits.edit)
            row[f"t_boost, {which}"] = intervals.t_boost(curves, limits.boost)
        rows.append(row)
    return rows


def shares() -> list[dict[str, object]]:
    """The intervals of the shares in the table of Asyrp's fits, which follow from them alone."""
    rows: list[dict[str, object]] = []
    with FITS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for figure in ("target_after", "kept"):
                share = torch.tensor(float(row[figure])).double()
                low, high = wilson(share, torch.tensor(FACES).double()).tolist()
                rows.append({
                    "attribute": row["attribute"], "seed": row["seed"], "figure": figure,
                    "share": f"{float(share):.3f}",
                    "percentile bootstrap": _interval(row[f"{figure}_low"], row[f"{figure}_high"]),
                    "Wilson": _interval(low, high),
                })  # fmt: skip
    return rows


def _interval(low: float | str, high: float | str) -> str:
    return f"[{float(low):.3f}, {float(high):.3f}]"


if __name__ == "__main__":
    print(markdown(shares()))
    print(markdown(chosen()))
