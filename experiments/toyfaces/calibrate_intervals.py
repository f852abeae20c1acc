"""Thresholds of the bundled perceptual distance for t_edit and t_boost; written into its card.

    python experiments/toyfaces/calibrate_intervals.py

Edit: 0.33 times the lower quartile, over the seen attributes, of the mean distance between a face
and its counterfactual: P_t must still differ from the image by a third of a small attribute.
Boost: the mean distance of x_t at t = 167, where Asyrp's CelebA-HQ table reaches its 1.2.
`hsl.intervals` holds the results, rounded to two digits.
"""

import argparse
import re
from pathlib import Path

import torch

from hsl.backbones import load
from hsl.data.toyfaces import SEEN, WORLDS, counterfactual, labels, render, sample
from hsl.data.toyfaces.factors import COLUMN
from hsl.encoders.perceptual import PerceptualDistance
from hsl.files import replacing
from hsl.intervals import EDIT_THRESHOLD, TOYFACES_BOOST_THRESHOLD, TOYFACES_EDIT_THRESHOLD
from hsl.profile import measure

T_BOOST = 167


@torch.no_grad()
def main() -> None:
    """Measure, print, and write the card's section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=500)
    parser.add_argument("--curves", type=int, default=64)
    parser.add_argument("--card", type=Path, default=Path("hsl/assets/toyfaces/perceptual.md"))
    args = parser.parse_args()
    backbone, distance = load("toyfaces"), PerceptualDistance.load("toyfaces")
    factors = sample(range(args.faces), WORLDS["validation"])
    means = []
    for name in SEEN:
        without = factors[labels(factors)[:, COLUMN[name]] == 0]
        edited = render(counterfactual(without, **{name: 1}))
        means.append(float(distance(render(without), edited).mean()))
    quartile = float(torch.tensor(means).quantile(0.25))
    faces, grid = render(factors[: args.curves]), backbone.schedule.grid(40)
    curves = measure(backbone, grid, faces, distance).mean
    below, above = (f(t for t in curves.x if side(t)) for f, side in (
        (max, lambda t: t <= T_BOOST), (min, lambda t: t > T_BOOST)))  # fmt: skip
    share = (T_BOOST - below) / (above - below)
    boost = (1 - share) * curves.x[below] + share * curves.x[above]
    edit = EDIT_THRESHOLD * quartile
    shown = ", ".join(f"{t}: {v:.4f}" for t, v in list(curves.p.items())[::3])
    section = (
        "\n## Thresholds for t_edit and t_boost\n\n"
        f"Command: `python experiments/toyfaces/calibrate_intervals.py`, {args.faces} faces of "
        f"the world `validation`, curves of {args.curves} of them under the bundled diffusion "
        f"model (hash {backbone.hash}).\n\n"
        f"Edit: 0.33 times the lower quartile, over the seen attributes, of the mean distance "
        f"between a face and its counterfactual, {quartile:.4f}: {edit:.4f}; used: "
        f"{TOYFACES_EDIT_THRESHOLD}. As in Asyrp it is multiplied by the texts' cosine.\n\n"
        f"Boost: the mean distance of x_t at t = {T_BOOST}, where Asyrp's CelebA-HQ table "
        f"reaches its 1.2: {boost:.4f}; used: {TOYFACES_BOOST_THRESHOLD}.\n\n"
        f"Mean distance of P_t by t: {shown}.\n"
    )
    text = re.sub(r"\n## Thresholds for t_edit.*", "", args.card.read_text(), flags=re.DOTALL)
    with replacing(args.card) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n" + section)
    print(section)


if __name__ == "__main__":
    main()
