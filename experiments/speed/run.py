"""What training, inversion and editing cost, against a plain implementation of the same work.

    python experiments/speed/run.py

Trains Asyrp on ToyFaces for five epochs twice, by hsl and plainly (plain.py), an epoch of the one
after an epoch of the other; inverts and edits; checks that both come to the same; counts passes
and FLOPs, and takes the time. Writes RESULTS.md beside this file. About 5 minutes of one core.
"""

import argparse
import copy
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import plain
import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from work import UNET, Plan, Work, agrees, counted, flops, units

from hsl.backbones import PRESETS, Backbone, load
from hsl.backbones.architecture import config
from hsl.backbones.schedule import Schedule
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.directions import Direction, commit
from hsl.files import replacing
from hsl.methods.asyrp import Asyrp
from hsl.process import SeededNoise, last, reverse
from hsl.store import Store
from hsl.tables import markdown
from hsl.types import Batch

HERE = Path(__file__).parent
#: What the profile of ToyFaces says (experiments/asyrp_toyfaces), and Asyrp of CelebA-HQ.
T_EDIT, T_BOOST, T_EDIT_CELEBA = 537, 179, 513
TARGETS = {"train": 0.60, "edit": 0.80}
JOBS, HOW = ("train", "invert", "edit"), ("plain", "hsl")
Seconds = dict[str, list[Tensor]]  # of each job, on the wall and of the CPU
Jobs = tuple[str, ...]


def clock() -> Tensor:
    """Seconds on the wall, and of this process on its CPUs, which other work delays less."""
    return torch.tensor([time.perf_counter(), time.process_time()], dtype=torch.float64)


class Recorded(Asyrp):
    """Keeps each batch's mean loss."""

    losses_seen: list[float]

    def log_dict(self, dictionary: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        self.losses_seen.append(float(dictionary["train/loss"]))


class Beside(L.Callback):
    """After each epoch of hsl's training, the same epoch plainly, on a direction of its own."""

    def __init__(self, method: Recorded) -> None:
        self.directions = copy.deepcopy(method.directions)
        self.optimizer = method.make_optimizer(self.directions.parameters())
        self.batches: list[Batch] = []
        self.losses: list[float] = []
        self.seconds: Seconds = {"hsl": [], "plain": []}
        self.seen: Counter[str] = Counter()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.scheduler = pl_module.schedule_of(self.optimizer)  # as long as this training

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.batches, self.start = [], clock()

    def on_train_batch_start(self, *arguments: Any) -> None:
        self.batches.append(arguments[2])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds["hsl"].append(clock() - self.start)
        assert isinstance(pl_module, Asyrp)
        direction = next(iter(self.directions.values()))
        assert isinstance(direction, Direction)
        start = clock()
        with counted() as seen:
            self.losses += [
                plain.train_on(pl_module, batch, direction, self.optimizer)
                for batch in self.batches
            ]
        self.seconds["plain"].append(clock() - start)
        self.seen += seen
        self.scheduler.step()


def method_for(t_start: int | None) -> Recorded:
    """Asyrp of ToyFaces at its defaults, but for t_start."""
    torch.manual_seed(0)
    method = Recorded(t_start=t_start, t_edit=T_EDIT, t_boost=T_BOOST)
    method.brings_callbacks, method.losses_seen = False, []
    return method


def trainer(folder: str, epochs: int, *callbacks: L.Callback) -> L.Trainer:
    """One that does nothing besides."""
    return L.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        num_sanity_val_steps=0, max_epochs=epochs, default_root_dir=folder,
        callbacks=list(callbacks),
    )  # fmt: skip


def plan_of(method: Asyrp, epochs: int) -> Plan:
    """What its grid and interval ask for."""
    edited = method.edited_grid(next(iter(method.directions)))
    down = sum(t >= edited[0] for t in method.grid)
    return Plan(len(method.grid), down, len(edited), epochs)


