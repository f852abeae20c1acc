"""Held-out edits are measured by judges, and the figures written down."""

import csv
import json
import statistics
from pathlib import Path

import pytest
import torch

from hsl.callbacks import Directions, Evaluate, Intervals, Strength
from hsl.data.folder import ImagesDataModule
from hsl.data.images import save_image
from hsl.directions import ImplicitFunction
from hsl.encoders.clip import Clip
from hsl.encoders.perceptual import PerceptualDistance
from hsl.errors import HslError
from hsl.glossary import GLOSSARY
from hsl.metrics import CounterfactualError
from runs import asyrp, faces, saved_backbone, trainer

MUST_SHOW = {
    "target_before", "target_after", "leakage", "leakage_worst", "leakage_worst_attribute",
    "kept", "counterfactual_floor", "counterfactual_error_before", "counterfactual_error_after",
    "s_dir", "seconds", "peak_memory_mb", "t_edit", "t_boost", "strength",
}  # fmt: skip
WITH_INTERVAL = {
    "target_before", "target_after", "leakage", "leakage_worst", "kept", "counterfactual_floor",
    "counterfactual_error_before", "counterfactual_error_after", "s_dir",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def summary(path: Path) -> dict:
    return json.loads((path / "summary.json").read_text())


def test_the_summary_has_every_figure(folder: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = asyrp(folder, zero_init=False)
    method.strengths = {"Smiling": 0.75}
    run = trainer(tmp_path, Evaluate(resize=True))
    run.test(method, datamodule=faces(5), verbose=False)
    figures = summary(tmp_path)
    assert set(figures) >= MUST_SHOW | {f"{name}_ci" for name in WITH_INTERVAL}
    assert figures["images"] == 5 and figures["direction"] == "Smiling"
    assert (figures["t_edit"], figures["t_boost"], figures["strength"]) == (300, 100, 0.75)
    for name in WITH_INTERVAL:
        low, high = figures[f"{name}_ci"]
        assert low - 1e-6 <= figures[name] <= high + 1e-6, name
    assert "Smiling" not in figures["excluded"] and figures["ci_over"] == "images"
    with (tmp_path / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and rows[0]["direction"] == "Smiling"
    for name in ("target_after", "kept", "leakage", "counterfactual_error_after", "s_dir"):
        mean = statistics.fmean(float(row[name]) for row in rows)
        assert mean == pytest.approx(figures[name]), name
    assert figures["seconds"] > 0 and 50 < figures["peak_memory_mb"] < 50_000


def test_the_truth_is_of_the_same_faces_and_the_floor_is_the_truths(
    folder: str, tmp_path: Path, monkeypatch
) -> None:
    """Faces of the world of the tests, drawn smiling; and what is left of those by inversion."""
    seen: dict[int, dict[str, torch.Tensor]] = {}

    def spy(metric, source, edited, counterfactual, counterfactual_reconstruction, index) -> None:
        rows = zip(source, counterfactual, counterfactual_reconstruction, strict=True)
        for i, images in zip(index.tolist(), rows, strict=True):
            seen[i] = dict(zip(("source", "truth", "floor"), images, strict=True))
        update(metric, source, edited, counterfactual, counterfactual_reconstruction, index)

    update = CounterfactualError.update
    monkeypatch.setattr(CounterfactualError, "update", spy)
    method, data = asyrp(folder), faces(3)
    trainer(tmp_path, Evaluate(clip=None, resize=True)).test(method, datamodule=data, verbose=False)
    index = torch.tensor(sorted(seen))
    source, truth, floor = (
        torch.stack([seen[i][kind] for i in index.tolist()])
        for kind in ("source", "truth", "floor")
    )
    same = data.counterfactual(index, "test", Smiling=0)
    assert len(index) == 3 and torch.allclose(source, same, atol=1e-6)
    assert torch.equal(truth, data.counterfactual(index, "test", Smiling=1))
    assert not torch.allclose(truth, source, atol=0.1)
    assert torch.allclose(floor, method.edit_images(truth, index), atol=1e-4)
    assert not torch.allclose(floor, method.edit_images(source, index), atol=0.05)


def test_an_edit_that_does_nothing(folder: str, tmp_path: Path) -> None:
    """What remains is the reconstruction."""
    method = asyrp(folder, zero_init=True, t_boost=0)
    trainer(tmp_path, Evaluate(resize=True)).test(method, datamodule=faces(4), verbose=False)
    figures = summary(tmp_path)
    assert figures["kept"] == figures["reconstruction_kept"]
    assert figures["reconstruction_psnr"] > 20
    assert abs(figures["effect"]) < 0.1
    explained = {name.removesuffix("_ci") for name in figures} - {"direction"}
    assert explained <= set(GLOSSARY)


def test_several_directions_are_told_apart(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder)
    method.directions["Zebra"] = ImplicitFunction.for_backbone(method.backbone)
    trainer(tmp_path, Evaluate(clip=None, resize=True)).test(
        method, datamodule=faces(2), verbose=False
    )
    figures = summary(tmp_path)
    assert set(figures) == {"Smiling", "Zebra"}
    assert "target_after" in figures["Smiling"] and "target_after" not in figures["Zebra"]
    assert "counterfactual_floor" not in figures["Zebra"]


def test_images_without_labels(folder: str, tmp_path: Path) -> None:
    images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for i, image in enumerate(images):
        save_image(tmp_path / "images" / f"{i}.png", image)
    data = ImagesDataModule(str(tmp_path / "images"), 8, None, None, None, 2, num_workers=0)
    evaluate = Evaluate(attributes=None, distance=None, clip=None)
    trainer(tmp_path, evaluate).test(asyrp(folder), datamodule=data, verbose=False)
    figures = summary(tmp_path)
    assert any(name.startswith("reconstruction") for name in figures)
    assert figures["images"] == len(data.test_dataloader().dataset) > 0
    assert not {"target_after", "counterfactual_floor", "s_dir"} & set(figures)


def test_guides_are_refused(folder: str, tmp_path: Path) -> None:
    for guide in ({"attributes": "toyfaces/guide"}, {"clip": "toyfaces/guide"}):
        with pytest.raises(HslError, match="guide"):
            run = trainer(tmp_path, Evaluate(**guide))
            run.test(asyrp(folder), datamodule=faces(2), verbose=False)
    assert not (tmp_path / "summary.json").exists()


def test_what_a_judge_is_not_for_is_left_out_with_a_line(folder: str, tmp_path: Path) -> None:
    """Of another size without ``resize``; of another domain whatever the size."""
    with pytest.warns(UserWarning) as said:
        trainer(tmp_path, Evaluate()).test(asyrp(folder), datamodule=faces(2), verbose=False)
    lines = [str(w.message) for w in said if "not measured" in str(w.message)]
    assert [line.split(";")[0] for line in lines] == [
        "not measured: effect, kept and leakage",
        "not measured: the distance to the true counterfactual",
        "not measured: S_dir",
    ]
    assert all("32 pixels, and these have 8. Give a judge" in line for line in lines)
    assert set(summary(tmp_path)) & {"effect", "counterfactual_floor", "s_dir"} == set()
    images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for i, image in enumerate(images):
        save_image(tmp_path / "images" / f"{i}.png", image)
    data = ImagesDataModule(str(tmp_path / "images"), 8, None, None, None, 2, num_workers=0)
    with pytest.warns(UserWarning, match="images of toyfaces, and these are of something else"):
        run = trainer(tmp_path, Evaluate(resize=True))
        run.test(asyrp(folder), datamodule=data, verbose=False)
    assert "effect" not in summary(tmp_path)
    data = ImagesDataModule(
        str(tmp_path / "images"), 8, None, None, None, 2, num_workers=0, domain="toyfaces"
    )
    trainer(tmp_path, Evaluate(resize=True)).test(asyrp(folder), datamodule=data, verbose=False)
    assert "effect" in summary(tmp_path)


def test_a_guide_under_another_name_is_found_by_its_weights(folder: str, tmp_path: Path) -> None:
    method, judge = asyrp(folder), Evaluate(resize=True)
    judge.clip = Clip.load("toyfaces/guide", resize=True)
    judge.clip.role = "judge"
    with pytest.raises(HslError, match="toyfaces/guide trained the directions; it cannot also"):
        trainer(tmp_path, judge).test(method, datamodule=faces(2), verbose=False)


def test_what_chose_is_kept_in_the_checkpoint(folder: str, tmp_path: Path) -> None:
    method = asyrp(folder, t_edit=None, t_boost=None)
    found = Intervals(edit_threshold=1e-6, boost_threshold=1e-6, images=2)
    run = trainer(tmp_path, found, Strength(resize=True, strengths=[1.0]), Directions())
    run.fit(method, datamodule=faces(2))
    run.save_checkpoint(tmp_path / "a.ckpt")
    kept = torch.load(tmp_path / "a.ckpt", weights_only=True)["hsl"]["guides"]
    assert sorted(kept.values()) == [
        "toyfaces/guide chose t_edit and t_boost",
        "toyfaces/guide chose the strengths",
        "toyfaces/guide trained the directions",
    ]
    judge = Evaluate(resize=True)
    judge.distance = PerceptualDistance.load("toyfaces/guide", resize=True)
    judge.distance.role = "judge"
    with pytest.raises(HslError, match="chose t_edit and t_boost; it cannot also measure"):
        trainer(tmp_path, judge).test(
            asyrp(folder), datamodule=faces(2), ckpt_path=tmp_path / "a.ckpt", verbose=False,
            weights_only=True,
        )  # fmt: skip
