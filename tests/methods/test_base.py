"""What every method does: edits, their checkpoints, the cache of inverted images."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hsl.directions import ImplicitFunction
from hsl.errors import HslError
from hsl.methods.base import Method
from hsl.process import Edit, SeededNoise, invert, last, reverse
from runs import asyrp, faces, saved_backbone, trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def method(folder: str, **arguments) -> Method:
    found = Method(folder, **({"steps": 6, "t_edit": 300, "t_boost": 250} | arguments))
    for seed, name in enumerate(("Smiling", "Young")):
        torch.manual_seed(seed)
        found.directions[name] = ImplicitFunction.for_backbone(found.backbone)
    return found


def images(n: int = 3) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_edit_says_how_its_direction_is_used(folder: str) -> None:
    found = method(folder, t_start=800, injection="symmetric")
    edit = found.edit("Smiling", 0.7)
    assert edit == Edit(found.directions["Smiling"], 0.7, 300, 250, 800, "symmetric")
    assert found.edit("Smiling").strength == 1
    found.strengths["Smiling"] = 1.5
    assert found.edit("Smiling").strength == 1.5
    assert found.edit("Smiling", 0.0).strength == 0  # which is given


def test_what_cannot_be_edited_is_refused(folder: str) -> None:
    with pytest.raises(HslError, match="Smiling, Young"):
        method(folder).edit("Male")
    for missing in ("t_edit", "t_boost"):
        with pytest.raises(HslError, match="not set"):
            method(folder, **{missing: None}).edit("Smiling")
    for steps in (1, 1001):
        with pytest.raises(HslError, match="steps"):
            Method(folder, steps=steps)


def test_edit_images_inverts_and_edits(folder: str) -> None:
    found, index = method(folder), torch.tensor([3, 1, 2])
    edit = found.edit("Smiling")
    x = last(invert(found.backbone, images(), found.grid, found.refine))
    expected = last(reverse(found.backbone, x, found.grid, edit, noise=SeededNoise(index)))
    assert torch.allclose(found.edit_images(images(), index, edit), expected.clamp(-1, 1))
    rebuilt = last(reverse(found.backbone, x, found.grid)).clamp(-1, 1)
    assert torch.allclose(found.edit_images(images(), index), rebuilt)


def test_a_sweep_equals_separate_edits(folder: str) -> None:
    found, index, strengths = method(folder), torch.tensor([5, 0, 9]), [-1.0, 0.0, 0.5]
    swept = found.sweep(images(), index, "Smiling", strengths)
    assert swept.shape == (3, 3, 3, 8, 8)
    for strength, edited in zip(strengths, swept, strict=True):
        alone = found.edit_images(images(), index, found.edit("Smiling", strength))
        assert torch.allclose(edited, alone, atol=1e-4)
    assert not torch.allclose(swept[0], swept[2], atol=1e-2)


def test_each_image_is_inverted_once(folder: str, monkeypatch) -> None:
    found, passes = method(folder), []
    encode = found.backbone.encode

    def counting(x: Tensor, t: int):
        passes.append(len(x))
        return encode(x, t)

    monkeypatch.setattr(found.backbone, "encode", counting)
    first = found.x_T(images(2))
    assert passes == [2] * 6
    again = found.x_T(images(3))  # the third alone is new
    assert passes == [2] * 6 + [1] * 6
    assert torch.equal(first, again[:2])
    found.x_T(images(3).flip(0))
    assert len(passes) == 12


def test_a_cache_on_disk_serves_another_run(folder: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    one = method(folder, cache=cache).x_T(images())
    other = method(folder, cache=cache)
    other.backbone.encode = None  # type: ignore[assignment]  # not needed
    assert torch.equal(one, other.x_T(images()))
    for another in ({"steps": 5}, {"refine": 0}, {"refine": 2}):
        assert not torch.equal(one, method(folder, cache=cache, **another).x_T(images())), another


def test_a_checkpoint_holds_directions_alone(folder: str, tmp_path: Path) -> None:
    found = method(folder, t_start=800)
    found.strengths = {"Smiling": 0.75}
    fitted = trainer(tmp_path)
    fitted.strategy.connect(found)
    fitted.save_checkpoint(tmp_path / "m.ckpt")
    held = torch.load(tmp_path / "m.ckpt", weights_only=True)
    assert held["state_dict"] and all(k.startswith("directions.") for k in held["state_dict"])
    configs = {name: d.config() for name, d in found.directions.items()}
    assert held["hsl"] == {
        "directions": configs, "backbone_hash": found.backbone.hash, "steps": 6,
        "t_edit": 300, "t_edits": {}, "t_start": 800, "t_boost": 250,
        "strengths": {"Smiling": 0.75}, "guides": {},
    }  # fmt: skip
    assert (tmp_path / "m.ckpt").stat().st_size < 200_000


def checkpoint(found: Method) -> dict:
    held = {"state_dict": found.state_dict()}
    found.on_save_checkpoint(held)
    return held


def test_a_checkpoint_restores_how_directions_are_used(folder: str) -> None:
    found = method(folder, t_edit=400, t_start=700, t_boost=200)
    found.strengths = {"Young": 0.5}
    held = checkpoint(found)
    fresh = method(folder, t_edit=None, t_boost=None)
    with torch.no_grad():
        for parameter in fresh.directions.parameters():
            parameter.zero_()
    fresh.on_load_checkpoint(held)
    fresh.load_state_dict(held["state_dict"], strict=fresh.strict_loading)
    assert (fresh.t_edit, fresh.t_start, fresh.t_boost) == (400, 700, 200)
    assert fresh.strengths == {"Young": 0.5}
    for name, parameter in found.directions.named_parameters():
        assert torch.equal(parameter, fresh.directions.get_parameter(name))


def test_directions_count_with_the_steps_that_they_were_trained_in(folder: str) -> None:
    trained = method(folder, steps=6)
    held = checkpoint(trained)
    fewer = method(folder, steps=3)
    assert fewer.edit("Smiling", 0.5).strength == 0.5
    fewer.on_load_checkpoint(held)
    assert fewer.edit("Smiling", 0.5).strength == 1.0
    assert checkpoint(fewer)["hsl"]["steps"] == fewer.about("Smiling")["steps"] == 6
    fewer.on_train_start()
    assert fewer.edit("Smiling", 0.5).strength == 0.5


def test_a_share_of_h_is_the_same_in_any_number_of_steps(folder: str) -> None:
    held = checkpoint(method(folder, injection="replaced"))
    fewer = method(folder, steps=3, injection="replaced")
    fewer.on_load_checkpoint(held)
    assert fewer.edit("Smiling", 0.5).strength == 0.5
    direction = fewer.directions["Smiling"]
    direction.about = {"steps": 6, "t_edit": 300, "strength": 0.5, "injection": "slerp"}
    assert Edit.of(direction, steps=3).strength == 0.5
    direction.about["injection"] = "symmetric"
    assert Edit.of(direction, steps=3).strength == 1.0


def test_tensors_of_other_timesteps_are_taken_up(folder: str) -> None:
    trained = asyrp(folder, direction="shift")
    torch.nn.init.normal_(trained.directions["Smiling"].delta)
    held = checkpoint(trained)
    fewer = asyrp(folder, direction="shift", steps=3)
    fewer.on_load_checkpoint(held)
    fewer.load_state_dict(held["state_dict"], strict=fewer.strict_loading)
    one, other = trained.directions["Smiling"], fewer.directions["Smiling"]
    assert other.timesteps == one.timesteps and torch.equal(other.delta, one.delta)
    with pytest.raises(HslError, match="kind shift"):
        asyrp(folder).on_load_checkpoint(held)


def test_the_inversion_may_take_other_steps(folder: str, tmp_path: Path) -> None:
    fine = method(folder, invert_steps=50, cache=str(tmp_path))
    net, faces = fine.backbone, images()
    x_T = last(invert(net, net.x_0(faces), net.schedule.grid(50), 1))
    assert torch.allclose(fine.x_T(faces), x_T, atol=1e-6)
    rebuilt = net.image(last(reverse(net, x_T, net.schedule.grid(6)))).clamp(-1, 1)
    assert torch.allclose(fine.edit_images(faces, torch.arange(3)), rebuilt, atol=1e-6)
    # what another inversion left in the same cache is not taken for this one's
    coarse = method(folder, cache=str(tmp_path))
    assert not torch.allclose(coarse.x_T(faces), x_T, atol=1e-4)
    with pytest.raises(HslError, match="steps"):
        method(folder, invert_steps=1)


def test_a_checkpoint_of_something_else_is_refused(folder: str, tmp_path: Path) -> None:
    held = checkpoint(method(folder))
    other = method(saved_backbone(tmp_path / "other", seed=1))
    with pytest.raises(HslError, match="backbone"):
        other.on_load_checkpoint(held)
    more = method(folder)
    more.directions["Male"] = ImplicitFunction.for_backbone(more.backbone)
    with pytest.raises(HslError, match=r"directions\.Male"):
        more.on_load_checkpoint(held)
    with pytest.raises(HslError):
        method(folder).on_load_checkpoint({"state_dict": held["state_dict"]})


def test_predict_inverts(folder: str, tmp_path: Path) -> None:
    found, data = asyrp(folder, cache=str(tmp_path / "cache")), faces(2)
    trainer(tmp_path).predict(found, datamodule=data)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 6
    found.backbone.encode = None  # type: ignore[assignment]  # all is there
    assert found.x_T(data.faces("test").images).shape == (2, 3, 8, 8)
    with pytest.raises(HslError, match="cache"):
        trainer(tmp_path).predict(asyrp(folder), datamodule=data)


def test_the_backbone_stays_in_evaluation_mode(folder: str) -> None:
    found = method(folder).train()
    assert not any(module.training for module in found.backbone.modules())
    assert not any(p.requires_grad for p in found.backbone.parameters())
