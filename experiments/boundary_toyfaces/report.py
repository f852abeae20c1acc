"""RESULTS.md from what `run.py` measured."""

import statistics
from typing import Any

from hsl.tables import markdown


def report(found: dict[str, dict[str, Any]], about: dict[str, Any]) -> str:
    """RESULTS.md from the sections' figures, and what they were measured with."""
    a, t = found["accuracy"], found["accuracy"]["t"]
    at_t = {(row["attribute"], row["space"]): row for row in a["rows"] if row["t"] == t}
    both = [r for r in found["edits"]["rows"] if r["spaces"] == "x+h"]
    main_rows = [r for name in about["edited"] for kind in ("svm", "encoding") for r in both
                 if (r["attribute"], r["solver"]) == (name, kind)]  # fmt: skip
    counted = found["counts"]["rows"]
    strengths = ", ".join(map(str, about["strengths"]))
    commits = ", ".join(sorted({section["commit"] for section in found.values()}))
    summary = "; ".join(
        f"by {kind} {sum(r['target_after'] >= 0.7 for r in rows)} of {len(rows)} reach 0.70, "
        f"median leakage {median(rows, 'leakage'):.3f}, "
        f"median share closed {median(rows, 'closed'):.0%}"
        for kind in ("svm", "encoding")
        if (rows := [r for r in main_rows if r["solver"] == kind])
    )
    accuracies = [
        {
            "attribute": name,
            "accuracy, x": cell(at_t[name, "x"], "accuracy"),
            "balanced, x": cell(at_t[name, "x"], "balanced_accuracy"),
            "AUC, x": cell(at_t[name, "x"], "auc"),
            "accuracy, h": cell(at_t[name, "h"], "accuracy"),
            "balanced, h": cell(at_t[name, "h"], "balanced_accuracy"),
            "AUC, h": cell(at_t[name, "h"], "auc"),
        }
        for name in a["names"]
    ]
    means = [
        {"t": step} | {
            f"{figure}, {space}": f"{average(a['rows'], int(step), space, key):.3f}"
            for figure, key in (("balanced accuracy", "balanced_accuracy"), ("AUC", "auc"))
            for space in ("x", "h")
        }
        for step in a["curve"]
    ]  # fmt: skip
    by_count = [
        {"images": n} | {
            f"{name}, {space}": next(
                f"{r['accuracy']:.3f} / {r['auc']:.3f} / {r['target_after']:.2f}"
                for r in counted
                if (r["images"], r["attribute"], r["space"]) == (n, name, space)
            )
            for space in ("x", "h") for name in ("Smiling", "Eyeglasses", "Male")
        }
        for n in dict.fromkeys(r["images"] for r in counted)
    ]  # fmt: skip
    ablation = [
        line(r) for r in found["edits"]["rows"]
        if r["solver"] == "svm" and r["attribute"] in about["ablated"]
    ]  # fmt: skip
    confounded = [line(r) for r in both if r["attribute"] in about["confounded"]]
    confounded.sort(key=lambda r: r["attribute"])
    return f"""# Boundaries on ToyFaces

`python experiments/boundary_toyfaces/run.py`, commit {commits}, on one CPU thread. The bundled
diffusion model; {about["train"]} training faces, inverted once (40 steps, `refine=1`); all seen
attributes. Inverting these and {about["validation"]} more took {a["inverted"]:.0f} s (other work
ran beside it), the {2 * len(a["curve"])} Gram matrices, {2 * len(a["curve"]) * len(a["names"])}
SVMs and their normals {a["fit"]:.0f} s. [LATENTS.md](LATENTS.md) compares sampled with inverted
latents.

## Held-out accuracy

On {about["validation"]} other faces, by linear SVMs. Means over {len(a["names"])} attributes (each
attribute's accuracy, balanced accuracy and AUC at every t and in both spaces, with intervals:
[accuracy.csv](accuracy.csv)):

{markdown(means)}
The mixing step, the largest t whose mean over both spaces is within {about["tolerance"]} of the
best, is **t = {t}**. All attributes, timesteps and spaces (the frame is the mixing step):

![balanced accuracy](accuracy.png)

At t = {t}, with 95% intervals:

{markdown(accuracies)}
## Edits

One step across the boundary at t = {t}, in x_t and in h, then DDIM down from there. A strength of 1
is the distance between the class means along the normal, in each space. The strength is the
smallest of {strengths} at which the *guide* sees the attribute on 95% of {about["chosen_on"]}
validation faces without it (else the one that gets furthest, which the tables mark). Figures are
the *judges'*, on {about["test"]} test faces without the attribute, with 95% intervals over
faces (Wilson's of shares, else by BCa bootstrap):
the share that has it after the edit; leakage, the mean absolute change of another attribute's
probability, and the worst attribute's; the distance to the true counterfactual, its floor (the
counterfactual, inverted and rebuilt), and the share of the way closed. In sum: {summary}.

{markdown([line(r) for r in main_rows])}
`svm` is BoundaryDiffusion's boundary; `encoding` is the normal by ridge regression of the features
on all attributes at once. Four test faces each, with both edits and the truth:

![edits](edits_a.png)
![edits](edits_b.png)

What fails: a hat can have any colour and hides what it covers; the normal holds a faint average of
hats, and a step tints the hair. Blond hair comes, and brings its length and some sex with it. Sex
needs many parts to change together, in a direction that differs from face to face.

### In x_t alone, in h alone, in both

By SVMs; each with a strength of its own:

{markdown(ablation)}
A step in h alone does next to nothing: at a single step the skip connections carry the image past
the bottleneck. The paper's figure shows the same.

### Which h is moved

The move in x_t changes h, too. The paper moves the h that x_t had before (`unmoved`, the default of
`Boundary`): h goes as far as is asked, and what `--keep` names stays where it is. `Boundary(...,
h_of="moved")` reads h again behind the move in x_t, and then moves it. Both ways, each with a
strength of its own; how far h went, as a share of what was asked (mean, least and most of the test
faces); and by how much of its class gap, at most, {about["kept"][0]}'s boundary in h
({about["kept"][0]}'s own edit: {about["kept"][1]}'s) was off where the edit should keep it:

{markdown([way(r) for r in found["ways"]["rows"]])}
{by_way(found["ways"]["rows"])}

### Attributes that go together

In this world lipstick, make-up and goatees go with other attributes (sex, age), as in CelebA;
smiling does not. The mean difference holds the others' share; the joint ridge regression
(`Encoding`) takes it apart. Leakage tells:

{markdown(confounded)}
## How many images

Held-out balanced accuracy / AUC / share of 64 test faces that the judge sees the attribute on after
a step of strength 1.5, by SVMs in one space at t = {t}:

{markdown(by_count)}
With few images the normal is close to the difference of two class means, which at this strength
moves much else besides; h separates with fewer images than x_t, and moves nothing on its own.

## Memory

{memory(about["memory"])}

## Unconditional

{found["unconditional"]["samples"]} faces sampled from noise (DDIM), looked at on their way at
t = {t}: the share that the judge sees the attribute on in the end (and of how many), by the side of
the boundary that x_t or h was on; and after a step of 1.5 or -1.5 across it, for all of them.

{markdown(found["unconditional"]["rows"])}
## From texts, and from two folders

Labels by the guide CLIP: the 30% of the training faces that are closest to the target text, and
the 30% that are furthest. Two folders: 100 PNG files each, read as `configs/data/two_folders.yaml`
does.

{markdown([{"boundary": r["boundary"]} | line(r) for r in found["texts"]["rows"]])}"""


