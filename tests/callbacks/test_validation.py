"""What a guide sees of edits of validation images, in `validate` and within a fit."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from hsl.callbacks import Intervals, Mixing, Strength
from hsl.encoders.attributes import AttributeClassifier
from hsl.errors import HslError
from hsl.methods.linear import Linear
from hsl.metrics import AttributeChange
from runs import asyrp, faces, saved_backbone, trainer

MEANS = {"effect", "kept", "leakage", "target_before", "target_after", "images"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def guided(**options) -> Strength:
    return Strength(strengths=[1.0], resize=True, **options)


def test_validate_measures_by_the_guide(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    method, data = asyrp(backbone, zero_init=False), faces(5)
    method.strengths = {"Smiling": 2.0}
    run = trainer(tmp_path, guided(), limit_val_batches=1.0)
    (returned,) = run.validate(method, datamodule=data, verbose=False)
    assert returned.keys() == {f"val/{name}" for name in MEANS} and returned["val/images"] == 5
    guide = AttributeClassifier.load("toyfaces/guide", resize=True)
    images, index = (data.faces("validation").images, data.faces("validation").index)
    edited = method.edit_images(images, index, method.edit("Smiling"))
    column = guide.names.index("Smiling")
    change = (guide.probabilities(edited) - guide.probabilities(images))[:, column].mean()
    assert returned["val/effect"] == pytest.approx(float(change), abs=1e-6)
    assert float(change) != 0
    assert {k: float(v) for k, v in run.callback_metrics.items()} == returned


def test_only_images_that_lack_it_and_only_so_many_batches(backbone: str, tmp_path: Path) -> None:
    data = faces(8, where={}, batch_size=4)
    lacking = int((data.faces("validation").labels[:4, data.names.index("Young")] == 0).sum())
    assert 0 < lacking < 4
    method = asyrp(backbone, attribute=["Young", "Smiling"])
    run = trainer(tmp_path, guided(), limit_val_batches=1)
    (returned,) = run.validate(method, datamodule=data, verbose=False)
    assert returned["val/Young/images"] == lacking and "val/Smiling/effect" in returned


def test_a_checkpoint_is_kept_by_it_within_a_fit(backbone: str, tmp_path: Path) -> None:
    """And training stops by it; the training is that without validation."""
    directions = []
    kept = ModelCheckpoint(tmp_path, monitor="val/effect", mode="max", save_top_k=1)
    stops = EarlyStopping("val/effect", mode="max", min_delta=10.0, patience=1)
    for callbacks, limit in (((), 0), ((stops, kept), 1.0)):
        torch.manual_seed(0)
        method = asyrp(backbone)
        enabled = {"enable_checkpointing": bool(callbacks), "limit_val_batches": limit}
        run = trainer(tmp_path, guided(), *callbacks, epochs=5 - 3 * (not callbacks), **enabled)
        run.fit(method, datamodule=faces(4))
        directions.append(method.directions.state_dict())
    assert run.current_epoch == 2 and stops.stopped_epoch == 1
    held = torch.load(kept.best_model_path, weights_only=True)
    assert float(kept.best_model_score) == pytest.approx(
        max(float(score) for score in kept.best_k_models.values())
    )
    assert set(held["state_dict"]) == {f"directions.{key}" for key in directions[1]}


def test_validation_moves_no_training(backbone: str, tmp_path: Path) -> None:
    directions = []
    for limit in (0, 1.0):
        torch.manual_seed(0)
        method = asyrp(backbone)
        run = trainer(tmp_path, guided(), epochs=2, limit_val_batches=limit)
        run.fit(method, datamodule=faces(4))
        directions.append(method.directions.state_dict())
        assert ("val/effect" in run.callback_metrics) == bool(limit)
    one, other = directions
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_boundaries_once_there_is_a_mixing_step(backbone: str, tmp_path: Path) -> None:
    method = Linear(backbone=backbone, steps=6, timesteps=[200, 600], attributes=["Smiling"])
    data = faces(20, validation=10, where={})
    lacking = int((data.faces("validation").labels[:, data.names.index("Smiling")] == 0).sum())
    run = trainer(tmp_path, Mixing(), guided(), limit_val_batches=1.0)
    run.fit(method, datamodule=data)
    assert "val/effect" not in run.callback_metrics  # the boundaries were still blank
    method.t = method.timesteps[0]
    (returned,) = run.validate(method, datamodule=data, verbose=False)
    assert returned["val/images"] == lacking > 0 and returned["val/effect"] != 0
    assert method.figures  # and how well they hold


def test_without_a_guide_for_it_nothing_is_measured(backbone: str, tmp_path: Path) -> None:
    run = trainer(tmp_path, Strength(guide=None), limit_val_batches=1.0)
    assert run.validate(asyrp(backbone), datamodule=faces(2), verbose=False) == [{}]
    run = trainer(tmp_path, Strength(), limit_val_batches=1.0)
    with pytest.warns(UserWarning, match="validation measures no effect: .*32 pixels"):
        run.validate(asyrp(backbone), datamodule=faces(2), verbose=False)


def test_no_figure_of_a_choice_is_a_judges() -> None:
    with pytest.raises(HslError, match="judge"):
        Strength(guide="toyfaces/judge")
    guide = AttributeClassifier.load("toyfaces/guide")
    with pytest.raises(HslError, match="guide"):
        AttributeChange(guide, "Smiling")
    judge = AttributeClassifier.load("toyfaces/judge")
    with pytest.raises(HslError, match="judge"):
        AttributeChange(judge, "Smiling", role="guide")


def test_the_sanity_check_before_a_training(backbone: str, tmp_path: Path) -> None:
    """It edits at the interval that has just been found."""
    method = asyrp(backbone, t_edit=None, t_boost=None)
    found = Intervals(edit_threshold=1e-4, boost_threshold=1e-4, images=2)
    run = trainer(tmp_path, found, guided(), limit_val_batches=1, num_sanity_val_steps=1)
    run.fit(method, datamodule=faces(2))
    assert float(run.callback_metrics["val/images"]) == 2
