"""One part of a long experiment with small numbers: what it gives can be compared, not believed.

    PYTHONPATH=. python experiments/house/small.py asyrp --only fits

Runs a script of the checkout that it is called from, which may be another than its own, with the
script's own options.
"""

import importlib
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from hsl.data.toyfaces import ToyFacesDataModule

FOLDERS = {"asyrp": "asyrp_toyfaces", "boundary": "boundary_toyfaces", "options": "speed",
           "soundness": "soundness", "speed": "speed", "svm": "svm_speed"}  # fmt: skip
FEW = {"data.init_args.train": 4, "data.init_args.validation": 4, "data.init_args.test": 4,
       "strength.images": 4, "trainer.max_epochs": 1}  # fmt: skip
#: What is set in an experiment's modules before it runs.
ASYRP: dict[str, dict[str, Any]] = {
    "run": {"SEEDS": (0,), "ATTRIBUTES": ("Smiling", "Mustache"), "UNSEEN": ("Mustache",)},
    "kinds": {"EPOCHS": 1, "MEASURED": (10,)},
    "boosting": {"EPOCHS": 1, "T_EDITS": (537, 461), "T_BOOSTS": (179,), "REAL": 48},
    "report": {"FACES": 2},
}
BOUNDARY: dict[str, dict[str, Any]] = {
    "run": {
        "TRAIN": 60, "VALIDATION": 30, "TEST": 8, "CHOSEN_ON": 4, "SAMPLES": 16,
        "STRENGTHS": (0.5, 1.5),
        "EDITED": ("Smiling", "Eyeglasses"), "ABLATED": ("Smiling",), "COUNTS": (30, 60),
        "CONFOUNDED": ("Smiling",), "SHIPPED": Path("runs/boundary/shipped"),
    },
}  # fmt: skip


def few_faces(test: int) -> ToyFacesDataModule:
    """Faces of the main job, some of them."""
    lacking = {"Smiling": 0}
    where = {"validation": lacking, "test": lacking}
    return ToyFacesDataModule(train=16, validation=4, test=test, where=where)


def asyrp() -> None:
    """One batch of training for each fit and each kind of direction."""
    modules = with_numbers(ASYRP)
    modules["kinds"].faces = partial(few_faces, 4)
    modules["boosting"].faces = partial(few_faces, 48)  # as many as a subset of KID has
    run = modules["run"]
    run.COMMON |= FEW
    run.SETTINGS = {name: options | FEW for name, options in run.SETTINGS.items()}
    run.main()


def boundary() -> None:
    """Boundaries on few faces."""
    with_numbers(BOUNDARY)["run"].main()


def options() -> None:
    """Options of speed but ``compile``, which takes minutes."""
    module = importlib.import_module("options")
    del module.OPTIONS["compile"]
    module.main()


def soundness() -> None:
    """Curves of a few training faces."""
    module = with_numbers({"run": {"IMAGES": 4}})["run"]
    print(module.markdown(module.shares()), module.markdown(module.chosen()), sep="\n")


def speed() -> None:
    """Inversion and editing of two faces; ``--faces 2`` trains on as many."""
    with_numbers({"run": {"ToyFacesDataModule": partial(ToyFacesDataModule, test=2)}})["run"].main()


def svm() -> None:
    """Few images are not where one Gram matrix for all attributes pays."""
    with_numbers({"run": {"RATIO": float("inf")}})["run"].main()


def with_numbers(numbers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Modules of the experiment, each with these values set."""
    modules: dict[str, Any] = {}
    for name, values in numbers.items():
        modules[name] = importlib.import_module(name)
        for key, value in values.items():
            setattr(modules[name], key, value)
    return modules


def main(arguments: Iterable[str]) -> None:
    """Run an experiment of the checkout that this is called from."""
    name, *others = arguments
    sys.path.insert(0, str(Path("experiments", FOLDERS[name]).resolve()))
    sys.argv = [name, *others]
    parts = {part.__name__: part for part in (asyrp, boundary, options, soundness, speed, svm)}
    parts[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