def way(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the edits by which h is moved, for a table."""
    mean, least, most = row["went"]
    shown = line(row)
    names = ("attribute", "solver", "strength", "target after", "leakage", "error", "closed")
    return {"h of the": f"{row['h_of']} x"} | {name: shown[name] for name in names} | {
        "h went": f"{mean:.2f} ({least:.2f} to {most:.2f})",
        "kept off by": f"{row['kept_off']:.3f}",
    }  # fmt: skip


def by_way(rows: list[dict[str, Any]]) -> str:
    """The sums of either way by solver, and which is better how often."""
    texts = []
    for kind in ("svm", "encoding"):
        sums = []
        for h_of in ("unmoved", "moved"):
            own = [r for r in rows if (r["solver"], r["h_of"]) == (kind, h_of)]
            sums.append(
                f"of the {h_of} x {sum(r['target_after'] >= 0.7 for r in own)} of {len(own)} reach "
                f"0.70, median leakage {median(own, 'leakage'):.4f}, median share closed "
                f"{median(own, 'closed'):.1%}"
            )
        texts.append(f"By {kind}, with the h " + "; ".join(sums))
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    nearer = sum(new["closed"] > old["closed"] for new, old in pairs)
    purer = sum(new["leakage"] < old["leakage"] for new, old in pairs)
    more = sum(new["target_after"] > old["target_after"] for new, old in pairs)
    same = sum(new["target_after"] == old["target_after"] for new, old in pairs)
    return (
        f"{'. '.join(texts)}. Of {len(pairs)} pairs the h of the unmoved x shows the "
        f"target more often in {more} (as often in {same}), leaks less in {purer} and comes nearer "
        f"to the truth in {nearer}."
    )


def memory(found: dict[str, Any] | None) -> str:
    """What a large fit took."""
    if found is None:
        return "Not measured (`python experiments/boundary_toyfaces/memory.py`)."
    return f"""`python experiments/boundary_toyfaces/memory.py`: {found["images"]} images x
{found["dimensions"]} dimensions x {found["timesteps"]} timesteps, in float16 in a store on disk,
{found["attributes"]} SVMs at each timestep: peak {found["peak_gb"]:.2f} GB
({found["before_gb"]:.2f} GB before), {found["seconds"]:.0f} s on one thread. The planted directions
come back with a cosine of at least {found["cosine"]:.3f}."""


def line(row: dict[str, Any]) -> dict[str, Any]:
    """A row of edits, for a table."""
    shown = {k: row[k] for k in ("attribute", "solver", "spaces") if k in row}
    return shown | {
        "strength": f"{row['strength']:g}{'' if row['reached'] else ' (not reached)'}",
        "target after": cell(row, "target_after"),
        "leakage": f"{row['leakage']:.3f}",
        "worst": f"{row['leakage_worst']:.3f} {row['leakage_worst_attribute']}",
        "kept": f"{row['kept']:.2f}",
        "error": f"{row['counterfactual_error_before']:.4f} to "
        f"{row['counterfactual_error_after']:.4f} (floor {row['counterfactual_floor']:.5f})",
        "closed": cell(row, "closed"),
    }


def cell(row: dict[str, Any], key: str) -> str:
    """A figure with its interval."""
    low, high = row[f"{key}_ci"]
    return f"{row[key]:.2f} [{low:.2f}, {high:.2f}]"


def average(rows: list[dict[str, Any]], t: int, space: str, key: str) -> float:
    """Over attributes, at one timestep in one space."""
    return statistics.fmean(r[key] for r in rows if (r["t"], r["space"]) == (t, space))


def median(rows: list[dict[str, Any]], key: str) -> float:
    """Over attributes."""
    return statistics.median(row[key] for row in rows)
