"""From curves to t_edit and t_boost."""

import json
from pathlib import Path

import pytest
import torch

from hsl.errors import HslError
from hsl.intervals import (
    CurveMeans,
    Curves,
    first_crossing,
    read_tsv,
    t_boost,
    t_edit,
    write_tsv,
)

BUMPY = {0: 0.0, 100: 0.35, 200: 0.1, 300: 0.5, 400: 0.9}


def test_the_first_crossing_counts() -> None:
    assert first_crossing(BUMPY, 0.3, "t_edit") == 100
    assert first_crossing(BUMPY, 0.5, "t_edit") == 300  # reached, not only passed
    backwards = dict(reversed(BUMPY.items()))
    assert first_crossing(backwards, 0.3, "t_edit") == 100


def test_an_absent_crossing_shows_the_curve() -> None:
    with pytest.raises(HslError) as error:
        first_crossing(BUMPY, 1.2, "t_boost")
    message = str(error.value)
    assert "t_boost" in message and "1.2" in message and "400: 0.9" in message
    assert "\n" not in message
    with pytest.raises(HslError) as error:
        first_crossing({t: t / 2000 for t in range(1000)}, 0.9, "t_edit")
    assert len(str(error.value)) < 400
    assert "999: 0.499" in str(error.value)  # how near it came


def test_thresholds_take_the_cosine_into_account() -> None:
    curves = Curves(p={t: t / 1000 for t in range(1000)}, x={t: t / 500 for t in range(1000)})
    assert t_edit(curves, 1.0, 0.33) == 330
    assert t_edit(curves, 0.5, 0.33) == 165
    assert t_edit(curves, 0.9) == 298  # 0.33 x 0.9 is a little above 0.297
    assert t_boost(curves) == 600
    for cosine in (0.0, -0.2):
        with pytest.raises(HslError, match="positive"):
            t_edit(curves, cosine)


def test_means_over_batches() -> None:
    means, values = CurveMeans(), torch.tensor([0.1, 0.4, 0.2, 0.9])
    for part in values.split([3, 1]):
        means.add(5, part)
    means.add(1, torch.ones(2))
    assert list(means.mean()) == [1, 5]
    assert means.mean()[5] == pytest.approx(float(values.mean()))
    assert means.std()[5] == pytest.approx(float(values.std(correction=0)))
    assert means.std()[1] == 0


def test_a_table_comes_back(tmp_path: Path) -> None:
    curve = {999: 0.1 + 0.2, 0: 1e-9, 25: 0.5}
    write_tsv(tmp_path / "new" / "curve.tsv", curve)
    assert read_tsv(tmp_path / "new" / "curve.tsv") == curve
    assert (tmp_path / "new" / "curve.tsv").read_text().startswith("0\t")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["curve.tsv"]


@pytest.mark.parametrize("text", ["1 0.5\n", "1\t2\t3\n", "one\t0.5\n", "1\tx\n", "", "\n\n"])
def test_bad_tables_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text(text)
    with pytest.raises(HslError, match=r"bad\.tsv") as error:
        read_tsv(tmp_path / "bad.tsv")
    assert "\n" not in str(error.value)


def test_a_missing_or_binary_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HslError, match=r"none\.tsv: no such"):
        read_tsv(tmp_path / "none.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(HslError, match=r"binary\.tsv"):
        read_tsv(tmp_path / "binary.tsv")
    with pytest.raises(HslError, match="no such"):
        read_tsv(tmp_path)


def test_released_timesteps(golden_dir) -> None:
    folder: Path = golden_dir("asyrp")
    tables = folder.parents[1] / "real" / "lpips_tables"
    if not tables.is_dir() or not (folder / "auto_timesteps.json").exists():
        pytest.skip("no recorded timesteps, or no released tables")
    golden = json.loads((folder / "auto_timesteps.json").read_text())
    for about in golden["datasets"].values():
        name = about["table"]
        curves = Curves(
            read_tsv(tables / f"{name}_LPIPS_distance_x0_t.tsv"),
            read_tsv(tables / f"{name}_LPIPS_distance_x.tsv"),
        )
        assert len(curves.p) == about["rows"]
        for cosine, t in about["t_edit"].items():
            assert t_edit(curves, float(cosine)) == t, (name, cosine)
        assert t_boost(curves) == about["t_boost"]["xt_table_th1.2"]
        assert first_crossing(curves.p, 0.1, "t_boost") == about["t_boost"]["x0t_table_th0.1"]
