"""Boundaries from one pass over the images: equal to a direct computation; what is refused."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.svm import SVC
from torch import Tensor
from torch.nn.functional import normalize

from hsl.callbacks import Directions
from hsl.data.toyfaces.captions import TEMPLATES
from hsl.directions import Direction
from hsl.encoders.clip import Clip
from hsl.errors import HslError
from hsl.methods.linear import Linear
from hsl.process import Edit, SeededNoise, last, reverse
from hsl.solvers import SVM, Encoding, Logistic, MeanDifference, Ridge
from runs import asyrp, faces, saved_backbone, saved_latent_backbone, trainer

NAMES = ["Male", "Smiling", "Young"]
TIMES = [199, 599]  # of the grid of 6 steps
ALPHA = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def linear(folder: str, **arguments) -> Linear:
    defaults = {"steps": 6, "timesteps": [200, 600], "attributes": NAMES}
    return Linear(backbone=folder, **(defaults | arguments))


def data(n: int = 24, **arguments):
    return faces(n, **({"where": {}, "batch_size": 5} | arguments))


def fit(method: Linear, path: Path, source=None, *callbacks, **arguments) -> Linear:
    trainer(path, *callbacks, **arguments).fit(method, datamodule=source or data())
    return method


# The same, computed directly.


def eps_and_h(method: Linear, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
    """By diffusers' own forward pass."""
    held: list[Tensor] = []
    unet = method.backbone.unet
    hook = unet.mid_block.register_forward_hook(lambda module, inputs, out: held.append(out))
    eps = unet(x, t).sample
    hook.remove()
    return eps, held[0]


@torch.no_grad()
def features(method: Linear, images: Tensor) -> dict[tuple[str, int], Tensor]:
    """x_t and h ``[N, D]`` float64 of an inversion written out."""
    a = method.backbone.schedule.alphas_cumprod.tolist()

    def move(x: Tensor, eps: Tensor, t: int, u: int) -> Tensor:
        p = (x - (1 - a[t]) ** 0.5 * eps) / a[t] ** 0.5
        return a[u] ** 0.5 * p + (1 - a[u]) ** 0.5 * eps

    found, x = {}, images
    eps = eps_and_h(method, x, 0)[0]
    for t, u in pairwise([0, 199, 399, 599, 799, 999]):
        if method.refine:  # the eps of the step before, then that at the end of this one
            eps = eps_and_h(method, move(x, eps, t, u), u)[0]
        else:
            eps = eps_and_h(method, x, t)[0]
        x = move(x, eps, t, u)
        found["x", u], found["h", u] = x, eps_and_h(method, x, u)[1]
    return {key: value.flatten(1).double() for key, value in found.items()}


def signs(source, split: str = "train", names=NAMES) -> Tensor:
    """Labels ``[N, A]`` in {+1, -1}."""
    return 2 * source.faces(split).labels[:, [source.names.index(n) for n in names]].double() - 1


def by_mean_difference(h: Tensor, y: Tensor, a: int) -> tuple[Tensor, float]:
    positive, negative = h[y[:, a] > 0].mean(0), h[y[:, a] < 0].mean(0)
    w = positive - negative
    return w, -float(w @ (positive + negative)) / 2


def spread(h: Tensor) -> float:
    return float((h - h.mean(0)).square().sum(1).mean())


def by_ridge(h: Tensor, y: Tensor, a: int) -> tuple[Tensor, float]:
    found = SklearnRidge(alpha=ALPHA * spread(h)).fit(h.numpy(), y[:, a].numpy())
    return torch.from_numpy(found.coef_), float(found.intercept_)


def by_logistic(h: Tensor, y: Tensor, a: int) -> tuple[Tensor, float]:
    probe = LogisticRegression(C=1 / (ALPHA * spread(h)), tol=1e-12, max_iter=100_000)
    found = probe.fit(h.numpy(), y[:, a].numpy())
    return torch.from_numpy(found.coef_[0]), float(found.intercept_[0])