def compared(t_start: int | None, faces: int, epochs: int) -> tuple[dict[str, Any], Plan, Seconds]:
    """Train, invert and edit both ways: how far they are apart, what was planned, and the seconds
    per image of each ``job how``."""
    method = method_for(t_start)
    plan, beside = plan_of(method, epochs), Beside(method)
    data = ToyFacesDataModule(train=faces, where={"test": {"Smiling": 0}})
    with tempfile.TemporaryDirectory() as folder, counted() as seen:
        trainer(folder, epochs, beside).fit(method, datamodule=data)
    check(agrees(beside.seen, faces, plan.train("plain")), f"plain training: {beside.seen}")
    check(agrees(seen - beside.seen, faces, plan.train("hsl")), f"hsl's training: {seen}")
    seconds = {f"train {how}": [torch.stack(s).sum(0) / faces] for how, s in beside.seconds.items()}
    losses = torch.tensor([method.losses_seen, beside.losses])
    weights = [torch.cat([p.flatten() for p in d.parameters()]).detach()
               for d in (method.directions, beside.directions)]  # fmt: skip
    data.setup("test")
    images = next(iter(data.test_dataloader())).image
    for _ in range(3):
        edited = [inverted_and_edited(how, method, images, plan, seconds) for how in HOW]
    apart = {
        "first batch's loss": relative(losses[0, :1], losses[1, :1]),
        "any batch's loss": relative(losses[0], losses[1]),
        "f_t after training": float((weights[0] - weights[1]).norm() / weights[1].norm()),
        "pixels in [-1, 1]": float((edited[0] - edited[1]).abs().max()),
    }
    check(apart["first batch's loss"] < 0.001, str(apart))
    check(apart["pixels in [-1, 1]"] < 0.02, str(apart))
    return apart, plan, seconds


@torch.no_grad()
def inverted_and_edited(
    how: str, method: Asyrp, images: Tensor, plan: Plan, seconds: Seconds
) -> Tensor:
    """The edited images, each by its own inversion."""
    index, edit = torch.arange(len(images)), method.edit(next(iter(method.directions)))
    noise, net = SeededNoise(index, method.seed), method.backbone
    if how == "plain":
        x = run("invert plain", lambda: plain.invert(method, images), plan, seconds)
        return run("edit plain", lambda: plain.edit_from(method, x, index, edit), plan, seconds)
    method.store = Store()  # nothing is cached
    x = run("invert hsl", lambda: method.x_T(images), plan, seconds)
    steps = reverse(net, x, method.grid, edit, noise=noise)
    return run("edit hsl", lambda: net.image(last(steps)).clamp(-1, 1), plan, seconds)


def run(what: str, job: Callable[[], Tensor], plan: Plan, seconds: Seconds) -> Tensor:
    """Its result, with its passes checked and its seconds per image kept."""
    kind, how = what.split()
    with counted() as seen:
        start = clock()
        out = job()
        took = clock() - start
    check(agrees(seen, len(out), getattr(plan, kind)(how)), f"{what}: {seen}")
    seconds.setdefault(what, []).append(took / len(out))
    return out


def relative(a: Tensor, b: Tensor) -> float:
    """The largest relative difference."""
    return float(((a - b).abs() / b.abs()).max())


def check(holds: bool, what: str) -> None:
    """Stop where the two do not come to the same."""
    if not holds:
        raise SystemExit(f"not as expected: {what}")


def check_flops(unit: Work) -> None:
    """The terms add up to what the counter sees of a whole training, forward and backward."""
    method, epochs = method_for(770), 2
    data = ToyFacesDataModule(train=2)
    plan = plan_of(method, epochs)
    with tempfile.TemporaryDirectory() as folder, FlopCounterMode(display=False) as counter:
        trainer(folder, epochs).fit(method, datamodule=data)
    seen, want = counter.get_total_flops(), 2 * flops(plan.train("hsl"), unit)
    check(abs(seen / want - 1) < 1e-6, f"{seen} FLOPs, but the terms say {want}")


