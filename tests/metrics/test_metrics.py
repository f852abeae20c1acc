"""Figures of planted edits, by judges that say what they are told."""

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from hsl.confidence import largest, of_share
from hsl.errors import HslError
from hsl.metrics import (
    AttributeChange,
    CounterfactualError,
    DirectionalSimilarity,
    PerSample,
    Reconstruction,
    RegionChange,
    psnr,
)

NAMES = ("Smiling", "Male", "Mouth_Slightly_Open", "Eyeglasses")
INDEX = torch.arange(4)
TEXTS = {"face": (1.0, 0.0), "smiling face": (0.0, 1.0), "visage": (2.0, 0.0)}


class Planted(nn.Module):
    """Probabilities are the image's first pixels: what a test writes there is what it judges."""

    def __init__(self, names: tuple[str, ...] = NAMES, role: str = "judge") -> None:
        super().__init__()
        self.names, self.role = names, role
        self.weight = nn.Parameter(torch.ones(1))

    def probabilities(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, : len(self.names)] * self.weight


class Mean(nn.Module):
    """Distance of mean colours."""

    def __init__(self, role: str = "judge") -> None:
        super().__init__()
        self.role = role

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).flatten(1).mean(1).abs()


class Plane(nn.Module):
    """A CLIP of two dimensions: an image's feature is its first two pixels."""

    def __init__(self, role: str = "judge") -> None:
        super().__init__()
        self.role = role

    def encode_image(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :2]

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.tensor([TEXTS[text.removeprefix("a ")] for text in texts])


class Bright(nn.Module):
    """A segmenter that takes what is brighter than 0.5 for the mouth."""

    regions = ("background", "mouth")

    def __init__(self, role: str = "judge") -> None:
        super().__init__()
        self.role = role

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([torch.full_like(images[:, 0], 0.5), images[:, 0]], dim=1)


def planted(probabilities: list[list[float]]) -> Tensor:
    images = torch.zeros(len(probabilities), 3, 8, 8)
    images[:, 0, 0, : len(probabilities[0])] = torch.tensor(probabilities)
    return images


def constant(*levels: float) -> Tensor:
    return torch.tensor(levels)[:, None, None, None].expand(-1, 3, 8, 8).clone()


BEFORE = planted([[0.1, 0.9, 0.2, 0.1], [0.2, 0.1, 0.2, 0.1], [0.6, 0.9, 0.2, 0.1], [0.1] * 4])
AFTER = planted([[0.9, 0.8, 0.9, 0.1], [0.8, 0.1, 0.9, 0.7], [0.7, 0.9, 0.2, 0.1], [0.3] * 4])


def change(value: int = 1, **options: Any) -> dict[str, Any]:
    metric = AttributeChange(Planted(), "Smiling", value, **options)
    metric.update(BEFORE, AFTER, INDEX)
    return metric.compute()


def test_effect_and_leakage_are_what_was_planted() -> None:
    figures = change()
    assert figures["target_before"] == 0.25 and figures["target_after"] == 0.75
    assert figures["effect"] == pytest.approx((0.8 + 0.6 + 0.1 + 0.2) / 4)
    # Mouth_Slightly_Open is drawn by the same part as the smile: neither kept nor leakage
    assert figures["kept"] == 0.75
    assert figures["leakage"] == pytest.approx((0.1 + 0.6 + 0.2 + 0.2) / 8)
    assert figures["leakage_worst"] == pytest.approx((0.6 + 0.2) / 4)
    assert figures["leakage_worst_attribute"] == "Eyeglasses"
    assert figures["excluded"] == {"Mouth_Slightly_Open": pytest.approx((0.7 + 0.7 + 0.2) / 4)}


def test_taking_an_attribute_away_is_about_its_absence() -> None:
    figures = change(value=0)
    assert figures["target_before"] == 0.75 and figures["target_after"] == 0.25
    assert figures["effect"] == pytest.approx(-1.7 / 4)


def test_what_is_excluded_can_be_said() -> None:
    figures = change(excluded={"Eyeglasses"})
    assert set(figures["excluded"]) == {"Eyeglasses"}
    assert figures["leakage_worst_attribute"] == "Mouth_Slightly_Open"
    assert change(excluded=())["excluded"] == {}


def test_nothing_is_excluded_by_default_where_names_are_not_toyfaces() -> None:
    metric = AttributeChange(Planted((*NAMES[:3], "Attractive")), "Smiling")
    assert metric.excluded == []
    assert AttributeChange(Planted(), "Eyeglasses").excluded == []


def test_a_judge_of_one_attribute_has_no_leakage() -> None:
    metric = AttributeChange(Planted(("Smiling",)), "Smiling")
    metric.update(BEFORE, AFTER, INDEX)
    figures = metric.compute()
    assert math.isnan(figures["leakage"]) and "leakage_worst" not in figures