def by_svm(h: Tensor, y: Tensor, a: int) -> tuple[Tensor, float]:
    found = SVC(kernel="linear", tol=1e-10).fit(h.numpy(), y[:, a].numpy())
    return torch.from_numpy(found.coef_[0]), float(found.intercept_[0])


def by_encoding(h: Tensor, y: Tensor, a: int) -> tuple[Tensor, float]:
    """Ridge regression of h on all labels / 2, as rows appended to a least-squares problem."""
    z = (y - y.mean(0)) / 2
    penalty = math.sqrt(ALPHA * len(h) / 4) * torch.eye(len(NAMES)).double()
    rows = torch.cat([h - h.mean(0), torch.zeros(len(NAMES), h.shape[1]).double()])
    problem = torch.cat([z, penalty]).numpy(), rows.numpy()
    w = torch.from_numpy(np.linalg.lstsq(*problem)[0][a])
    along = h @ w
    return w, -float(along[y[:, a] > 0].mean() + along[y[:, a] < 0].mean()) / 2


SOLVERS = [
    (MeanDifference(), by_mean_difference),
    (Ridge(ALPHA), by_ridge),
    (Logistic(ALPHA), by_logistic),
    (SVM(), by_svm),
    (Encoding(ALPHA), by_encoding),
]


def assert_fitted(method: Linear, direct, h: dict, y: Tensor, names=NAMES, spaces="xh") -> None:
    """Every normal, bias and scale is the direct computation's."""
    assert list(method.directions) == names
    for a, name in enumerate(names):
        boundary = method.directions[name]
        assert set(boundary.normals) == set(spaces) and boundary.timesteps == method.timesteps
        for space in spaces:
            for row, t in enumerate(boundary.timesteps):
                used = y[:, a] != 0
                w, b = direct(h[space, t][used], y[used], a)
                normal = boundary.normals[space][row].detach().flatten()
                assert float(normal.norm()) == pytest.approx(1, abs=1e-5)
                assert torch.allclose(normal.double(), w / w.norm(), atol=1e-4), (name, space, t)
                bias = boundary.biases[space][row].item()
                assert bias == pytest.approx(b / float(w.norm()), abs=1e-4, rel=1e-4)
                along = h[space, t] @ (w / w.norm())
                gap = along[y[:, a] > 0].mean() - along[y[:, a] < 0].mean()
                gap = float(gap) if method.unit == "gap" else 1.0
                assert boundary.scales[space][row].item() == pytest.approx(gap, rel=1e-4)


@pytest.mark.parametrize(("solver", "direct"), SOLVERS, ids=lambda x: type(x).__name__)
def test_every_solver_gives_the_direct_computation(folder, tmp_path, solver, direct) -> None:
    source = data()
    method = fit(linear(folder, solver=solver), tmp_path, source)
    h = features(method, source.faces("train").images)
    assert_fitted(method, direct, h, signs(source))


@pytest.mark.parametrize(
    "arguments",
    [
        {"refine": 0},
        {"unit": "distance"},
        {"spaces": ["h"]},
        {"spaces": ["x"], "timesteps": [999]},
        {"t": 400},
        {"timesteps": [400], "t": 800},
    ],
    ids=str,
)
def test_options_of_the_fit(folder: str, tmp_path: Path, arguments: dict) -> None:
    source = data(batch_size=24)
    method = fit(linear(folder, solver=MeanDifference(), **arguments), tmp_path, source)
    h = features(method, source.faces("train").images)
    spaces = "".join(arguments.get("spaces", "xh"))
    assert_fitted(method, by_mean_difference, h, signs(source), spaces=spaces)


