"""The directional loss on planted directions, with a linear stand-in for CLIP."""

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from hsl.errors import HslError
from hsl.losses import BatchMean, DirectionalClipLoss, log_directional

# of unit length, and at 60 degrees to each other
SOURCE, TARGET = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0.5, 0.75**0.5, 0, 0])
CHANGE = normalize(TARGET - SOURCE, dim=0)


class Linear:
    """A guide whose image features are the image's first four numbers."""

    role = "guide"

    def __init__(self, texts: dict[str, Tensor] | None = None) -> None:
        self.texts = texts or {"face": SOURCE, "smile": TARGET}

    def encode_image(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :4]

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.stack([self.texts[text] for text in texts])


def image_of(features: Tensor) -> Tensor:
    image = torch.zeros(len(features), 3, 2, 2)
    image.view(len(features), -1)[:, :4] = features
    return image


def loss(**texts: Tensor) -> DirectionalClipLoss:
    return DirectionalClipLoss(Linear(texts), "face", "smile")


def test_planted_directions() -> None:
    """0 where the image moves as the text does, 2 where it moves back, 1 across."""
    l_dir = DirectionalClipLoss(Linear(), "face", "smile")
    assert torch.allclose(l_dir.direction, CHANGE, atol=1e-6)
    assert l_dir.cosine == pytest.approx(0.5)
    across = torch.tensor([0.0, 0.0, 1.0, 0.0])
    start = torch.stack([SOURCE, TARGET, SOURCE])
    end = torch.stack([TARGET, SOURCE, normalize(SOURCE + 1e-3 * across, dim=0)])
    got = l_dir(image_of(7.0 * end), l_dir.features(image_of(2.0 * start)))  # lengths do not count
    assert got.tolist() == pytest.approx([0.0, 2.0, 1.0], abs=1e-3)


def test_each_image_has_its_own_source() -> None:
    l_dir, pair = DirectionalClipLoss(Linear(), "face", "smile"), torch.stack([SOURCE, TARGET])
    features = l_dir.features(image_of(pair))
    straight, swapped = l_dir(image_of(pair.flip(0)), features), l_dir(image_of(pair), features)
    assert straight.tolist() == pytest.approx([0.0, 2.0], abs=1e-3)
    assert swapped.tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_as_released_all_images_have_the_last_ones_source() -> None:
    released = DirectionalClipLoss(Linear(), "face", "smile", as_released=True)
    features = released.features(image_of(torch.stack([TARGET, SOURCE])))
    assert released(image_of(TARGET[None]), features).tolist() == pytest.approx([0.0], abs=1e-3)


def test_templates_are_averaged_as_unit_features() -> None:
    texts = {"face": SOURCE, "smile": TARGET, "a face": 5 * SOURCE, "a smile": 9 * TARGET,
             "b face": TARGET, "b smile": torch.tensor([0.0, 0, 3, 0])}  # fmt: skip
    l_dir = DirectionalClipLoss(Linear(texts), "face", "smile", ("a {}", "b {}"))
    third = torch.tensor([0.0, 0, 1, 0])
    expected = normalize((TARGET - SOURCE) + (third - TARGET), dim=0)
    assert torch.allclose(l_dir.direction, expected, atol=1e-6)
    assert l_dir.cosine == pytest.approx(0.5)  # of the bare texts


def test_log_directional() -> None:
    for mean in (0.0, 0.5, 1.0, 1.9):
        l_dir = torch.tensor([mean - 0.05, mean + 0.05])
        assert float(log_directional(l_dir)) == pytest.approx(-math.log((2 - mean) / 2), abs=1e-5)


def test_a_mean_over_ranks_is_that_of_the_batch_without_repeats(monkeypatch) -> None:
    """Values [1, 2] and [4, 1] of images [7, 8] and [9, 7]: the last is the first again. And its
    logarithm's gradients, averaged over ranks, are those of the three at once."""
    values = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    whole = values.mean().log()
    (expected,) = torch.autograd.grad(whole, values)
    indices, sums = [[7, 8], [9, 7]], torch.tensor([3.0, 4.0])
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    gather = lambda out, own: out.__setitem__(slice(None), indices)  # noqa: E731
    monkeypatch.setattr(dist, "all_gather_object", gather)
    gradients = []
    for rank, rows in enumerate(([0, 1], [2, 0])):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(dist, "all_reduce", lambda total, rank=rank: total.add_(sums[1 - rank]))
        seen: set[int] = set()
        mean = BatchMean(torch.tensor(indices[rank]), seen)
        got = mean(values[rows]).log()
        assert float(got) == pytest.approx(float(whole)) and mean.count == 3
        gradients.append(torch.autograd.grad(got, values)[0])
        assert seen == {7, 8, 9}
        again = BatchMean(torch.tensor(indices[rank]), seen)
        assert again.rows == [] and again.count == 0
    assert torch.allclose(torch.stack(gradients).mean(0), expected)


