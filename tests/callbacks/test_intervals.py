"""t_edit and t_boost are found before training, and only where they are not given."""

from pathlib import Path

import pytest

from hsl import intervals
from hsl.callbacks import Intervals
from hsl.encoders.perceptual import PerceptualDistance
from hsl.errors import HslError
from hsl.intervals.profile import measure
from runs import asyrp, faces, saved_backbone, trainer

TABLES = ("LPIPS_distance_x0_t.tsv", "LPIPS_distance_x.tsv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def start(folder: str, path: Path, callback: Intervals, **arguments):
    """The method after the callback has run, as at the start of training."""
    method, run = asyrp(folder, **arguments), trainer(path, callback, limit_train_batches=0)
    run.fit(method, datamodule=faces(3))
    return method


def test_thresholds_are_found_and_tables_written(folder: str, tmp_path: Path) -> None:
    probe = asyrp(folder)
    images, distance = (
        faces(3).faces("train").images,
        PerceptualDistance.load("toyfaces/guide", resize=True),
    )
    curves = measure(probe.backbone, probe.grid, images, distance).mean
    low, high = (max(curve.values()) * 0.5 for curve in curves)
    found = Intervals(edit_threshold=low, boost_threshold=high, images=3)
    method = start(folder, tmp_path, found, t_edit=None, t_boost=None)
    wanted = intervals.t_edit(curves, method.cosine_of("Smiling"), low)
    assert method.t_edit_of("Smiling") == wanted in method.grid
    assert method.t_boost == intervals.t_boost(curves, high) in method.grid
    for name, curve in zip(TABLES, curves, strict=True):
        assert intervals.read_tsv(tmp_path / name) == pytest.approx(curve, abs=1e-6)


def test_what_is_given_stays(folder: str, tmp_path: Path) -> None:
    method = start(folder, tmp_path, Intervals(edit_threshold=1e9, boost_threshold=1e9))
    assert (method.t_edit, method.t_boost) == (300, 100)
    assert not list(tmp_path.glob("*.tsv"))
    found = Intervals(edit_threshold=1e9, boost_threshold=1e-9, images=2)
    method = start(folder, tmp_path, found, t_boost=None)
    assert (method.t_edit, method.t_boost) == (300, method.grid[1])


def test_tables_can_be_given(folder: str, tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("p.tsv", "x.tsv")]
    for path, slope in zip(paths, (2000, 1000), strict=True):
        intervals.write_tsv(path, {t: t / slope for t in range(0, 1000, 10)})
    found = Intervals("nonsense", 0.2, 0.15, table_p=paths[0], table_x=paths[1])
    method = start(folder, tmp_path / "run", found, t_edit=None, t_boost=None)
    curve = {t: t / 2000 for t in range(0, 1000, 10)}
    assert method.t_edit_of("Smiling") == intervals.first_crossing(
        curve, 0.2 * method.cosine_of("Smiling"), "t_edit"
    )
    assert method.t_boost == 150


def test_an_absent_crossing_is_an_error_that_shows_the_curve(folder: str, tmp_path: Path) -> None:
    for which in ("edit_threshold", "boost_threshold"):
        thresholds = {"edit_threshold": 1e-9, "boost_threshold": 1e-9} | {which: 1e6}
        with pytest.raises(HslError, match=r"never reaches .* \(0: |never reaches .* \(199: "):
            found = Intervals(images=2, **thresholds)
            start(folder, tmp_path, found, t_edit=None, t_boost=None)


def test_the_guides_thresholds_are_its_own(folder: str, tmp_path: Path) -> None:
    """What is left open comes from the network's file; of a network without any it is asked for."""
    own = PerceptualDistance.load("toyfaces/guide").thresholds
    assert own is not None and own.edit > 0 and own.boost > 0
    assert Intervals()._thresholds() == own
    assert Intervals(edit_threshold=0.5)._thresholds() == (0.5, own.boost)
    assert Intervals("nonsense", 0.1, 0.2)._thresholds() == (0.1, 0.2)
    with pytest.raises(HslError, match=r"a judge .* may only measure"):
        start(folder, tmp_path, Intervals("toyfaces/judge"), t_edit=None, t_boost=None)


def test_other_images_than_the_guides_are_refused(folder: str, tmp_path: Path) -> None:
    data = faces(3)
    data.domain = None
    method, run = asyrp(folder, t_edit=None), trainer(tmp_path, Intervals(images=2))
    method.clip.domain = None
    with pytest.raises(HslError, match=r"toyfaces/guide is for images of toyfaces.*lpips/alex"):
        run.fit(method, datamodule=data)
