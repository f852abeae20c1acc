"""Asyrp's training: what moves, in which order, against which source."""

import math
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hsl.data.toyfaces.captions import TEMPLATES
from hsl.encoders.clip import Clip
from hsl.encoders.perceptual import PerceptualDistance
from hsl.errors import HslError
from hsl.losses import identity_loss
from hsl.methods.asyrp import Asyrp
from hsl.process import reverse
from runs import asyrp, faces, saved_backbone, saved_latent_backbone, trainer

EDITED = [999, 799, 599, 399]  # of the grid of 6 steps, at t_edit=300
still = partial(torch.optim.SGD, lr=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def fit(method: Asyrp, path: Path, n: int = 4, epochs: int = 1, **arguments):
    run = trainer(path, epochs=epochs)
    run.fit(method, datamodule=faces(n, **arguments))
    return run


def test_the_direction_moves_and_the_backbone_does_not(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    run = fit(method, tmp_path)
    moved = {k for k, v in method.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {k for k in before if k.startswith("directions.")}
    assert not any(k.startswith(("clip.", "loss.")) for k in moved)
    assert run.global_step == 2 * len(EDITED)  # two batches


def test_one_optimiser_step_at_each_edited_timestep(folder: str, tmp_path: Path) -> None:
    """Noisiest first, an update after each, on the way from one image's x_T to its end."""
    method, happened = asyrp(folder), []

    class Sgd(torch.optim.SGD):
        def step(self, closure=None):
            happened.append("step")
            return super().step(closure)

    method.make_optimizer = partial(Sgd, lr=0.1)
    direction = method.directions["Smiling"]
    direction.register_forward_hook(lambda module, inputs, output: happened.append(inputs[2]))
    fit(method, tmp_path, n=2)
    assert happened == [item for t in EDITED for item in (t, "step")]


def test_a_training_that_diverges_is_said_to(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder)
    method.make_optimizer = partial(torch.optim.SGD, lr=1e30)
    with pytest.raises(HslError, match="Smiling: the training has diverged"):
        fit(method, tmp_path, n=4)


def test_t_start_leaves_the_first_steps_alone(folder: str, tmp_path: Path) -> None:
    method, seen = asyrp(folder, t_start=770), []
    direction = method.directions["Smiling"]
    direction.register_forward_hook(lambda module, inputs, output: seen.append(inputs[2]))
    fit(method, tmp_path, n=2)
    assert seen == [599, 399]


def test_training_starts_from_the_identity(folder: str, tmp_path: Path) -> None:
    images = faces(2).faces("test").images
    started = {}
    for zero in (True, False):
        torch.manual_seed(0)
        method = asyrp(folder, zero_init=zero, t_boost=0)
        seen: list[Tensor] = []
        method.losses["Smiling"].register_forward_pre_hook(
            lambda module, inputs, s=seen: s.append(inputs[0])
        )
        rebuilt = method.edit_images(images, torch.arange(2))
        edited = method.edit_images(images, torch.arange(2), method.edit("Smiling"))
        assert torch.allclose(edited, rebuilt, atol=1e-6) == zero
        fit(method, tmp_path, n=2)
        p = method._unedited(method.trainer.datamodule.faces("train").images)[1]
        first = seen[0].detach()
        order = [0, 1] if (first - p[0]).norm() < (first - p[0].flip(0)).norm() else [1, 0]
        started[zero] = float((first - p[0][order]).abs().max())
    assert started[True] < 1e-5 < 1e-3 < started[False]


def test_the_loss_is_the_papers(folder: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = asyrp(folder, zero_init=False, clip_weight=0.7, l1_weight=3.0, optimizer=still)
    run = fit(method, tmp_path, n=1)
    image = run.datamodule.faces("train").images
    x, edit = method.x_T(image), method.edit("Smiling")
    features = method.losses["Smiling"].features(image)
    rows = []
    with torch.no_grad():
        paths = (
            reverse(method.backbone, x, method.edited_grid("Smiling"), e) for e in (edit, None)
        )
        for edited, plain in zip(*paths, strict=True):
            l_dir = float(method.losses["Smiling"](edited.p, features))
            l1 = float((edited.p - plain.p).abs().mean())
            loss = 0.7 * -math.log((2 - l_dir) / 2) + 3.0 * method.cosine_of("Smiling") * l1
            rows.append([loss, l_dir, l1])
    expected = torch.tensor(rows).mean(0).tolist()
    logged = [float(run.callback_metrics[f"train/{name}"]) for name in ("loss", "l_dir", "l1")]
    assert logged == pytest.approx(expected, rel=1e-4)
    assert expected[2] > 1e-3


def test_the_identity_loss_keeps_what_its_embedding_sees(folder: str, tmp_path: Path) -> None:
    """With it, the edited P_t's embeddings stay nearer to the unedited ones'."""
    embed, apart = Clip.load("toyfaces/guide", resize=True).model.visual, {}
    embed.role = "guide"
    images = faces(4).faces("train").images
    for weight in (0.0, 30.0):
        torch.manual_seed(0)
        method = asyrp(folder, identity=embed, id_weight=weight, l1_weight=0.0,
                       optimizer=partial(torch.optim.Adam, lr=1e-2))  # fmt: skip
        run = fit(method, tmp_path / str(weight), epochs=3)
        x, edit = method.x_T(images), replace(method.edit("Smiling"), t_boost=0)
        paths = (
            reverse(method.backbone, x, method.edited_grid("Smiling"), e) for e in (edit, None)
        )
        with torch.no_grad():
            found = [identity_loss(embed, e.p, o.p).mean() for e, o in zip(*paths, strict=True)]
        apart[weight] = float(torch.stack(found).mean())
        assert float(run.callback_metrics["train/l_id"]) > 0
    assert apart[30.0] < 0.7 * apart[0.0]


def test_templates_by_name(folder: str, monkeypatch) -> None:
    """The 80 that CLIP was published with."""
    seen = []
    monkeypatch.setattr("hsl.methods.guided.DirectionalClipLoss", lambda *a: seen.append(a[3]))
    for templates in ("imagenet", None, ["a {} face"]):
        with suppress(TypeError):  # what stands in is no module
            asyrp(folder, templates=templates)
    assert len(seen[0]) == 80 and "a bad photo of a {}." in seen[0]
    assert list(seen[1]) == list(TEMPLATES) and seen[2] == ["a {} face"]


def test_a_judge_is_no_identity(folder: str) -> None:
    with pytest.raises(HslError, match="judge"):
        asyrp(folder, identity=PerceptualDistance.load("toyfaces/judge"))


def test_a_clip_of_other_images_does_not_train(folder: str, tmp_path: Path) -> None:
    data = faces(2)
    data.domain = "photographs"
    with pytest.raises(HslError, match=r"toyfaces/guide is for images of toyfaces.* give --model"):
        trainer(tmp_path).fit(asyrp(folder), datamodule=data)


def test_an_identity_without_a_role_is_asked_for_one(folder: str) -> None:
    with pytest.raises(HslError, match="Linear has no role; give it one"):
        asyrp(folder, identity=torch.nn.Linear(2, 2))


def test_each_image_is_compared_with_its_own_source(folder: str, tmp_path: Path) -> None:
    """With a direction that stands still, a batch's L_dir is the mean of its images' own."""
    logged = {}
    for size in (1, 3, 4):
        torch.manual_seed(0)
        method = asyrp(folder, zero_init=False, optimizer=still)
        run = fit(method, tmp_path, n=4, batch_size=size)
        logged[size] = float(run.callback_metrics["train/l_dir"])
    assert logged[1] == pytest.approx(logged[4], abs=1e-4)
    assert logged[3] == pytest.approx(logged[4], abs=1e-4)  # of three images and of one


def test_what_depends_on_the_image_alone_is_computed_once(folder: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    for run, epochs, computed in (("first", 2, True), ("second", 1, False)):
        method, passes = asyrp(folder, cache=cache), []
        encode, features = method.backbone.encode, method.losses["Smiling"].features

        def counting(x: Tensor, t: int, passes=passes, encode=encode):
            passes.append(t)
            return encode(x, t)

        def looking(images: Tensor, passes=passes, features=features):
            passes.append("clip")
            return features(images)

        method.backbone.encode, method.losses["Smiling"].features = counting, looking
        fit(method, tmp_path / run, n=2, epochs=epochs)
        training = [item for t in EDITED for item in (t, "clip")]
        once = [*method.grid, *EDITED, "clip"] if computed else []  # inverted, walked back
        assert passes == once + epochs * training


def test_what_is_prepared_is_not_computed_again(folder: str, tmp_path: Path, monkeypatch) -> None:
    images = faces(2).faces("train").images
    method = asyrp(folder, cache=str(tmp_path / "cache"))
    method.prepare(images)
    monkeypatch.setattr(method.backbone, "encode", None)
    x, p, features = method._unedited(images)
    assert x.shape == images.shape and len(p) == len(EDITED) and len(features) == 2


def test_other_settings_do_not_share_a_cache(folder: str, tmp_path: Path) -> None:
    images, cache = faces(1).faces("train").images, str(tmp_path / "cache")
    shapes = {}
    for t_edit in (300, 700):
        x, p, _ = asyrp(folder, cache=cache, t_edit=t_edit)._unedited(images)
        shapes[t_edit] = len(p)
        assert x.shape == images.shape
    assert shapes == {300: 4, 700: 2}


def test_the_learning_rate_changes_once_an_epoch(folder: str, tmp_path: Path) -> None:
    sgd = partial(torch.optim.SGD, lr=0.1)
    halved = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    method = asyrp(folder, optimizer=sgd, lr_scheduler=halved)
    run = fit(method, tmp_path, n=4, epochs=2)
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.025)


def test_a_direction_says_where_it_comes_from(folder: str) -> None:
    method = asyrp(folder, source="face", target="old face", attribute="old", t_start=900)
    about = method.about("old")
    expected = {
        "method": "asyrp", "name": "old", "texts": ["face", "old face"], "steps": 6,
        "t_edit": 300, "t_start": 900, "t_boost": 100, "injection": "asymmetric",
        "backbone_hash": method.backbone.hash, "h_shape": [32, 4, 4],
    }  # fmt: skip
    assert {key: about.get(key) for key in expected} == expected


def test_bad_choices_are_refused(folder: str) -> None:
    for wrong, message in (
        ({"attribute": "Zebra"}, "Zebra"),
        ({"attribute": "new", "source": "face"}, "new"),
        ({"clip": "toyfaces/judge"}, "judge"),
        ({"target": "zebra"}, "zebra"),
        ({"target": "face"}, "alike"),
        ({"backbone": "nowhere/at/all"}, "nowhere/at/all"),
        ({"family": "vit"}, "vit"),
        ({"direction": "sideways"}, "sideways"),
    ):
        with pytest.raises(HslError, match=message) as error:
            asyrp(**({"backbone": folder} | wrong))
        assert "\n" not in str(error.value)


def test_an_interval_without_timesteps_is_refused(folder: str) -> None:
    for interval in ({"t_edit": 850, "t_start": 950}, {"t_edit": 600, "t_start": 500}):
        with pytest.raises(HslError, match="t_start"):
            _ = asyrp(folder, **interval).edited_grid("Smiling")


def test_several_attributes_train_as_if_alone(folder: str, tmp_path: Path) -> None:
    """Each with its own texts and its own t_edit; also by an optimiser with momentum."""
    names, t_edits = ["Smiling", "Not_Young"], {"Smiling": 300, "Not_Young": 600}
    adam = partial(torch.optim.Adam, lr=1e-2)

    def trained(attribute: str | list[str]) -> Asyrp:
        torch.manual_seed(0)
        method = asyrp(folder, attribute=attribute, t_edit=None, optimizer=adam)
        for name in method.directions:
            method.directions[name].load_state_dict(start)
            method.t_edits[name] = t_edits[name]
        run = fit(method, tmp_path / str(attribute), n=3, epochs=2)
        logged.append({key for key in run.callback_metrics if key.startswith("train/")})
        return method

    logged: list[set[str]] = []
    start = asyrp(folder, zero_init=False).directions["Smiling"].state_dict()
    together = trained(names)
    assert len(together.edited_grid("Smiling")) > len(together.edited_grid("Not_Young")) > 0
    assert logged[0] == {f"train/{n}/{part}" for n in names for part in ("loss", "l_dir", "l1")}
    for name in names:
        alone = trained(name).directions[name].state_dict()
        for key, value in together.directions[name].state_dict().items():
            assert torch.allclose(value, alone[key], atol=1e-6), (name, key)
            assert not torch.equal(value, start[key]), (name, key)
    assert together.texts_of("Not_Young") == ("face", "old face")


def test_each_attribute_wants_its_texts(folder: str) -> None:
    two = ["Smiling", "Eyeglasses"]
    named = asyrp(folder, attribute=two, source=["a", "the"], target=["old face", "pale face"])
    assert [named.texts_of(name) for name in two] == [("a", "old face"), ("the", "pale face")]
    for wrong, message in (
        ({"attribute": two, "target": "old face"}, "1 texts for 2"),
        ({"attribute": ["Smiling", "Smiling"]}, "different"),
        ({"attribute": []}, "attribute"),
        ({"attribute": "sad.face", "source": "a", "target": "old face"}, "sad.face"),
        ({"attribute": "type", "source": "a", "target": "old face"}, "type"),
    ):
        with pytest.raises(HslError, match=message):
            asyrp(folder, **wrong)


@pytest.mark.parametrize("kind", ["shift", "global", "eps"])
def test_tensors_train_too(folder: str, tmp_path: Path, kind: str) -> None:
    """From delta = 0, at the edited timesteps alone; and then images change towards the text."""
    method = asyrp(folder, direction=kind, l1_weight=0.0, t_start=900,
                   optimizer=partial(torch.optim.Adam, lr=0.1))  # fmt: skip
    shift = method.directions["Smiling"]
    assert shift.timesteps == (None if kind == "global" else EDITED[:0:-1])
    assert not shift.delta.any() and shift.space == ("eps" if kind == "eps" else "h")
    images = faces(4).faces("train").images
    losses = []
    for epochs in (0, 3):
        if epochs:
            fit(method, tmp_path, epochs=epochs)
        loss, edit = method.loss("Smiling"), method.edit("Smiling")
        features = loss.features(images)
        with torch.no_grad():
            steps = reverse(
                method.backbone, method.x_T(images), method.grid, replace(edit, t_boost=0)
            )
            p = [step.p for step in steps if edit.acts(step.t)]
        losses.append(float(loss(torch.cat(p), features.repeat(len(p), 1)).mean()))
    assert bool(shift.delta.detach().flatten(1).any(1).all())
    assert losses[1] < losses[0] - 0.02


@pytest.mark.parametrize("kind", ["shift", "eps"])
def test_only_the_tensor_of_the_timestep_moves(folder: str, tmp_path: Path, kind: str) -> None:
    """Also by an optimiser with momentum, which the others' earlier steps have given them."""
    method, moved = asyrp(folder, direction=kind), []
    delta = method.directions["Smiling"].delta

    class Watched(torch.optim.Adam):
        def step(self, closure=None):
            before = delta.detach().clone()
            super().step(closure)
            moved.append((delta.detach() != before).flatten(1).any(1).nonzero().flatten().tolist())

    method.make_optimizer = partial(Watched, lr=1e-2)
    fit(method, tmp_path, n=4)
    assert moved == 2 * [[3], [2], [1], [0]]


def test_a_schedule_that_waits_for_a_metric_is_refused(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder, lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)
    with pytest.raises(HslError, match="ReduceLROnPlateau"):
        fit(method, tmp_path, n=2)


def test_a_clip_is_more_than_its_weights(folder: str, monkeypatch) -> None:
    """What images are prepared by is part of the key of their features."""
    one, other = asyrp(folder), asyrp(folder, antialias=False)
    assert one.clip_key != other.clip_key == asyrp(folder, antialias=False).clip_key
    whole = Clip.load

    def prepared(*arguments, **named) -> Clip:
        clip = whole(*arguments, **named)
        clip.preprocess = {"size": 32, "interpolation": "bicubic",
                           "mean": (0.5,) * 3, "std": (0.5,) * 3}  # fmt: skip
        return clip

    monkeypatch.setattr(Clip, "load", prepared)
    assert asyrp(folder).clip_key != one.clip_key


def test_tensors_start_as_released_where_not_from_zero(folder: str) -> None:
    torch.manual_seed(0)
    shift = asyrp(folder, direction="shift", zero_init=False).directions["Smiling"]
    assert float(shift.delta.std()) == pytest.approx(0.2, rel=0.05)


def test_the_backbones_family_is_that_of_f(folder: str) -> None:
    net = asyrp(folder).backbone
    for learned, scaling, family in (
        (False, "default", "ddpm"), (True, "default", "adm"), (False, "scale_shift", "adm")
    ):  # fmt: skip
        net.learned_variance = learned
        net.unet.register_to_config(resnet_time_scale_shift=scaling)
        assert net.family == family
    assert asyrp(folder).directions["Smiling"].arguments["family"] == "ddpm"
    assert asyrp(folder, family="adm").directions["Smiling"].arguments["family"] == "adm"


def test_without_the_timestep_its_weights_stay(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder, ignore_timesteps=True)
    before = {k: v.clone() for k, v in method.directions.state_dict().items()}
    fit(method, tmp_path)
    after = method.directions.state_dict()
    still = {k for k, v in after.items() if torch.equal(v, before[k])}
    assert {k for k in still if "temb" in k} == {k for k in after if "temb" in k} != set()
    assert any("conv" in k for k in after.keys() - still)


@pytest.mark.parametrize("tap", ["before", "middle"])
def test_other_taps_train_too(folder: str, tmp_path: Path, tap: str) -> None:
    method = asyrp(folder, tap=tap)
    before = {k: v.clone() for k, v in method.directions.state_dict().items()}
    fit(method, tmp_path)
    assert any(not torch.equal(v, before[k]) for k, v in method.directions.state_dict().items())
    assert method.about("Smiling")["tap"] == tap


def test_latent_diffusion_trains_on_images(tmp_path: Path) -> None:
    """x_T is a latent; images, what CLIP sees and what comes out are pixels."""
    method = asyrp(saved_latent_backbone(tmp_path / "ldm"))
    assert method.backbone.image_size == 16
    before = {k: v.clone() for k, v in method.directions.state_dict().items()}
    fit(method, tmp_path, size=16)
    assert any(not torch.equal(v, before[k]) for k, v in method.directions.state_dict().items())
    batch = torch.rand(2, 3, 16, 16) * 2 - 1
    assert method.x_T(batch).shape == (2, 3, 8, 8)
    edited = method.edit_images(batch, torch.arange(2), method.edit("Smiling"))
    assert edited.shape == batch.shape and edited.isfinite().all()
    assert "vqvae" not in " ".join(method.directions.state_dict())