def test_timesteps_are_steps_of_the_inversion(folder: str) -> None:
    assert linear(folder, timesteps=None, steps=40).timesteps == [
        int(k * 999 / 39 + 1e-6) for k in range(3, 40, 4)
    ]
    assert linear(folder, timesteps=[1, 290, 310, 998]).timesteps == [199, 399, 999]
    method = linear(folder, timesteps=[190], t=610)
    assert (method.timesteps, method.t) == ([199, 599], 599)
    method = linear(folder, t_0=500, timesteps=[500], t=500)  # as the paper's code
    assert (method.grid[-1], method.timesteps, method.t) == (500, [500], 500)


def test_latent_diffusion_and_other_taps(tmp_path: Path) -> None:
    method = linear(saved_latent_backbone(tmp_path / "latent"), tap="before")
    fit(method, tmp_path, data(size=16))
    boundary = method.directions["Male"]
    assert boundary.normals["x"].shape == (2, 3, 8, 8) and method.backbone.h_shape == (32, 4, 4)
    norms = torch.stack([v.flatten(1).norm(dim=1) for v in boundary.normals.values()])
    assert torch.allclose(norms, torch.ones(2, 2))


def test_missing_labels_are_left_out(folder: str, tmp_path: Path) -> None:
    source = data()
    labels = source.faces("train").labels
    labels[::3, source.names.index("Smiling")] = torch.nan
    y = signs(source).nan_to_num(0)
    assert (y == 0).sum(0).tolist() == [0, 8, 0]
    method = fit(linear(folder), tmp_path, source)
    assert_fitted(method, by_svm, features(method, source.faces("train").images), y)


def test_an_attribute_without_both_classes_is_named(folder: str, tmp_path: Path) -> None:
    source = data(where={"train": {"Young": 1}})
    with pytest.raises(HslError, match=r"^Young: 24 positive and 0 negative"):
        fit(linear(folder), tmp_path, source)


def test_of_all_attributes_those_without_both_classes_are_left_out(
    folder: str, tmp_path: Path
) -> None:
    """Also where labels are missing; the others are fitted."""
    source = data()
    labels = source.faces("train").labels
    labels[:, source.names.index("Young")] = 1
    some = labels[:, source.names.index("Smiling")]
    some[some > 0] = torch.nan
    method = linear(folder, attributes=None, solver=MeanDifference())
    with pytest.warns(UserWarning, match="without a boundary, all images being alike: .*Smiling"):
        fit(method, tmp_path, source)
    known = 2 * labels - 1
    both = ((known > 0).any(0) & (known < 0).any(0)).tolist()
    wanted = [name for name, fits in zip(source.names, both, strict=True) if fits]
    assert list(method.directions) == wanted and "Male" in wanted and len(wanted) < len(both)


# Labels by text


def likeness(source, split: str, text: str, target: str) -> Tensor:
    """How close images ``[N]`` are to a text rather than to another, in the guide CLIP."""
    clip = Clip.load("toyfaces/guide", resize=True)
    with torch.no_grad():
        ends = [
            normalize(clip.encode_text([s.format(word) for s in TEMPLATES]), dim=1)
            for word in (text, target)
        ]
        change = normalize((ends[1] - ends[0]).mean(0), dim=0)
        return normalize(clip.encode_image(source.faces(split).images), dim=1) @ change


@pytest.mark.parametrize("certain", [0.25, 0.5])
def test_texts_label_the_most_certain_images(folder: str, tmp_path: Path, certain: float) -> None:
    source, texts = data(), {"Grin": ("face", "smiling face"), "Man": ("face", "male face")}
    solver = MeanDifference()
    method = linear(folder, attributes=None, texts=texts, certain=certain, solver=solver)
    fit(method, tmp_path, source)
    y = torch.zeros(24, 2).double()
    for a, pair in enumerate(texts.values()):
        order = likeness(source, "train", *pair).argsort()
        n = round(certain * 24)
        y[order[:n], a], y[order[-n:], a] = -1, 1
    assert (y > 0).sum(0).tolist() == (y < 0).sum(0).tolist() == [n, n]
    h = features(method, source.faces("train").images)
    assert_fitted(method, by_mean_difference, h, y, [*texts])


