"""RESULTS.md and its pictures from what `run.py` measured."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from hsl.backbones import load
from hsl.confidence import over_seeds
from hsl.data.toyfaces import ToyFaces
from hsl.data.toyfaces.factors import counterfactual
from hsl.data.toyfaces.renderer import render
from hsl.directions import Direction, commit
from hsl.figures.grid import draw_grid
from hsl.files import replacing
from hsl.process import Edit, SeededNoise, invert, last, reverse
from hsl.tables import markdown, write_csv
from hsl.types import attribute_and_value

HERE = Path(__file__).parent
Fits = dict[str, list[dict[str, Any]]]
#: What is shown of the fits, and what each must reach: at least, or at most.
SHOWN = ("target_after", "leakage", "leakage_worst", "kept", "counterfactual_error_before",
         "counterfactual_error_after", "counterfactual_floor", "closed")  # fmt: skip
LEARNT = ("steps", "target_after", "leakage", "counterfactual_error_after", "closed")
APART = ("excluded", "faces")  # not in fits.csv
CLOSED = ["counterfactual_error_before", "counterfactual_error_after", "counterfactual_floor"]
SHARE, LEAKAGE = 0.70, 0.12
SHARPER = {"Smiling": (0.90, 0.08), "Eyeglasses": (0.90, 0.10)}
FACES = 6


def over(runs: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """The mean over seeds, and its 95% interval over seeds and faces. ``faces`` of a run are the
    columns of its images.csv."""
    faces = [run["faces"] for run in runs]
    if any(one["index"] != faces[0]["index"] for one in faces):
        raise SystemExit("the seeds were tested on different faces: fit them again")
    names = {"closed": CLOSED, "leakage_worst": [n for n in faces[0] if n.startswith("leakage.")]}
    columns = names.get(key, [key])
    values = torch.tensor([[one[name] for name in columns] for one in faces]).mT.double()
    figure = {"closed": closed, "leakage_worst": lambda rows: rows.mean(0).max()}
    low, high = over_seeds(values, figure.get(key, torch.mean), key == "leakage_worst")
    return {key: sum(run[key] for run in runs) / len(runs), f"{key}_ci": [low, high]}


def closed(rows: Tensor) -> Tensor:
    """Of the distances ``[N, 3]`` of `CLOSED`, as `CounterfactualError` has it."""
    before, after, floor = rows.mean(0)
    return (before - after) / (before - floor)


def reaches(name: str, runs: list[dict[str, Any]]) -> bool:
    """Whether the means over seeds meet what is asked of this attribute."""
    share, leakage = SHARPER.get(name, (SHARE, LEAKAGE))
    return (
        statistics.fmean(run["target_after"] for run in runs) >= share
        and statistics.fmean(run["leakage"] for run in runs) <= leakage
    )


def line(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of the table of attributes."""
    row: dict[str, Any] = {
        "attribute": name,
        "strengths": ", ".join(f"{run['strength']:g}" for run in runs),
    }
    for key in SHOWN:
        row |= over(runs, key)
    row["interval over"] = f"{len(runs)} seeds and {runs[0]['images']} faces"
    row["worst of"] = ", ".join(sorted({run["leakage_worst_attribute"] for run in runs}))
    return row


def report(
    fits: Fits, found: dict[str, Any], settings: dict[str, dict[str, Any]], unseen: tuple[str, ...]
) -> str:
    """RESULTS.md."""
    seen = [name for name in fits if name not in unseen]
    met = [name for name in seen if reaches(name, fits[name])]
    missed = [name for name in seen if name not in met]
    rows = {name: line(name, runs) for name, runs in fits.items()}
    write_csv(HERE / "fits.csv", [
        {"attribute": name, "seed": seed, **{k: v for k, v in run.items() if k not in APART}}
        for name, runs in fits.items() for seed, run in enumerate(runs)
    ])  # fmt: skip
    pictures(fits)
    kinds_plot(found["kinds"])
    boosting_plot(found["boost"])
    used: dict[str, list[str]] = {}
    for name in fits:
        options = [f"`--{key}={value}`" for key, value in settings.get(name, {}).items()]
        used.setdefault(" ".join(options) or "none", []).append(name)
    template = (HERE / "template.md").read_text("utf-8")
    boost = found["boost"]
    return template.format(
        commit=commit(),
        table=markdown([rows[name] for name in seen]),
        unseen=markdown([rows[name] for name in unseen]),
        met=f"{len(met)} of {len(seen)} ({', '.join(met)})",
        missed=f" Not: {', '.join(missed)}." if missed else "",
        settings="".join(f"- {', '.join(names)}: {text}\n" for text, names in used.items()),
        kinds=markdown(kind_rows(found["kinds"])),
        boosting=markdown(boost["rows"]),
        boost_faces=boost["faces"], boost_strength=boost["strength"], boost_t_edit=boost["t_edit"],
    )  # fmt: skip