def test_every_figure_lies_in_its_interval() -> None:
    generator = torch.Generator().manual_seed(1)
    before, after = (torch.rand(40, 4, generator=generator).tolist() for _ in range(2))
    metric = AttributeChange(Planted(), "Smiling")
    metric.update(planted(before), planted(after), torch.arange(40))
    figures = metric.compute()
    intervals = [name for name in figures if name.endswith("_ci")]
    assert len(intervals) == 6
    for name in intervals:
        low, high = figures[name]
        assert low < figures[name.removesuffix("_ci")] < high


def test_the_counterfactual_error_closes_the_planted_share() -> None:
    metric = CounterfactualError(Mean())
    truth = constant(0.5, 0.5)
    metric.update(constant(-0.5, 0.0), constant(0.2, 0.2), truth, constant(0.4, 0.5), INDEX[:2])
    figures = metric.compute()
    assert figures["counterfactual_error_before"] == pytest.approx(0.75)
    assert figures["counterfactual_error_after"] == pytest.approx(0.3)
    assert figures["counterfactual_floor"] == pytest.approx(0.05)
    assert figures["closed"] == pytest.approx(0.45 / 0.7)
    low, high = figures["closed_ci"]
    assert low <= figures["closed"] <= high and high == pytest.approx(0.7 / 0.9)


def test_nothing_can_be_closed_below_the_floor() -> None:
    metric = CounterfactualError(Mean())
    metric.update(constant(0.5), constant(0.4), constant(0.5), constant(0.3), INDEX[:1])
    assert math.isnan(metric.compute()["closed"])


def test_s_dir_is_the_cosine_of_the_changes() -> None:
    metric = DirectionalSimilarity(Plane(), "face", "smiling face", ("{}", "a {}"))
    aligned, opposite, still = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0]] * 2
    before, after = (planted([a, b, c]) for a, b, c in zip(aligned, opposite, still, strict=True))
    metric.update(before, after, INDEX[:3])
    _, values = metric.samples()
    torch.testing.assert_close(values.flatten(), torch.tensor([1.0, -1.0, 0.0]).double())
    figures = metric.compute()
    assert figures["s_dir"] == pytest.approx(0, abs=1e-6)
    assert figures["s_dir_loss"] == pytest.approx(1)


def test_psnr_has_a_data_range_of_two() -> None:
    metric = Reconstruction(Planted())
    source = constant(0.0, 0.0, 0.5)
    metric.update(source, constant(0.2, 0.02, 0.5), INDEX[:3])
    figures = metric.compute()
    assert psnr(source, constant(0.2, 0.02, 0.5)).tolist() == pytest.approx([20, 40, 106.0206])
    assert figures["psnr"] == pytest.approx(40, abs=1e-4)
    assert figures["psnr_p5"] == pytest.approx(22, abs=1e-4)
    assert figures["kept"] == 1
    alone = Reconstruction()
    alone.update(source, source, INDEX[:3])
    assert "kept" not in alone.compute()


