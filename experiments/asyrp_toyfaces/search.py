"""How an attribute's settings were found: by the guide, on validation faces alone.

python experiments/asyrp_toyfaces/search.py Male Goatee --t-start 770 870 --l1 10 3 1.5

Prints, for each setting and strength, the share of 24 validation faces in which the guide sees the
target, and the mean and worst change of its other attributes.
"""

import argparse
import itertools
from functools import partial

import torch
from kinds import T_BOOST, T_EDIT, trained

from hsl.data.toyfaces import ToyFacesDataModule
from hsl.data.toyfaces.factors import excluded_by
from hsl.encoders.attributes import AttributeClassifier
from hsl.methods.asyrp import Asyrp, adam
from hsl.tables import print_table
from hsl.types import attribute_and_value

STRENGTHS = (0.5, 0.75, 1.0, 1.3)


def main() -> None:
    """Train and look, setting by setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attributes", nargs="+")
    parser.add_argument("--t-start", type=int, nargs="+", default=[870])
    parser.add_argument("--l1", type=float, nargs="+", default=[3.0])
    parser.add_argument("--t-edit", type=int, default=T_EDIT)
    parser.add_argument("--train", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, t_start, l1 in itertools.product(args.attributes, args.t_start, args.l1):
        torch.manual_seed(0)
        decay = partial(
            torch.optim.lr_scheduler.LinearLR,
            start_factor=1.0, end_factor=0.1, total_iters=args.epochs,
        )  # fmt: skip
        made = Asyrp(name, t_start=t_start, t_edit=args.t_edit, t_boost=T_BOOST, l1_weight=l1,
                     optimizer=adam, lr_scheduler=decay, cache="runs/asyrp/cache")  # fmt: skip
        target, value = attribute_and_value(name)
        lacking = {"validation": {target: 1 - value}}
        data = ToyFacesDataModule(train=args.train, validation=24, where=lacking)
        trained(made, args.epochs, data=data)
        print_table(f"{name}: t_start {t_start}, L1 {l1:g}", look(made, data, name))


@torch.no_grad()
def look(made: Asyrp, data: ToyFacesDataModule, name: str) -> list[dict[str, object]]:
    """The guide's view of edited validation faces, by strength."""
    guide, faces = AttributeClassifier.load("toyfaces/guide"), data.faces("validation")
    target, value = attribute_and_value(name)
    column = guide.names.index(target)
    others = [i for i, n in enumerate(guide.names) if n not in {target, *excluded_by(target)}]
    before, rows = guide.probabilities(faces.images), []
    for strength in STRENGTHS:
        edited = made.edit_images(faces.images, faces.index, made.edit(name, strength))
        after = guide.probabilities(edited)
        changes = (after - before).abs()[:, others].mean(0)
        rows.append({
            "strength": strength,
            "seen": ((after[:, column] >= 0.5) == bool(value)).float().mean().item(),
            "leakage": changes.mean().item(),
            "worst": changes.max().item(),
            "of": guide.names[others[int(changes.argmax())]],
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