def test_gradient_leads_towards_the_text() -> None:
    l_dir = DirectionalClipLoss(Linear(), "face", "smile")
    features = (SOURCE + torch.tensor([0.0, 0.0, 0.3, 0.0]))[None].requires_grad_()
    before = l_dir(image_of(features), l_dir.features(image_of(SOURCE[None]))).sum()
    (gradient,) = torch.autograd.grad(before, features)
    after = l_dir(image_of(features - 0.1 * gradient), l_dir.features(image_of(SOURCE[None])))
    assert float(after.detach()) < float(before.detach()) - 1e-3


def test_an_image_that_has_not_moved_is_orthogonal_with_a_finite_gradient() -> None:
    l_dir = DirectionalClipLoss(Linear(), "face", "smile")
    image = image_of(torch.stack([SOURCE, 0.3 * TARGET])).requires_grad_()
    got = l_dir(image, l_dir.features(image.detach()))
    log_directional(got).backward()
    assert got.tolist() == pytest.approx([1.0, 1.0], abs=1e-3)
    assert image.grad is not None and bool(image.grad.isfinite().all())


def test_frozen_networks_stay_out_of_checkpoints() -> None:
    class Module(Linear, nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            Linear.__init__(self)
            self.weight = nn.Parameter(torch.zeros(3))

    l_dir = DirectionalClipLoss(Module(), "face", "smile")
    assert not l_dir.state_dict() and not list(l_dir.parameters())


def test_a_judge_is_refused() -> None:
    judge = Linear()
    judge.role = "judge"
    with pytest.raises(HslError, match="judge"):
        DirectionalClipLoss(judge, "face", "smile")


def test_texts_without_a_direction_are_refused() -> None:
    for target in (-SOURCE, torch.tensor([0.0, 0, 0, 1.0])):
        with pytest.raises(HslError, match="cosine"):
            loss(face=SOURCE, smile=target)
    with pytest.raises(HslError, match="alike"):
        loss(face=SOURCE, smile=2 * SOURCE)


@pytest.mark.parametrize("name", ["b1", "b4", "b4_src1"])
def test_released_loss(name: str, golden_dir) -> None:
    path: Path = golden_dir("asyrp") / "clip_direction.safetensors"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    golden = load_file(path)
    if f"{name}.direction_loss" not in golden:
        pytest.skip(f"no recorded {name}")
    before, after = (golden[f"{name}.text_{kind}_raw"] for kind in ("src", "trg"))
    templates = [f"{k} {{}}" for k in range(len(before))]
    texts = {f"{k} old": row for k, row in enumerate(before)}
    texts |= {f"{k} new": row for k, row in enumerate(after)}
    texts |= {"old": before[0], "new": after[0]}

    class Recorded(Linear):
        def encode_image(self, images: Tensor) -> Tensor:
            return images.flatten(1)

    clip = Recorded(texts)
    l_dir = DirectionalClipLoss(clip, "old", "new", templates)
    assert torch.allclose(l_dir.direction, golden[f"{name}.text_direction"][0], atol=1e-6)
    image = golden[f"{name}.img_trg_raw"].clone().requires_grad_()
    got = l_dir(image, l_dir.features(golden[f"{name}.img_src_raw"]))
    expected = float(golden[f"{name}.direction_loss"])
    assert float(got.detach().mean()) == pytest.approx(expected, abs=1e-6)
    value = log_directional(got)
    expected = float(golden[f"{name}.loss_clip"])
    assert float(value.detach()) == pytest.approx(expected, abs=1e-6)
    value.backward()
    gradient = golden[f"{name}.grad_img_trg_raw"]
    assert torch.allclose(image.grad, gradient, rtol=1e-4, atol=1e-4 * float(gradient.abs().max()))