def kind_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a number of optimiser steps and kind."""
    return [
        {"kind": kind, "learning rate": f"{about['rate']:g}"}
        | {k: v for k, v in row.items() if k.removesuffix("_ci") in LEARNT}
        for kind, about in found.items()
        for row in about["rows"]
    ]


@torch.no_grad()
def pictures(fits: Fits) -> None:
    """``edits_{a,b}.png``: for each attribute its source, edited and true faces, by the first
    seed's direction at its chosen strength."""
    backbone = load("toyfaces")
    blocks = []
    for name in fits:
        path = Path("runs/asyrp/fits") / f"{name}-0" / "directions" / f"{name}.safetensors"
        direction = Direction.load(path, backbone)
        target, value = attribute_and_value(name)
        faces = ToyFaces("test", FACES, where={target: 1 - value})
        grid = backbone.schedule.grid(40)
        x = last(invert(backbone, backbone.x_0(faces.images), grid, refine=1))
        steps = reverse(backbone, x, grid, Edit.of(direction), noise=SeededNoise(faces.index))
        edited = backbone.image(last(steps))
        true = render(counterfactual(faces.factors, **{target: value}), faces.size)
        strength = direction.about["strength"]
        columns = torch.stack([faces.images, edited, true], dim=1).transpose(0, 1)
        blocks.append(picture(columns, f"{name}, strength {strength:g}"))
    for part, some in (("a", blocks[::2]), ("b", blocks[1::2])):
        height = sum(block.height for block in some)
        sheet = Image.new("RGB", (max(block.width for block in some), height), "white")
        top = 0
        for block in some:
            sheet.paste(block, (0, top))
            top += block.height
        with replacing(HERE / f"edits_{part}.png") as temporary:
            sheet.save(temporary)


def picture(rows: Tensor, title: str) -> Image.Image:
    """Three rows of faces as one picture, ``rows [3, N, 3, S, S]``."""
    columns = list(rows.transpose(0, 1))
    figure = draw_grid(columns, [""] * len(columns), f"{title}: source, edited, truth")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def kinds_plot(found: dict[str, Any]) -> None:
    """Effect and leakage against optimiser steps."""
    figure, axes = panels(2)
    for kind, about in found.items():
        steps = [row["steps"] for row in about["rows"]]
        for axis, key in zip(axes, ("effect", "leakage"), strict=True):
            axis.plot(steps, [row[key] for row in about["rows"]], marker="o", ms=3, label=kind)
    for axis, label in zip(axes, ("effect on the target", "leakage"), strict=True):
        axis.set(xlabel="optimiser steps", ylabel=label, xscale="log")
        axis.set_xticks(steps, [str(step) for step in steps])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    save(figure, "kinds.png")


def boosting_plot(found: dict[str, Any]) -> None:
    """Effect, kernel distance and counterfactual error against t_edit, boosted or not."""
    figure, axes = panels(3)
    rows = [row for row in found["rows"] if isinstance(row["t_edit"], int)]
    keys = ("target_after", "kid", "counterfactual_error_after")
    for boosted in ("no", "yes"):
        some = [row for row in rows if row["boosting"] == boosted]
        for axis, key in zip(axes, keys, strict=True):
            xs, ys = [row["t_edit"] for row in some], [row[key] for row in some]
            style = {"ls": "--" if boosted == "yes" else "-", "label": f"boosting: {boosted}"}
            axis.plot(xs, ys, marker="o", ms=3, **style)
    for name, style in (("no edit", ":"), ("truth, rebuilt", "--")):
        value = next(row["kid"] for row in found["rows"] if row["t_edit"] == name)
        axes[1].axhline(value, ls=style, c="gray", lw=1, label=name)
    labels = ("share judged to smile", "KID of judge features", "counterfactual error")
    for axis, label in zip(axes, labels, strict=True):
        axis.axvline(found["t_edit"], c="black", lw=0.6, alpha=0.5)
        axis.set(xlabel="t_edit", ylabel=label)
        axis.grid(alpha=0.3)
    axes[1].set_yscale("log")
    axes[1].legend(fontsize=7)
    save(figure, "boosting.png")


def panels(n: int) -> tuple[Figure, Any]:
    """A figure with n panels beside each other."""
    figure = Figure(figsize=(4.2 * n, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, n)


def save(figure: Figure, name: str) -> None:
    """Write a picture beside RESULTS.md."""
    with replacing(HERE / name) as temporary:
        figure.savefig(temporary)