def test_change_is_told_apart_by_region() -> None:
    metric = RegionChange(Bright(), ["mouth"])
    before = torch.zeros(2, 3, 8, 8)
    before[0, :, :2] = 0.6  # a quarter of the first image is mouth before,
    after = before + 0.1
    after[0, :, 2:4] = 1.0  # another quarter after
    metric.update(before, after, INDEX[:2])
    figures = metric.compute()
    assert figures["change_inside"] == pytest.approx((0.1 + 1) / 2)
    assert figures["change_outside"] == pytest.approx(0.1)
    assert figures["change_share_inside"] == pytest.approx((0.55 / (0.55 + 0.1) + 0) / 2)
    with pytest.raises(HslError, match="want some of background, mouth"):
        RegionChange(Bright(), ["nose"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: RegionChange(Bright("guide"), ["mouth"]),
        lambda: AttributeChange(Planted(role="guide"), "Smiling"),
        lambda: CounterfactualError(Mean("guide")),
        lambda: DirectionalSimilarity(Plane("guide"), "face", "smiling face"),
        lambda: Reconstruction(Planted(role="guide")),
    ],
)
def test_guides_may_not_measure(make: Callable[[], PerSample]) -> None:
    with pytest.raises(HslError, match="use a judge here"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttributeChange(Planted(), "Bald"), "the judge knows only Smiling"),
        (lambda: AttributeChange(Planted(), "smilng"), r", did you mean Smiling\?$"),
        (lambda: AttributeChange(Planted(), "Male", excluded=["Bald"]), "'Bald'"),
        (lambda: AttributeChange(Planted(), "Male", 2), "set to 0 or 1"),
        (lambda: DirectionalSimilarity(Plane(), "face", "visage"), "reword"),
        (lambda: DirectionalSimilarity(Plane(), "face", "visage", ("face",)), "templates"),
        (lambda: DirectionalSimilarity(Plane(), "face", "visage", ()), "templates"),
        (lambda: AttributeChange(Planted(), "Male").compute(), "no image was measured"),
    ],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_what_cannot_be_measured_is_said_in_one_line(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(HslError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("after", "index", "message"),
    [
        ((AFTER * 255).byte(), INDEX, "after is torch.uint8"),
        (AFTER * 255, INDEX, r"after spans \[0, "),
        (AFTER * math.nan, INDEX, "after spans"),
        (AFTER[:3], INDEX, r"after is \[3, 3, 8, 8\]"),
        (AFTER[:, :1], INDEX, r"after is \[4, 1, 8, 8\]"),
        (AFTER, INDEX[:3], "whole number per image"),
        (AFTER, INDEX.float(), "whole number per image"),
        (AFTER, INDEX + 2**25, "number the images from 0"),
    ],
)
def test_no_other_image_passes_the_door(after: Tensor, index: Tensor, message: str) -> None:
    metric = AttributeChange(Planted(), "Smiling")
    with pytest.raises(HslError, match=message):
        metric.update(BEFORE, after, index)


def test_repeated_images_count_once() -> None:
    metric = AttributeChange(Planted(), "Smiling")
    metric.update(BEFORE[2:], AFTER[2:], INDEX[2:])
    metric.update(BEFORE[:3], AFTER[:3], INDEX[:3])
    metric.update(BEFORE, AFTER, INDEX)
    assert metric.compute() == change()
    assert metric.samples()[0].tolist() == [0, 1, 2, 3]
    metric.reset()
    metric.update(BEFORE[:1], AFTER[:1], INDEX[:1])
    assert metric.compute()["target_before"] == 0


def test_half_precision_images_are_measured() -> None:
    metric = AttributeChange(Planted(), "Smiling")
    metric.update(BEFORE.half(), AFTER.half(), INDEX)
    assert metric.compute()["effect"] == pytest.approx(0.425, abs=1e-3)


def test_a_judge_stays_out_of_checkpoints_and_in_eval_mode() -> None:
    owner, judge = nn.Module(), Planted()
    owner.metric = AttributeChange(judge, "Smiling")
    owner.train()
    assert not owner.state_dict() and not list(owner.parameters()) and not judge.training


def test_shares_are_wilsons_and_the_worst_is_that_of_the_largest() -> None:
    figures = change()
    assert figures["ci_over"] == "images"
    for name in ("target_before", "target_after", "kept"):
        assert figures[f"{name}_ci"] == of_share(
            [1, 1, 1, 0] if figures[name] == 0.75 else [1, 0, 0, 0]
        )
    changes = (AFTER - BEFORE)[:, 0, 0, [1, 3]].abs().double()
    assert figures["leakage_worst_ci"] == pytest.approx(largest(changes, least=0))


def test_what_was_measured_of_each_image() -> None:
    metric = AttributeChange(Planted(), "Smiling")
    metric.update(BEFORE[2:], AFTER[2:], INDEX[2:])
    metric.update(BEFORE[:3], AFTER[:3], INDEX[:3])
    table, figures = metric.table(), metric.compute()
    assert table["index"].tolist() == [0, 1, 2, 3]
    assert table["target_after"].tolist() == [True, True, True, False]
    torch.testing.assert_close(table["leakage.Eyeglasses"], torch.tensor([0, 0.6, 0, 0.2]).double())
    for name in ("target_before", "target_after", "effect", "kept", "leakage"):
        assert figures[name] == pytest.approx(float(table[name].double().mean()))
    worst = table["leakage.Eyeglasses"].mean()
    assert figures["leakage_worst"] == pytest.approx(float(worst))


#: Who measures which image: evenly, with the repetitions of a padded sampler, all by one.
SHARES = [([0, 2], [1, 3]), ([0, 1, 2], [3, 0, 1]), ([], [3, 2, 1, 0])]


def in_a_group(rank: int, rendezvous: str) -> list[dict[str, Any]]:
    """Measure this rank's images; the figures are of both ranks' images, for each of `SHARES`."""
    patience = timedelta(minutes=3)
    dist.init_process_group("gloo", f"file://{rendezvous}", patience, rank=rank, world_size=2)
    figures = []
    for shares in SHARES:
        metric = AttributeChange(Planted(), "Smiling")
        for i in shares[rank]:
            metric.update(BEFORE[i : i + 1], AFTER[i : i + 1], INDEX[i : i + 1])
        figures.append(metric.compute())
    dist.destroy_process_group()
    return figures


def second_rank(_: int, rendezvous: str) -> None:
    in_a_group(1, rendezvous)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    alone = change()
    other = mp.start_processes(second_rank, (str(tmp_path / "meet"),), join=False)
    figures = in_a_group(0, str(tmp_path / "meet"))
    other.join()
    assert figures == [alone] * len(SHARES)