def test_the_bundled_texts(folder: str, tmp_path: Path) -> None:
    names = ["Male", "Smiling"]
    known = linear(folder, texts="toyfaces", attributes=names)
    assert known.texts["Smiling"] == ("face", "smiling face") and list(known.texts) == names
    assert len(linear(folder, texts="toyfaces", attributes=None).texts) == 22
    fit(known, tmp_path)
    assert list(known.directions) == names


# What is refused, in one line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attributes": ["Smiling", "Nope"]}, "no labels for Nope .*Smiling"),
        ({"attributes": []}, "no labels for anything"),
        ({"spaces": ["x", "eps"]}, "spaces .*want x, h or both"),
        ({"spaces": []}, "want x, h or both"),
        ({"t": 1000}, r"t=1000: want a timestep in \[1, 999\]"),
        ({"t": 0}, "t=0: want a timestep"),
        ({"timesteps": [500, -3]}, "t=-3: want a timestep"),
        ({"timesteps": []}, "timesteps: name at least one"),
        ({"t_0": 2000}, "t_0"),
        ({"t_0": 3}, "steps"),
        ({"texts": "toyfaces", "attributes": ["Nope"]}, "no texts for Nope"),
        ({"texts": "toyfaces", "attributes": ["Smileing"]}, r"did you mean Smiling\?$"),
        ({"texts": {"Grin": ("face", "smiling face")}}, "no labels for Male"),
        ({"texts": "toyfaces", "certain": 0.6}, "certain=0.6: want a share"),
        ({"texts": "toyfaces", "certain": 0.0}, "certain=0.0: want a share"),
        ({"texts": "toyfaces", "clip": "toyfaces/judge"}, "judge"),
        ({"texts": {"a.b": ("face", "smiling face")}, "attributes": None}, "'a.b' cannot be"),
        ({"texts": {"keys": ("face", "smiling face")}, "attributes": None}, "'keys' cannot be"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(folder, tmp_path, arguments, message) -> None:
    with pytest.raises(HslError, match=message) as refused:
        fit(linear(folder, **arguments), tmp_path)
    assert "\n" not in str(refused.value)


def test_a_run_without_data_module_or_boundaries_is_refused(folder: str, tmp_path: Path) -> None:
    run, method = trainer(tmp_path, limit_val_batches=1.0), linear(folder)
    with pytest.raises(HslError, match="data module"):
        run.fit(method, data().train_dataloader())
    for verb in (run.validate, run.test):
        with pytest.raises(HslError, match="no boundaries yet"):
            verb(method, datamodule=data())
    with pytest.raises(HslError, match="no images"):
        method.everyones([])


def test_features_that_are_gone_are_an_error(folder: str, tmp_path: Path) -> None:
    method, source = linear(folder, cache=str(tmp_path / "cache")), data()
    method.begin(source)
    samples = method.collect(next(iter(source.val_dataloader())), source)
    next((tmp_path / "cache").rglob("*.safetensors")).unlink()
    with pytest.raises(HslError, match="cache: features are missing"):
        method.held_out(samples)


# The cache


def counted(method: Linear, monkeypatch) -> list[int]:
    """The sizes of the batches that the backbone encodes from now on."""
    assert method.backbone.h_shape == (32, 4, 4)  # which takes a pass, the first time
    passes, encode = [], method.backbone.encode

    def counting(x: Tensor, t: int):
        passes.append(len(x))
        return encode(x, t)

    monkeypatch.setattr(method.backbone, "encode", counting)
    return passes


def test_a_second_fit_runs_no_network(folder: str, tmp_path: Path, monkeypatch) -> None:
    cache, source = str(tmp_path / "cache"), data(12, batch_size=12)
    in_memory = linear(folder, solver=MeanDifference())
    passes = counted(in_memory, monkeypatch)
    fit(in_memory, tmp_path, source)
    # one pass for the first eps, one a step to t = 599, one for h at each of two timesteps
    assert passes == [12] * (1 + 3 + 2)
    trainer(tmp_path).fit(in_memory, datamodule=source)
    assert len(passes) == 6
    on_disk = fit(linear(folder, solver=MeanDifference(), cache=cache), tmp_path, source)
    again = linear(folder, solver=Ridge(ALPHA), cache=cache)
    passes = counted(again, monkeypatch)
    fit(again, tmp_path, source)
    assert not passes
    for name, expected in in_memory.directions.state_dict().items():
        assert torch.equal(on_disk.directions.state_dict()[name], expected)
    other = linear(folder, cache=cache, refine=0)
    passes = counted(other, monkeypatch)
    fit(other, tmp_path, source)
    assert passes  # another inversion has other features


def test_predict_fills_the_cache_of_a_fit(folder: str, tmp_path: Path, monkeypatch) -> None:
    cache, source = str(tmp_path / "cache"), data(12)
    trainer(tmp_path).predict(linear(folder, cache=cache), datamodule=source)
    later = linear(folder, cache=cache, solver=MeanDifference())
    passes = counted(later, monkeypatch)
    fit(later, tmp_path, source)
    assert not passes
    with pytest.raises(HslError, match="cache FOLDER"):
        trainer(tmp_path).predict(linear(folder), datamodule=source)


# How good they are


def assert_figures(method: Linear, source, split: str = "validation") -> None:
    h, y = features(method, source.faces(split).images), signs(source, split)
    assert set(method.figures) == {(s, t) for s in method.spaces for t in method.timesteps}
    for (space, t), found in method.figures.items():
        for a, name in enumerate(NAMES):
            boundary = method.directions[name]
            i = boundary.timesteps.index(t)
            normal = boundary.normals[space][i].detach().flatten().double()
            scores = h[space, t] @ normal + boundary.biases[space][i].item()
            assert scores.abs().min() > 1e-5  # none is a matter of rounding
            known, said = y[:, a].numpy(), torch.where(scores > 0, 1, -1).numpy()
            assert float(found.accuracy[a]) == pytest.approx(accuracy_score(known, said))
            balanced = balanced_accuracy_score(known, said)
            assert float(found.balanced_accuracy[a]) == pytest.approx(balanced)
            assert float(found.auc[a]) == pytest.approx(roc_auc_score(known, scores.numpy()))
            assert int(found.positive[a]) == int((known > 0).sum())


def test_held_out_figures_equal_direct_ones(folder: str, tmp_path: Path) -> None:
    source = data(32, validation=21)
    method, run = linear(folder), trainer(tmp_path)
    run.fit(method, datamodule=source)
    assert not method.figures  # without the callback nothing is measured
    trainer(tmp_path, limit_val_batches=1.0).validate(method, datamodule=source, verbose=False)
    assert_figures(method, source)
    method.mix_at(199)  # the grid is cut; features are still taken at every timestep
    method.figures = {}
    trainer(tmp_path, limit_val_batches=1.0).validate(method, datamodule=source, verbose=False)
    assert_figures(method, source)


def test_validation_within_a_fit_leaves_it_alone(folder: str, tmp_path: Path) -> None:
    alone = fit(linear(folder), tmp_path)
    both = fit(linear(folder), tmp_path, limit_val_batches=1.0)
    assert not both.figures
    for name, expected in alone.directions.state_dict().items():
        assert torch.equal(both.directions.state_dict()[name], expected)


# Edits


@pytest.fixture(scope="module")
def fitted(folder: str, tmp_path_factory) -> Linear:
    return fit(linear(folder), tmp_path_factory.mktemp("fitted"))


def test_mix_at_cuts_the_grid(folder: str, fitted: Linear) -> None:
    fitted.mix_at(599)
    assert fitted.grid == [0, 199, 399, 599]
    fitted.mix_at(199)
    assert fitted.grid == [0, 199] and {b.t for b in fitted.directions.values()} == {199}
    fitted.mix_at(599)  # and up again
    assert fitted.grid == [0, 199, 399, 599] and fitted.t == 599
    with pytest.raises(HslError, match=r"no hyperplane at t=399; there are \[199, 599\]"):
        fitted.mix_at(399)
    fresh = linear(folder)
    fresh.directions = fitted.directions
    with pytest.raises(HslError, match="no mixing step"):
        fresh.edit("Male")


def test_an_edit_acts_at_one_step(fitted: Linear) -> None:
    """Invert to t, move x_t and its h, and go down from there."""
    source = data(4)
    images, index = source.faces("test").images, source.faces("test").index
    fitted.mix_at(599)
    edit = fitted.edit("Male", 1.5)
    assert not fitted.left_out  # it was not asked for
    assert [t for t in (0, 199, 399, 599, 799, 999) if edit.acts(t)] == [599]
    boundary = fitted.directions["Male"]
    backbone = fitted.backbone
    x = features(fitted, images)["x", 599].float().view(4, 3, 8, 8)
    ways = {s: 1.5 * boundary.scales[s][1] * boundary.normals[s][1] for s in "xh"}
    moved = x + ways["x"]
    with torch.no_grad():
        b = backbone.encode(moved, 599)
        eps = backbone.decode(b._replace(h=backbone.encode(x, 599).h + ways["h"]))
        a, a_next = (backbone.schedule.alpha_bar(t) for t in (599, 399))
        p = (moved - (1 - a) ** 0.5 * eps) / a**0.5
        x = a_next**0.5 * p + (1 - a_next) ** 0.5 * eps
    expected = last(reverse(backbone, x, [0, 199, 399])).clamp(-1, 1)
    edited = fitted.edit_images(images, index, edit)
    assert torch.allclose(edited, expected, atol=1e-4)
    assert not torch.allclose(edited, fitted.edit_images(images, index), atol=1e-2)


def test_a_shift_by_the_distance_lands_on_the_boundary(folder: str, tmp_path: Path) -> None:
    source = data()
    method = fit(linear(folder, unit="distance", t=600), tmp_path, source)
    boundary = method.directions["Smiling"]
    x = features(method, source.faces("test").images)["x", 599].float().view(-1, 3, 8, 8)
    away = boundary.distance(x, "x")
    assert away.abs().max() > 1e-3
    assert torch.allclose(boundary.distance(boundary.move(x, "x", -away), "x"), 0 * away, atol=1e-5)


def test_saved_directions_edit_alike(folder: str, tmp_path: Path) -> None:
    source = data()
    method = linear(folder, t=600, t_boost=300)
    fit(method, tmp_path, source, Directions())
    images, index = source.faces("test").images[:3], source.faces("test").index[:3]
    expected = method.edit_images(images, index, method.edit("Young"))
    path = tmp_path / "directions" / "Young.safetensors"
    edit = Edit.of(Direction.load(path, method.backbone))
    assert edit.t_edit == edit.t_start == 599 and edit.t_boost == 300
    x = reverse(method.backbone, method.x_T(images), method.grid, edit, noise=SeededNoise(index))
    assert torch.equal(last(x).clamp(-1, 1), expected)
    about = edit.direction.about
    assert about["method"] == "linear/SVM" and about["t_0"] == 599 and "steps" not in about


# Checkpoints


def test_a_checkpoint_edits_alike(folder: str, tmp_path: Path) -> None:
    source, path = data(), tmp_path / "m.ckpt"
    method, run = linear(folder, t=600), trainer(tmp_path)
    run.fit(method, datamodule=source)
    method.strengths = {"Male": 0.5}
    run.save_checkpoint(path)
    assert path.stat().st_size < 200_000
    held = torch.load(path, weights_only=True)
    assert all(key.startswith("directions.") for key in held["state_dict"])
    batch = next(iter(source.test_dataloader()))
    expected = method.test_step(batch, 0)
    fresh = Linear(backbone=folder)  # another grid, no attributes named
    outputs = []
    fresh.test_step = lambda batch, i, step=fresh.test_step: outputs.append(step(batch, i))
    trainer(tmp_path).test(fresh, datamodule=source, ckpt_path=path, verbose=False)
    assert (fresh.t, fresh.grid, fresh.timesteps) == (599, [0, 199, 399, 599], TIMES)
    assert list(outputs[0]) == NAMES and fresh.strengths == {"Male": 0.5}
    for name in NAMES:
        assert torch.equal(outputs[0][name]["edited"], expected[name]["edited"])


def test_a_checkpoint_can_be_measured_and_mixed_elsewhere(folder: str, tmp_path: Path) -> None:
    source, path = data(32, validation=21), tmp_path / "m.ckpt"
    method, run = linear(folder, t=600, spaces=["h"]), trainer(tmp_path)
    run.fit(method, datamodule=source)
    run.save_checkpoint(path)
    fresh = linear(folder, t=200, attributes=None)
    again = trainer(tmp_path, limit_val_batches=1.0)
    again.validate(fresh, datamodule=source, ckpt_path=path, verbose=False)
    assert (fresh.t, fresh.spaces) == (199, ["h"])
    assert_figures(fresh, source)
    other = linear(folder, t=400, timesteps=[400])
    with pytest.raises(HslError, match="no hyperplane at t=399"):
        trainer(tmp_path).test(other, datamodule=source, ckpt_path=path, verbose=False)


def test_a_checkpoint_of_something_else_is_refused(folder: str, tmp_path: Path) -> None:
    run = trainer(tmp_path, limit_train_batches=0)
    run.fit(asyrp(folder), datamodule=data())
    run.save_checkpoint(tmp_path / "asyrp.ckpt")
    with pytest.raises(HslError, match="no boundaries"):
        trainer(tmp_path).test(linear(folder), datamodule=data(), ckpt_path=tmp_path / "asyrp.ckpt")
    method, run = linear(folder), trainer(tmp_path)
    run.fit(method, datamodule=data())
    run.save_checkpoint(tmp_path / "linear.ckpt")
    other = linear(saved_backbone(tmp_path / "other", seed=1))
    with pytest.raises(HslError, match="not made with backbone"):
        trainer(tmp_path).test(other, datamodule=data(), ckpt_path=tmp_path / "linear.ckpt")


def test_fitting_anew_begins_anew(folder: str, tmp_path: Path) -> None:
    method = fit(linear(folder, solver=MeanDifference(), t=200), tmp_path, data(24))
    method.wanted = NAMES[:2]
    source = data(40)
    fit(method, tmp_path, source)
    h = features(method, source.faces("train").images)
    assert_fitted(method, by_mean_difference, h, signs(source), NAMES[:2])


def test_leave_one_out_refits_without_each_image(folder: str, tmp_path: Path) -> None:
    source = data(12)
    method = linear(folder, solver=MeanDifference(), leave_one_out=True)
    fit(method, tmp_path, source)
    h, y = features(method, source.faces("train").images), signs(source)
    for space, t in method.left_out:
        scores = torch.empty_like(y)
        for i in range(len(y)):
            rest = [j for j in range(len(y)) if j != i]
            for a in range(len(NAMES)):
                w, b = by_mean_difference(h[space, t][rest], y[rest], a)
                scores[i, a] = h[space, t][i] @ w + b
        right = ((scores > 0) == (y > 0)).double().mean(0)
        assert torch.allclose(method.left_out[space, t].accuracy, right)
    assert set(method.left_out) == {(space, t) for space in ("x", "h") for t in TIMES}


def test_leave_one_out_wants_two_images_of_each_class(folder: str, tmp_path: Path) -> None:
    source = data(12)
    source.faces("train").labels[:, source.names.index("Young")] = 0
    source.faces("train").labels[4, source.names.index("Young")] = 1
    method = linear(folder, solver=MeanDifference(), leave_one_out=True)
    with pytest.raises(HslError, match=r"^Young: 1 positive and 11 negative images; want 2"):
        fit(method, tmp_path, source)
