"""Linear boundaries on ToyFaces: how well they separate, and what crossing them does.

python experiments/boundary_toyfaces/run.py            # all sections, then RESULTS.md
python experiments/boundary_toyfaces/run.py --only edits --only report

Features and finished sections are kept under runs/boundary, so that a stopped run goes on.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from report import report
from torch import Tensor

from hsl.data.folder import ImagesDataModule
from hsl.data.images import save_image
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.directions import Boundary, Space, commit
from hsl.directions.boundary import HOf
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.perceptual import PerceptualDistance
from hsl.figures.grid import draw_grid
from hsl.figures.heat_map import heat_map
from hsl.files import replacing
from hsl.intervals import mixing_step
from hsl.methods.features import Sample
from hsl.methods.linear import Linear
from hsl.metrics import AttributeChange, CounterfactualError
from hsl.process import SeededNoise, last, reverse
from hsl.progress import track
from hsl.solvers import SVM, Encoding, MeanDifference, Solver
from hsl.tables import markdown, write_csv, write_json
from hsl.types import Batch

HERE = Path(__file__).parent
OUT = Path("runs/boundary")
TRAIN, VALIDATION, TEST, CHOSEN_ON, SAMPLES = 1000, 300, 128, 32, 256
EDITED = ("Smiling", "Eyeglasses", "Wearing_Hat", "Blond_Hair", "Goatee", "Male",
          "Wearing_Lipstick", "Rosy_Cheeks")  # fmt: skip
ABLATED = ("Smiling", "Eyeglasses", "Male")
SOLVERS: dict[str, Callable[[], Solver]] = {
    "svm": SVM, "encoding": Encoding, "mean": MeanDifference,
}  # fmt: skip
STRENGTHS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
#: Attributes that go together in this world: the mean difference of one holds the others'.
CONFOUNDED = ("Wearing_Lipstick", "Goatee", "Heavy_Makeup", "Smiling")
SPACES: tuple[Space, ...] = ("x", "h")
WAYS: tuple[HOf, ...] = ("unmoved", "moved")
#: What a boundary is made conditional on, to see whether that keeps it: of itself, the second.
KEPT = ("Male", "Young")
COUNTS = (10, 30, 100, 300, 1000)
TOLERANCE = 0.02
ABOUT = {
    "train": TRAIN, "validation": VALIDATION, "test": TEST, "chosen_on": CHOSEN_ON,
    "strengths": STRENGTHS, "confounded": CONFOUNDED, "ablated": ABLATED, "edited": EDITED,
    "tolerance": TOLERANCE, "kept": KEPT,
}  # fmt: skip


def data(name: str | None = None, **arguments: Any) -> ToyFacesDataModule:
    """Faces; validation and test faces without the attribute ``name``."""
    where = {"validation": {name: 0}, "test": {name: 0}} if name else None
    counts = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    return ToyFacesDataModule(size=32, batch_size=50, where=where, **(counts | arguments))


def linear(solver: Solver | None = None, **arguments: Any) -> Linear:
    """A method whose features are shared by all sections."""
    return Linear(solver=solver, cache=str(OUT / "cache"), **arguments)


def collected(method: Linear, source: Any, split: str) -> list[Sample]:
    """Features of a split, into the cache."""
    source.setup("fit")
    loader = source.val_dataloader() if split == "validation" else source.train_dataloader()
    samples = []
    for batch in track(loader, f"{split} latents", len(loader)):
        samples += method.collect(batch, source)
    return sorted(samples, key=lambda sample: sample.index)


def fitted(solver: Solver | None = None, **arguments: Any) -> tuple[Linear, list[Sample]]:
    """Boundaries from the 1,000 training faces, and the samples."""
    method, source = linear(solver, **arguments), data()
    method.begin(source)
    samples = collected(method, source, "train")
    method.fit_boundaries(samples)
    return method, samples


# Sections. Each returns JSON values, which `report` writes down.


def accuracy() -> dict[str, Any]:
    """Held-out figures of every attribute by t and space, and the mixing step."""
    start = time.perf_counter()
    method, samples = fitted()
    others = collected(method, data(), "validation")
    inverted = time.perf_counter()
    method.fit_boundaries(samples)
    fit = time.perf_counter() - inverted
    found = method.held_out(others)
    names = list(method.directions)
    means = {
        f"{space}.{t}": float(f.balanced_accuracy.nanmean()) for (space, t), f in found.items()
    }
    curve = {t: (means[f"x.{t}"] + means[f"h.{t}"]) / 2 for t in method.timesteps}
    t = mixing_step(curve, TOLERANCE)
    with replacing(HERE / "accuracy.png") as temporary:
        heat_map(found, names, t).savefig(temporary)
    rows = [
        {"space": space, "t": step} | row
        for (space, step), f in found.items()
        for row in f.rows(names)
    ]
    return {"t": t, "curve": curve, "means": means, "rows": rows, "names": names,
            "inverted": inverted - start, "fit": fit}  # fmt: skip


def edits() -> dict[str, Any]:
    """Edits of every attribute in EDITED by SVMs and by encoding, some also in x or h alone, and
    those that go together also by mean differences; each is kept as soon as it is measured."""
    jobs: list[tuple[str, tuple[Space, ...], str]] = [("svm", SPACES, name) for name in EDITED]
    jobs += [("svm", (space,), name) for space in SPACES for name in ABLATED]
    jobs += [("encoding", SPACES, name) for name in dict.fromkeys((*EDITED, *CONFOUNDED))]
    jobs += [("mean", SPACES, name) for name in CONFOUNDED]
    rows: list[dict[str, Any]] = []
    grids: dict[str, list[Tensor]] = {}
    for kind, spaces, name in track(jobs, "edits", len(jobs)):
        row = measured(kind, spaces, name)
        columns = row.pop("columns")
        grids[f"{kind}.{'+'.join(spaces)}.{name}"] = [torch.tensor(column) for column in columns]
        rows.append(row)
    draw(grids)
    return {"rows": rows}


def ways() -> dict[str, Any]:
    """The same edits with the h of the unmoved and with that of the moved x_t."""
    rows = []
    jobs = [(kind, name, way) for name in EDITED for kind in ("svm", "encoding") for way in WAYS]
    for kind, name, way in track(jobs, "ways", len(jobs)):
        row = measured(kind, SPACES, name, way)
        row.pop("columns")
        rows.append(row | travelled(crossing(kind, SPACES, way), name, row["strength"]))
    return {"rows": rows}


def measured(
    kind: str, spaces: tuple[Space, ...], name: str, h_of: HOf = "unmoved"
) -> dict[str, Any]:
    """The figures of one edit, and its pictures; kept in a file."""
    key = ".".join([kind, "+".join(spaces), *([] if h_of == "unmoved" else [h_of]), name])
    kept = OUT / "edits" / f"{key}.json"
    if not kept.exists():
        row, columns = edited(crossing(kind, spaces, h_of), name)
        row = {"attribute": name, "solver": kind, "spaces": "+".join(spaces), "h_of": h_of} | row
        write_json(kept, row | {"columns": [column.tolist() for column in columns]})
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


@functools.cache
def crossing(kind: str, spaces: tuple[Space, ...], h_of: HOf = "unmoved") -> Linear:
    """Boundaries by a solver, to be crossed at the mixing step."""
    method, _ = fitted(SOLVERS[kind](), spaces=list(spaces))
    method.mix_at(section("accuracy")["t"])
    for boundary in method.directions.values():
        assert isinstance(boundary, Boundary)
        boundary.h_of = h_of
    return method


@torch.no_grad()
def travelled(method: Linear, name: str, strength: float) -> dict[str, Any]:
    """How far h goes on test faces, as a share of what is asked (mean, least, most), and by how
    much of its class gap (at most) a boundary is off in h that the edit shall keep."""
    source = data(name)
    source.setup("test")
    (batch,) = batched(source.test_dataloader())
    other = next(kept for kept in KEPT if kept != name)
    boundary, keep = (method.directions[n] for n in (name, other))
    assert isinstance(boundary, Boundary) and isinstance(keep, Boundary)
    t, backbone = boundary.t or 0, method.backbone
    x = method.x_T(batch.image)
    b = backbone.encode(x, t)
    *_, crossed = boundary.cross(backbone, x, b, t, strength)
    went = boundary.distance(crossed.h, "h") - boundary.distance(b.h, "h")
    went = went / (strength * boundary.at().scales["h"])
    *_, pure = boundary.without(keep).cross(backbone, x, b, t, strength)
    off = keep.distance(pure.h, "h") - keep.distance(b.h, "h")
    gap = float(keep.at().scales["h"])
    return {"went": [float(f(went)) for f in (torch.mean, torch.min, torch.max)],
            "keeps": other, "kept_off": float(off.abs().max()) / gap}  # fmt: skip


def edited(method: Linear, name: str) -> tuple[dict[str, Any], list[Tensor]]:
    """Distance by the guide on validation faces, figures by the judges on test faces, and the
    first four test faces with their edit and truth."""
    source = data(name, validation=CHOSEN_ON)
    source.setup("fit")
    source.setup("test")
    strength, reached = choose(method, name, list(source.val_dataloader()))
    method.strengths[name] = strength
    change = AttributeChange(AttributeClassifier.load("toyfaces/judge"), name)
    error = CounterfactualError(PerceptualDistance.load("toyfaces/judge"))
    columns: list[Tensor] = []
    for batch in source.test_dataloader():
        after = method.edit_images(batch.image, batch.index, method.edit(name))
        truth = source.counterfactual(batch.index, "test", **{name: 1})
        floor = method.edit_images(truth, batch.index)
        change.update(batch.image, after, batch.index)
        error.update(batch.image, after, truth, floor, batch.index)
        columns = columns or [batch.image[:4], after[:4], truth[:4]]
    row = {"strength": strength, "reached": reached}
    return row | change.compute() | error.compute(), columns


@torch.no_grad()
def choose(method: Linear, name: str, batches: Sequence[Batch]) -> tuple[float, bool]:
    """The smallest strength at which the guide sees the target on 95% of the faces, else the one
    that gets furthest (of several the largest); and whether it reached that share."""
    guide = AttributeClassifier.load("toyfaces/guide")
    shares = []
    for strength in STRENGTHS:
        hits = [
            guide.probabilities(
                method.edit_images(batch.image, batch.index, method.edit(name, strength))
            )[:, guide.names.index(name)]
            >= 0.5
            for batch in batches
        ]
        shares.append(float(torch.cat(hits).float().mean()))
        if shares[-1] >= 0.95:
            return strength, True
    return max(zip(shares, STRENGTHS, strict=True))[1], False


def counts() -> dict[str, Any]:
    """Held-out accuracy and edit effect against the number of training faces."""
    t = section("accuracy")["t"]
    rows = []
    judge = AttributeClassifier.load("toyfaces/judge")
    for space in ("x", "h"):
        method, samples = fitted(spaces=[space], timesteps=None)
        others = collected(method, data(), "validation")
        for n in COUNTS:
            for name in ("Smiling", "Eyeglasses", "Male"):
                part = linear(spaces=[space], attributes=[name])
                part.begin(data())
                part.labelled = method.labelled
                part.fit_boundaries(samples[:n])
                part.mix_at(t)
                held = part.held_out(others)[space, t]  # type: ignore[index]
                source = data(name, test=64)
                source.setup("test")
                (batch,) = batched(source.test_dataloader())
                after = part.edit_images(batch.image, batch.index, part.edit(name, 1.5))
                seen = judge.probabilities(after)[:, judge.names.index(name)] >= 0.5
                rows.append({
                    "space": space, "images": n, "attribute": name,
                    "accuracy": float(held.balanced_accuracy[0]),
                    "accuracy_ci": held.balanced_accuracy_ci[0].tolist(),
                    "auc": float(held.auc[0]), "target_after": float(seen.float().mean()),
                })  # fmt: skip
    return {"rows": rows}


def batched(loader: Any) -> list[Batch]:
    """All of a loader as one batch."""
    parts = list(loader)
    image, labels, index = (torch.cat([p[i] for p in parts]) for i in range(3))
    return [Batch(image, labels, index, [path for p in parts for path in p.path])]


@torch.no_grad()
def unconditional() -> dict[str, Any]:
    """Samples on either side of each boundary at the mixing step, and pushed to either side."""
    t = section("accuracy")["t"]
    method, _ = fitted()
    backbone, n = method.backbone, SAMPLES
    grid = method.grid
    method.mix_at(t)
    x = SeededNoise(torch.arange(n), seed=1).x_T(torch.zeros(n, *backbone.x_shape))
    above = [step for step in reverse(backbone, x, grid) if step.t_next >= t or step.t == t]
    x_t = next(step.x for step in above if step.t == t)
    h_t = backbone.encode(x_t, t).h
    judge = AttributeClassifier.load("toyfaces/judge")
    rows = []
    plain = judge.probabilities(backbone.image(last(reverse(backbone, x_t, method.grid))))
    for name in track(EDITED, "unconditional", len(EDITED)):
        boundary = method.directions[name]
        assert isinstance(boundary, Boundary)
        has = plain[:, judge.names.index(name)] >= 0.5
        row: dict[str, Any] = {"attribute": name}
        for space, v in (("x", x_t), ("h", h_t)):
            side = boundary.distance(v, space) > 0  # type: ignore[arg-type]
            row |= {f"{space} +": share(has[side]), f"{space} -": share(has[~side])}
        for sign, word in ((1.5, "pushed +"), (-1.5, "pushed -")):
            edit = method.edit(name, sign)
            after = backbone.image(last(reverse(backbone, x_t, method.grid, edit)))
            row[word] = share(judge.probabilities(after)[:, judge.names.index(name)] >= 0.5)
        rows.append(row)
    return {"rows": rows, "samples": n}


def share(hits: Tensor) -> str:
    """A share and how many it is of."""
    return f"{hits.float().mean():.2f} ({len(hits)})" if len(hits) else "- (0)"


def texts() -> dict[str, Any]:
    """One boundary from the guide CLIP's labels, one from two folders of images."""
    t = section("accuracy")["t"]
    rows = []
    for name in ("Smiling", "Eyeglasses"):
        method = linear(attributes=[name], texts="toyfaces", t=t)
        source = data()
        method.begin(source)
        samples = collected(method, source, "train")
        labels = method.labels(samples)[:, 0]
        truth = source.faces("train").labels[:, source.names.index(name)] * 2 - 1
        agree = float((labels == truth)[labels != 0].float().mean())
        method.fit_boundaries(samples)
        method.mix_at(t)
        row, _ = edited(method, name)
        rows.append({"boundary": f"{name}, labels by CLIP: {agree:.1%} right"} | row)
    folders, name = OUT / "folders", "Eyeglasses"
    write_folders(folders, name, 100)
    method = linear(attributes=[name], t=t)
    source = ImagesDataModule(
        str(folders), size=32, batch_size=50, train=None, validation=None, test=None,
        labels={name: [name, f"no_{name}"]},
    )  # fmt: skip
    source.setup("fit")
    method.begin(source)
    method.fit_boundaries(collected(method, source, "train"))
    method.mix_at(t)
    row, _ = edited(method, name)
    rows.append({"boundary": f"{name}, two folders of 100 images"} | row)
    return {"rows": rows}


