"""What makes a distance a distance."""

from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor

from hsl.data.toyfaces.factors import WORLDS, counterfactual, sample
from hsl.data.toyfaces.renderer import render
from hsl.encoders.perceptual import PerceptualDistance
from hsl.errors import HslError


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return PerceptualDistance.load("toyfaces/judge")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return render(sample(range(7000, 7064), WORLDS["test"]))


def test_identity_and_symmetry(distance: PerceptualDistance, images: Tensor) -> None:
    others = images.roll(1, 0)
    assert distance(images, images).abs().max() < 1e-6
    assert distance(images, others).shape == (64,)
    torch.testing.assert_close(distance(images, others), distance(others, images))
    assert distance(images, others).min() > 0.1


def test_unrelated_faces_are_about_one_apart(distance: PerceptualDistance, images: Tensor) -> None:
    assert 0.75 < distance(images, images.roll(1, 0)).mean() < 1.25


def test_it_grows_with_noise(distance: PerceptualDistance, images: Tensor) -> None:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    means = [float(distance(images, images + s * noise).mean()) for s in (0.02, 0.05, 0.1, 0.3)]
    assert means == sorted(means)
    assert means[0] > 0


def test_a_smile_is_nearer_than_another_face(distance: PerceptualDistance) -> None:
    factors = sample(range(7000, 7064), WORLDS["test"])
    plain, smiling = (render(counterfactual(factors, Smiling=s)) for s in (0, 1))
    assert distance(plain, smiling).mean() < 0.5 * distance(plain, plain.roll(1, 0)).mean()


def test_unknown_lpips_network() -> None:
    with pytest.raises(HslError, match="lpips/alex"):
        PerceptualDistance.load("lpips/resnet")


def test_lpips_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models.alexnet", fail)
    with pytest.raises(HslError, match="could not be downloaded"):
        PerceptualDistance.load("lpips/alex")


def test_lpips_returns_one_distance_an_image(
    monkeypatch: pytest.MonkeyPatch, images: Tensor
) -> None:
    untrained = torchvision.models.alexnet()
    monkeypatch.setattr("torchvision.models.alexnet", lambda pretrained: untrained)
    lpips = PerceptualDistance.load("lpips/alex")
    assert lpips.role == "judge" and not lpips.training
    faces = torch.nn.functional.interpolate(images[:3], scale_factor=2.0)
    assert lpips(faces, faces).tolist() == [0.0, 0.0, 0.0]
    assert lpips(faces, faces.roll(1, 0)).min() > 0
