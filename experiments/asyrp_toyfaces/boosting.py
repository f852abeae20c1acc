"""t_edit and quality boosting: what each does to the effect and to the picture."""

from pathlib import Path
from typing import Any

import torch
from kinds import NAME, T_EDIT, faces, method, trained
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from hsl.data.toyfaces import ToyFaces
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.perceptual import PerceptualDistance
from hsl.metrics import AttributeChange, CounterfactualError
from hsl.process import Edit
from hsl.progress import track

#: The middle one is what the perceptual curve says; f_t is trained down to the lowest.
T_EDITS, T_BOOSTS = (691, 614, 537, 461, 384, 307), (0, 179)
EPOCHS, RATE, STRENGTH, REAL = 7, 6e-4, 0.75, 256


class Features(nn.Module):
    """What the judge's last layer sees of images in [-1, 1]: ``[B, 2048]``."""

    def __init__(self, judge: AttributeClassifier) -> None:
        super().__init__()
        self.layers = judge.tower.layers[:-1]

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features


@torch.no_grad()
def boosting(cache: Path = Path("runs/asyrp/cache")) -> dict[str, Any]:
    """Train one f_t down to the lowest t_edit; edit with each t_edit, with and without boosting."""
    torch.manual_seed(0)
    made = method("implicit", RATE, EPOCHS, cache)
    made.t_edit = min(T_EDITS)
    with torch.enable_grad():
        trained(made, EPOCHS)
    data, judge = faces(), AttributeClassifier.load("toyfaces/judge")
    test, distance = data.faces("test"), PerceptualDistance.load("toyfaces/judge")
    features = Features(judge)
    real = ToyFaces("test", REAL, where={NAME: 1}).images
    true = data.counterfactual(test.index, "test", **{NAME: 1})
    rebuilt = made.edit_images(test.images, test.index)
    floor = made.edit_images(true, test.index)
    rows: list[dict[str, Any]] = [
        {"t_edit": "no edit", "boosting": "no", **kid(features, rebuilt, real)},
        {"t_edit": "truth, rebuilt", "boosting": "no", **kid(features, floor, real)},
    ]
    pairs = [(t_edit, t_boost) for t_edit in T_EDITS for t_boost in T_BOOSTS]
    for t_edit, t_boost in track(pairs, "t_edit and t_boost", len(pairs)):
        edit = Edit(made.directions[NAME], STRENGTH, t_edit, t_boost, made.t_start)  # type: ignore[arg-type]
        edited = made.edit_images(test.images, test.index, edit)
        change, error = AttributeChange(judge, NAME), CounterfactualError(distance)
        change.update(test.images, edited, test.index)
        error.update(test.images, edited, true, floor, test.index)
        figures = change.compute() | error.compute()
        shown = ("target_after", "effect", "leakage", "counterfactual_error_after", "closed")
        row = {k: v for k, v in figures.items() if k.removesuffix("_ci") in shown}
        rows.append({"t_edit": t_edit, "boosting": "yes" if t_boost else "no"} | row
                    | kid(features, edited, real))  # fmt: skip
    return {"rows": rows, "t_edit": T_EDIT, "strength": STRENGTH, "faces": len(test)}


def kid(features: nn.Module, images: Tensor, real: Tensor) -> dict[str, float]:
    """Kernel distance of judge features to real faces with the attribute, and its spread over
    subsets (Binkowski et al. 2018)."""
    torch.manual_seed(0)
    metric = KernelInceptionDistance(feature=features, subsets=100, subset_size=48)
    metric.update(real, real=True)
    metric.update(images, real=False)
    mean, spread = metric.compute()
    return {"kid": float(mean), "kid_spread": float(spread)}