def write_folders(folder: Path, name: str, n: int) -> None:
    """Faces of another world with and without an attribute, as PNG files in two folders."""
    for value, part in ((1, name), (0, f"no_{name}")):
        faces = ToyFacesDataModule(size=32, train=n, where={"train": {name: value}}).faces("train")
        for i in range(n):
            save_image(folder / part / f"{i}.png", faces[i].image)


def draw(grids: dict[str, list[Tensor]]) -> None:
    """For each attribute four test faces, their edits by SVMs and by encoding, and the truth."""
    for part, names in (("a", EDITED[: len(EDITED) // 2]), ("b", EDITED[len(EDITED) // 2 :])):
        columns, titles = [], []
        for name in names:
            face, svm, truth = grids[f"svm.x+h.{name}"]
            columns += [face, svm, grids[f"encoding.x+h.{name}"][1], truth]
            titles += [name.replace("_", " "), "SVM", "encoding", "truth"]
        with replacing(HERE / f"edits_{part}.png") as temporary:
            draw_grid(columns, titles, "across boundaries in one step").savefig(temporary)


def ship(kind: str) -> None:
    """The boundaries of all attributes at the mixing step, into the package, with a card."""
    t = section("accuracy")["t"]
    method = crossing(kind, SPACES)
    others = collected(method, data(), "validation")
    method.figures = method.held_out(others)
    known = {
        r["attribute"]: (r["strength"], r["reached"])
        for r in section("edits")["rows"]
        if (r["solver"], r["spaces"]) == (kind, "x+h")
    }
    rows = []
    for a, name in enumerate(track(method.directions, "shipped", len(method.directions))):
        source = data(name, validation=CHOSEN_ON)
        source.setup("fit")
        strength, reached = known.get(name) or choose(method, name, list(source.val_dataloader()))
        method.strengths[name] = strength
        boundary = method.directions[name]
        assert isinstance(boundary, Boundary)
        about = method.about(name)
        about["accuracy"] = {k: v for k, v in about["accuracy"].items() if k.endswith(f".{t}")}
        boundary.at().save(SHIPPED / f"{name}.safetensors", **about)
        held = {space: method.figures[space, t] for space in method.spaces}
        shown = f"{strength:g}{'' if reached else ' (not reached)'}"
        rows.append({"attribute": name, "strength": shown} | {
            f"balanced accuracy, {space}": f"{f.balanced_accuracy[a]:.3f}"
            for space, f in held.items()
        })  # fmt: skip
    with replacing(SHIPPED.with_suffix(".md")) as temporary:
        temporary.write_text(CARD.format(kind=kind, t=t, train=TRAIN, table=markdown(rows)))


SHIPPED = Path("hsl/assets/toyfaces/boundaries")
CARD = """# Boundaries of ToyFaces

Unit normals in x_t and in h at the mixing step t = {t}, one file an attribute, for the bundled
diffusion model; fitted on {train} faces of world `train` by `{kind}`
(`python experiments/boundary_toyfaces/run.py --ship {kind}`). A strength of 1 is the distance
between the class means along the normal, in each space; the strength in the file is what the guide
asked for on validation faces that lack the attribute (the smallest that reached 95% of them; where
none did, the one that got furthest). Accuracies are on held-out faces. What the
edits do, judged: experiments/boundary_toyfaces/RESULTS.md. A normal by encoding points where the
attribute changes the features, and so edits well; an SVM's separates better. MIT, like the code.

    python -m hsl.edit --seeds 0-7 --boundary Eyeglasses --out glasses

{table}"""
SECTIONS = {f.__name__: f for f in (accuracy, edits, ways, counts, unconditional, texts)}


def section(name: str) -> dict[str, Any]:
    """A section's figures, measured now if they were not before."""
    path = OUT / f"{name}.json"
    if not path.exists():
        start = time.perf_counter()
        write_json(path, SECTIONS[name]() | {"commit": commit()})
        print(f"{name}: {time.perf_counter() - start:.0f} s")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def main() -> None:
    """Measure what was not measured, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[*SECTIONS, "report"])
    parser.add_argument("--ship", choices=SOLVERS, help="put a solver's boundaries in the package")
    parser.add_argument("--again", action="store_true", help="forget what was measured")
    args = parser.parse_args()
    wanted = args.only or ([] if args.ship and not args.again else [*SECTIONS, "report"])
    for name in SECTIONS:
        if name in wanted:
            if args.again:
                (OUT / f"{name}.json").unlink(missing_ok=True)
            section(name)
    if "report" in wanted:
        with replacing(HERE / "RESULTS.md") as temporary:
            path = OUT / "memory.json"
            memory = json.loads(path.read_text()) if path.exists() else None
            found = {name: section(name) for name in SECTIONS}
            write_csv(HERE / "accuracy.csv", found["accuracy"]["rows"])
            temporary.write_text(report(found, ABOUT | {"memory": memory}))
        print(HERE / "RESULTS.md")
    if args.ship:
        ship(args.ship)
        print(SHIPPED)


if __name__ == "__main__":
    main()
