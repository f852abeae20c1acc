"""Asyrp on ToyFaces: f_t for ten attributes, other kinds of direction, t_edit and boosting.

python experiments/asyrp_toyfaces/run.py                    # all, then RESULTS.md: hours
python experiments/asyrp_toyfaces/run.py --only fits --attributes Smiling Male
python experiments/asyrp_toyfaces/run.py --only kinds boost report

Runs that are done are kept under runs/asyrp, so that a stopped one goes on; two processes may
share the attributes. ``--ship`` copies the directions of the first seed that reach 0.8.
"""

import argparse
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from boosting import boosting
from kinds import kinds
from report import LEAKAGE, report

from hsl.files import replacing
from hsl.tables import markdown, write_json
from hsl.train import command as train

HERE = Path(__file__).parent
OUT = Path("runs/asyrp")
SEEDS = (0, 1, 2)
#: In the order in which the table shows them; the last two the diffusion model never saw.
ATTRIBUTES = ("Smiling", "Eyeglasses", "Wearing_Hat", "Blond_Hair", "Goatee", "Male", "Not_Young",
              "Wearing_Lipstick", "Mustache", "Face_Paint")  # fmt: skip
UNSEEN = ("Mustache", "Face_Paint")
#: Of every fit: what is measured on how many faces.
COMMON = {
    "data.init_args.validation": 32,
    "data.init_args.test": 128,
    "strength.images": 32,
    "model.init_args.cache": str(OUT / "cache"),
    "wandb": "disabled",
}
#: What departs from the main job's settings, which were found for Smiling: what is large is decided
#: earlier in the reverse process, and needs a smaller weight of L1 (`search.py`).
LARGE = {
    "model.init_args.t_start": 870,
    "model.init_args.l1_weight": 3.0,
    "data.init_args.train": 64,
    "trainer.max_epochs": 5,
    "model.init_args.lr_scheduler.class_path": "torch.optim.lr_scheduler.LinearLR",
    "model.init_args.lr_scheduler.init_args.start_factor": 1.0,
    "model.init_args.lr_scheduler.init_args.end_factor": 0.1,
    "model.init_args.lr_scheduler.init_args.total_iters": 5,
}
SMALL = ("Smiling", "Wearing_Lipstick")
SETTINGS: dict[str, dict[str, Any]] = {name: LARGE for name in ATTRIBUTES if name not in SMALL}
for largest in ("Wearing_Hat", "Blond_Hair"):
    SETTINGS[largest] = LARGE | {"model.init_args.l1_weight": 1.5}
LEAST = 0.8  # judged to have it, to be shipped, at a leakage of at most `LEAKAGE`
CARD = """# Directions of ToyFaces

Implicit functions f_t (Asyrp), one file an attribute, for the bundled diffusion model; trained by
the guide CLIP on faces of world `train` (`python experiments/asyrp_toyfaces/run.py --ship`; the
first of three seeds). Interval and strength are in each file. Shipped is what at least {least} of
128 held-out faces are judged to have after the edit, at a leakage of at most {leakage}; `Not_Young`
takes youth away. Figures, by judges, with 95% intervals over faces; all seeds, and what fails:
experiments/asyrp_toyfaces/RESULTS.md. MIT, like the code.

    python -m hsl.edit --seeds 0-7 --direction Smiling --out smiles

{table}"""


def fit(name: str, seed: int) -> dict[str, Any]:
    """One run of the main job, unless it is done; its summary."""
    run = OUT / "fits" / f"{name}-{seed}"
    if not (run / "summary.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        options = {
            "runs": run.parent, "name": run.name, "seed_everything": seed,
            "data.init_args.seed": seed, "model.init_args.attribute": name,
        } | COMMON | SETTINGS.get(name, {})  # fmt: skip
        if train.main(["fit", *(f"--{key}={value}" for key, value in options.items())]):
            raise SystemExit(f"{run}: the fit failed")
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def faces(name: str, seed: int) -> dict[str, list[float]]:
    """What a run measured of each test face: the columns of its images.csv."""
    with (OUT / "fits" / f"{name}-{seed}" / "images.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) for row in rows] for key in rows[0] if key != "direction"}


def ship(folder: Path) -> None:
    """Copy what is good enough of the first seed's directions, take away the others, and write
    their card."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = []
    for name in ATTRIBUTES:
        figures = fit(name, SEEDS[0])
        if figures["target_after"] >= LEAST and figures["leakage"] <= LEAKAGE:
            source = OUT / "fits" / f"{name}-{SEEDS[0]}" / "directions" / f"{name}.safetensors"
            shutil.copyfile(source, folder / source.name)
            rows.append({"attribute": name} | {
                key: figures[key]
                for shown in ("strength", "target_after", "leakage", "kept", "closed")
                for key in (shown, f"{shown}_ci") if key in figures
            })  # fmt: skip
    with replacing(folder.with_suffix(".md")) as temporary:
        temporary.write_text(
            CARD.format(least=LEAST, leakage=LEAKAGE, table=markdown(rows)), "utf-8"
        )


def main() -> None:
    """Do what is asked for."""
    sections: dict[str, Callable[[], Any]] = {"kinds": kinds, "boost": boosting}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=["fits", *sections, "report"])
    parser.add_argument("--attributes", nargs="+", choices=ATTRIBUTES, default=ATTRIBUTES)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--ship", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    wanted = args.only or ["fits", *sections, "report"]
    if "fits" in wanted:
        for seed in args.seeds:
            for name in args.attributes:
                fit(name, seed)
    for section, measure in sections.items():
        if section in wanted:
            write_json(OUT / f"{section}.json", measure())
    if args.ship:
        ship(Path("hsl/assets/toyfaces/directions"))
    if "report" in wanted:
        fits = {
            name: [fit(name, seed) | {"faces": faces(name, seed)} for seed in SEEDS]
            for name in ATTRIBUTES
        }
        found = {section: json.loads((OUT / f"{section}.json").read_text()) for section in sections}
        with replacing(HERE / "RESULTS.md") as temporary:
            temporary.write_text(report(fits, found, SETTINGS, UNSEEN), "utf-8")
        print(HERE / "RESULTS.md")


if __name__ == "__main__":
    main()
