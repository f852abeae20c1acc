"""Thresholds of the guide's perceptual distance for t_edit and t_boost, kept in its own file.

    python experiments/toyfaces/calibrate_intervals.py

Distances on another network's scale are matched where the papers' own lie in time: the edit
threshold is the mean distance of P_t at t = 538, where Asyrp's released CelebA-HQ table reaches the
paper's 0.33, that of boosting the mean distance of x_t at t = 167, where it reaches 1.2. (ToyFaces'
schedule is shifted so that its t mean what they mean there.) Only training images are looked at,
and no counterfactual, so that any data set and network can be calibrated alike.
"""

import argparse
import re
from collections.abc import Mapping

import torch

from hsl.backbones import load
from hsl.data.toyfaces import ToyFaces
from hsl.encoders.perceptual import KIND, PerceptualDistance
from hsl.encoders.weights import locate, read, write
from hsl.files import replacing
from hsl.intervals.profile import measure

T_EDIT, T_BOOST = 538, 167


def at(curve: Mapping[int, float], t: int) -> float:
    """A curve's value at ``t``, between two of its timesteps in proportion, to three digits."""
    below, above = max(s for s in curve if s <= t), min(s for s in curve if s > t)
    share = (t - below) / (above - below)
    return float(f"{(1 - share) * curve[below] + share * curve[above]:.3g}")


@torch.no_grad()
def main() -> None:
    """Measure, write the thresholds into the network's file, and the card's section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=192)
    parser.add_argument("--network", default="toyfaces/guide")
    args = parser.parse_args()
    backbone, distance = load("toyfaces"), PerceptualDistance.load(args.network)
    faces, grid = ToyFaces("train", args.faces).images, backbone.schedule.grid(40)
    walked = [t for t in grid if t <= T_EDIT] + [min(t for t in grid if t > T_EDIT)]
    curves = measure(backbone, walked, faces, distance).mean
    thresholds = {"edit": at(curves.p, T_EDIT), "boost": at(curves.x, T_BOOST)}
    path = locate(args.network, KIND)
    config, _ = read(path, KIND)
    write(path, distance.network, config | {"thresholds": thresholds})
    shown = ", ".join(f"{t}: {v:.4f}" for t, v in list(curves.p.items())[::3])
    section = (
        "\n## Thresholds for t_edit and t_boost\n\n"
        f"Command: `python experiments/toyfaces/calibrate_intervals.py`, the first {args.faces} "
        f"training faces under the bundled diffusion model (hash {backbone.hash}).\n\n"
        f"Edit: {thresholds['edit']}, the mean distance of P_t at t = {T_EDIT}, where Asyrp's "
        "released CelebA-HQ table reaches the paper's 0.33. As there it is multiplied by the "
        "texts' cosine.\n\n"
        f"Boost: {thresholds['boost']}, the mean distance of x_t at t = {T_BOOST}, where that "
        "table reaches the paper's 1.2.\n\n"
        f"Mean distance of P_t by t: {shown}.\n"
    )
    card = path.with_suffix(".md")
    text = re.sub(r"\n## Thresholds for t_edit.*", "", card.read_text(), flags=re.DOTALL)
    with replacing(card) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n" + section)
    print(section)


if __name__ == "__main__":
    main()