def celeba() -> tuple[Backbone, Plan]:
    """The 256-pixel DDPM of CelebA-HQ without weights, and Asyrp's own interval on it."""
    preset = PRESETS["ddpm-256"]
    with torch.device("meta"):
        unet = UNet2DModel(**config(preset.architecture, preset.unstated))
    net = Backbone(unet, Schedule.linear())
    grid = net.schedule.grid(40)
    edited = sum(t >= T_EDIT_CELEBA for t in grid)
    return net, Plan(len(grid), edited, edited)


def term_rows(plan: Plan, unit: Work, official: bool) -> list[dict[str, Any]]:
    """One row for each job and implementation: passes and GFLOPs by term."""
    rows = []
    for job in JOBS:
        for how in ("hsl", "plain", *(["official"] if official else [])):
            work = getattr(plan, job)(how)
            rows.append(
                {"job": job, "by": how}
                | {f"{term}s": f"{work[term]:g}" for term in UNET}
                | {f"{term} GF": work[term] * unit[term] / 1e9 for term in unit if unit[term]}
                | {"U-Net GF": flops(work, unit, UNET) / 1e9}
            )
    return rows


def ratio_rows(name: str, plan: Plan, unit: Work, seconds: Seconds, official: bool) -> list[Any]:
    """One row for each job: FLOPs and seconds of hsl as a share of the others'."""
    rows = []
    together: tuple[Jobs, ...] = (("train",), ("edit",), ("invert", "edit"), ("invert",))
    for jobs in together:

        def total(how: str, terms: tuple[str, ...] = UNET, jobs: Jobs = jobs) -> float:
            return sum(flops(getattr(plan, job)(how), unit, terms) for job in jobs)

        took = {how: sum(torch.stack(seconds[f"{job} {how}"]).amin(0) for job in jobs).tolist()
                for how in HOW if seconds}  # fmt: skip
        target = TARGETS.get(jobs[0]) if len(jobs) == 1 else None
        ratio = total("hsl") / total("plain")
        check(target is None or ratio <= target, f"{name} {jobs}: {ratio} of the plain FLOPs")
        rows.append({
            "setting": name,
            "job": " and ".join(jobs),
            "U-Net FLOPs, hsl / plain": ratio,
            "at most": target,
            "all FLOPs, hsl / plain": total("hsl", tuple(unit)) / total("plain", tuple(unit)),
            "U-Net FLOPs, hsl / official": total("hsl") / total("official") if official else None,
            **{f"{how} ({kind})": took[how][i]
               for i, kind in enumerate(("s", "CPU s")) for how in HOW if took},
            **{f"hsl / plain ({kind})": took["hsl"][i] / took["plain"][i]
               for i, kind in enumerate(("s", "CPU s")) if took},
        })  # fmt: skip
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    toyfaces = load("toyfaces")
    unit = units(toyfaces, method_for(770).loss("Smiling"))
    check_flops(unit)
    ratios, terms, aparts = [], [], []
    for name, t_start in (("ToyFaces, from t_start 770", 770), ("ToyFaces, from T", None)):
        apart, plan, seconds = compared(t_start, args.faces, args.epochs)
        aparts.append({"setting": name} | apart)
        terms.append((name, term_rows(plan, unit, t_start is None)))
        ratios += ratio_rows(name, plan, unit, seconds, t_start is None)
        print(markdown(ratios))
    net, plan = celeba()
    wide = units(net)
    name = f"DDPM of 256 pixels, from T to {T_EDIT_CELEBA}"
    terms.append((name, term_rows(plan, wide, official=True)))
    ratios += ratio_rows(name, plan, wide, {}, official=True)
    values = {
        "commit": commit(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "ratios": markdown(ratios),
        "apart": markdown(aparts),
        "terms": "\n".join(f"### {name}\n\n{markdown(rows)}" for name, rows in terms),
        "units": markdown([
            {"U-Net": name, "encode share": u["encode"] / (u["encode"] + u["edited decode"])}
            | {f"{term} GF": value / 1e9 for term, value in u.items() if value}
            for name, u in (("ToyFaces", unit), ("DDPM of 256 pixels", wide))
        ]),
        **vars(args),
    }  # fmt: skip
    text = (HERE / "template.md").read_text("utf-8").format(**values)
    with replacing(HERE / "RESULTS.md") as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
