"""Asyrp's released training, recorded step by step, beside hsl's."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torch.utils.data import DataLoader

from asyrp_golden import Recorded, assert_close, recorded
from hsl.data.items import Item, collate
from hsl.encoders.clip import Clip
from hsl.losses import log_directional
from hsl.methods.asyrp import Asyrp
from runs import trainer

RUNS = ("main", "bs2", "ignoret")
#: Of losses and final weights. An untrained network amplifies rounding.
TOLERANCES = {"guided_B": (3e-3, 1e-3)}


class StandIn(nn.Module):
    """The recorded stand-in of CLIP: two tables of texts, and a small network of images."""

    def __init__(self, file: Recorded) -> None:
        super().__init__()
        state = file.with_prefix("clip.visual.")
        shapes = {k: state[f"{k}.weight"].shape for k in ("conv1", "fc1", "fc2")}
        out, _, kernel, _ = shapes["conv1"]
        self.conv1 = nn.Conv2d(3, out, kernel, stride=kernel)
        self.fc1, self.fc2 = (nn.Linear(*reversed(shapes[k])) for k in ("fc1", "fc2"))
        self.load_state_dict(state)
        self.size = kernel * round((shapes["fc1"][1] / out) ** 0.5)
        self.texts = {}
        for word in ("src", "trg"):
            self.texts[word] = file[f"clip.text_plain.{word}"][0]
            for k, row in enumerate(file[f"clip.text_raw.{word}"]):
                self.texts[f"{k} {word}"] = row

    def encode_image(self, images: Tensor) -> Tensor:
        return self.fc2(nn.functional.silu(self.fc1(self.conv1(images).flatten(1))))

    def as_clip(self, antialias: bool) -> Clip:
        preprocess = {
            "size": self.size, "interpolation": "bicubic",
            "mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD,
        }  # fmt: skip
        clip = Clip(self, list, "guide", preprocess, antialias).requires_grad_(False).eval()
        clip.encode_text = lambda texts: torch.stack([self.texts[text] for text in texts])
        return clip


class Logged(Asyrp):
    """Keeps the loss and its parts at each step, and starts from the recorded x_T, for training
    amplifies what rounding makes of an inversion."""

    def __init__(self, file: Recorded, **arguments) -> None:
        super().__init__(**arguments)
        self.recorded = list(zip(file["x0"], file["x_T"], strict=True))
        self.steps: list[tuple[float, float]] = []
        self.l_dir = float("nan")
        self.losses["recorded"].register_forward_hook(self.note)

    def x_T(self, images: Tensor) -> Tensor:
        rows = [x for image in images for x_0, x in self.recorded if torch.equal(x_0, image)]
        assert_close(super().x_T(images), torch.stack(rows), 5e-4, what="x_T")
        return torch.stack(rows)

    def note(self, module: nn.Module, inputs: tuple, l_dir: Tensor) -> None:
        self.l_dir = float(l_dir.detach().mean())

    def manual_backward(self, loss: Tensor) -> None:
        self.steps.append((float(loss.detach()), self.l_dir))
        super().manual_backward(loss)


def trained(folder: Path, run: str) -> Iterator[Recorded]:
    found = 0
    for file in recorded(folder, "training"):
        if f"{run}.loss" in file.tensors:
            yield file
            found += 1
    if not found:
        pytest.skip(f"no recorded training {run}")


def steps_of(file: Recorded, run: str) -> int:
    """The number of steps whose edited ones were recorded."""
    times = file[f"{run}.t"].long().tolist()
    once = times[: len(set(times))]
    grids = {n: file.net.schedule.grid(n) for n in range(2, 200)}
    return min(
        n for n, grid in grids.items() if [t for t in grid if t >= file.t_edit] == once[::-1]
    )


def method(file: Recorded, run: str, monkeypatch, **arguments) -> Logged:
    """Asyrp as the recorded run was configured."""
    stand_in = StandIn(file)
    monkeypatch.setattr("hsl.methods.inverting.load", lambda name, tap: file.net)
    monkeypatch.setattr(Clip, "load", lambda name, antialias, resize: stand_in.as_clip(antialias))
    released = {
        "attribute": "recorded", "source": "src", "target": "trg",
        "templates": [f"{k} {{}}" for k in range(len(file["clip.text_raw.src"]))],
        "clip_weight": 1.0, "l1_weight": 3.0, "zero_init": False, "t_start": None, "refine": 0,
        "optimizer": partial(torch.optim.SGD, lr=float(file[f"{run}.lr"][0])),
        "lr_scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
        "ignore_timesteps": run == "ignoret", "as_released": True,
        "steps": steps_of(file, run), "t_edit": file.t_edit, "t_boost": 0,
    }  # fmt: skip
    made = Logged(file, **(released | arguments))
    start = file.with_prefix("main.init." if run == "ignoret" else f"{run}.init.")
    made.directions["recorded"].load_state_dict(start)
    return made


def fit(made: Logged, file: Recorded, run: str, path: Path) -> None:
    """Train as many epochs as were recorded, in order."""
    images = file["x0"]
    batch = len(images) if run == "bs2" else 1
    items = [Item(image, torch.zeros(0), i, "") for i, image in enumerate(images)]
    loader = DataLoader(items, batch_size=batch, collate_fn=collate)
    epochs = len(file[f"{run}.loss"]) // (len(made.edited_grid("recorded")) * len(loader))
    trainer(path, epochs=epochs).fit(made, loader)


@pytest.mark.parametrize("run", RUNS)
def test_training(golden_dir, monkeypatch, tmp_path: Path, run: str) -> None:
    """The losses of all steps, and where the weights end."""
    for file in trained(golden_dir("asyrp"), run):
        made = method(file, run, monkeypatch)
        assert made.cosine_of("recorded") == pytest.approx(float(file["cosine"]), abs=1e-6)
        direction = made.loss("recorded").direction
        assert_close(direction, file["clip.text_direction"][0], 1e-6, what="text direction")
        fit(made, file, run, tmp_path / file.name)
        at_loss, at_weights = TOLERANCES.get(file.name, (1e-3, 3e-4))
        loss, l_dir = torch.tensor(made.steps).T
        log = torch.stack([log_directional(value) for value in l_dir])
        l1 = (loss - log) / (3.0 * made.cosine_of("recorded"))
        for key, got in (("loss", loss), ("loss_dir", l_dir), ("loss_l1", l1)):
            assert_close(got, file[f"{run}.{key}"].float(), at_loss, what=f"{file.name} {key}")
        start = file.with_prefix("main.init." if run == "ignoret" else f"{run}.init.")
        moved = 0.0
        for key, want in file.with_prefix(f"{run}.final.").items():
            got = made.directions["recorded"].state_dict()[key]
            assert_close(got, want, at_weights, what=f"{file.name} {key}")
            moved = max(moved, float((got - start[key]).abs().max()))
        assert moved > 5 * at_weights


def test_each_image_has_its_own_source_unless_as_released(
    golden_dir, monkeypatch, tmp_path: Path
) -> None:
    for file in trained(golden_dir("asyrp"), "bs2"):
        made = method(file, "bs2", monkeypatch, as_released=False, antialias=False)
        fit(made, file, "bs2", tmp_path / file.name)
        first = made.steps[0][1] - float(file["bs2.loss_dir"][0])
        assert abs(first) > 1e-3


def test_the_stand_in_sees_what_was_recorded(golden_dir) -> None:
    """Preprocessing without antialiasing, and the features."""
    for file in trained(golden_dir("asyrp"), "main"):
        clip = StandIn(file).as_clip(antialias=False)
        image = file["clip.check.image"]
        assert_close(clip._prepared(image), file["clip.check.preprocessed"], 1e-5, 1e-5)
        assert_close(clip.encode_image(image), file["clip.check.encoded"], 2e-5, 1e-4)


@pytest.mark.parametrize("antialias", [True, False])
def test_preprocessing(golden_dir, antialias: bool) -> None:
    path = golden_dir("asyrp") / "clip_direction.safetensors"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    file, kept = load_file(path), f"preprocess.antialias_{antialias}"
    if kept not in file:
        pytest.skip(f"no recorded {kept}")
    want = file[kept]
    settings = {
        "size": want.shape[-1], "interpolation": "bicubic",
        "mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD,
    }  # fmt: skip
    clip = Clip(nn.Identity(), list, "guide", settings, antialias)
    assert_close(clip._prepared(file["preprocess.image"]), want, 1e-5)


def test_first_steps(golden_dir, monkeypatch, tmp_path: Path) -> None:
    """The unedited P_t, and the first gradient: of L1 it is a sign, which rounding turns."""
    for file in trained(golden_dir("asyrp"), "main"):
        made, kept = method(file, "main", monkeypatch), []
        f = made.directions["recorded"]

        def keep(loss: Tensor, f=f, kept=kept, backward=made.manual_backward) -> None:
            backward(loss)
            kept.append({k: p.grad.clone() for k, p in f.named_parameters()})

        made.manual_backward = keep
        fit(made, file, "main", tmp_path / file.name)
        for key, want in file.with_prefix("main.grad_first.").items():
            angle = cosine_similarity(kept[0][key].flatten(), want.flatten(), dim=0)
            assert float(angle) > 1 - 1e-3, key
            assert float(kept[0][key].norm()) == pytest.approx(float(want.norm()), rel=2e-2)
        p = made._unedited(file["x0"][:1])[1]
        for k, got in enumerate(p):
            if f"main.step{k}.x0_t_origin" in file.tensors:
                want = file[f"main.step{k}.x0_t_origin"]
                size = max(1.0, float(want.abs().max()))
                assert_close(got / size, want / size, 5e-4, what=f"{file.name} step {k}")
