"""The shipped networks: they load, know their roles, and are as good as their cards say."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from hsl.assets import asset
from hsl.data.toyfaces.captions import TEXTS, ZERO_SHOT
from hsl.data.toyfaces.factors import ATTRIBUTES, COLUMN, WORLDS, Factors, labels, sample
from hsl.data.toyfaces.renderer import REGIONS, regions, render
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.clip import Clip
from hsl.encoders.perceptual import PerceptualDistance
from hsl.encoders.roles import require_guide, require_judge
from hsl.encoders.segmenter import Segmenter
from hsl.encoders.weights import write
from hsl.errors import HslError
from hsl.files.tensors import SUM, write_tensors

N = 400


@pytest.fixture(scope="module")
def factors() -> Factors:
    """Held-out faces; `N` is enough for floors well below the cards' figures."""
    return sample(range(5000, 5000 + N), WORLDS["test"], unseen=True)


@pytest.fixture(scope="module")
def images(factors: Factors) -> Tensor:
    return render(factors)


@pytest.mark.parametrize("role", ["guide", "judge"])
def test_attributes_are_told(role: str, factors: Factors, images: Tensor) -> None:
    network = AttributeClassifier.load(f"toyfaces/{role}")
    assert network.names == ATTRIBUTES
    probabilities = network.probabilities(images)
    truth = labels(factors)
    right = (probabilities.round() == truth).float()
    balanced = ((right * truth).sum(0) / truth.sum(0)
                + (right * (1 - truth)).sum(0) / (1 - truth).sum(0)) / 2  # fmt: skip
    assert balanced.mean() >= 0.97
    assert balanced.min() >= 0.90


@pytest.mark.parametrize("role", ["guide", "judge"])
def test_clip_tells_attributes_by_unseen_prompts(
    role: str, factors: Factors, images: Tensor
) -> None:
    clip = Clip.load(f"toyfaces/{role}")
    truth = labels(factors)
    features = clip.encode_image(images)
    present, absent = (
        torch.nn.functional.normalize(clip.encode_text([ZERO_SHOT[n][i] for n in ATTRIBUTES]))
        for i in (0, 1)
    )
    right = ((features @ (present - absent).T > 0).float() == truth).float()
    balanced = ((right * truth).sum(0) / truth.sum(0)
                + (right * (1 - truth)).sum(0) / (1 - truth).sum(0)) / 2  # fmt: skip
    assert balanced.mean() >= 0.90


@pytest.mark.parametrize("role", ["guide", "judge"])
def test_bare_texts_of_every_attribute_have_a_positive_cosine(role: str) -> None:
    clip = Clip.load(f"toyfaces/{role}")
    source, target = (clip.encode_text([TEXTS[n][i] for n in ATTRIBUTES]) for i in (0, 1))
    assert torch.nn.functional.cosine_similarity(source, target).min() > 0.05


def test_segmenter_finds_every_region(factors: Factors, images: Tensor) -> None:
    network = Segmenter.load("toyfaces")
    assert network.regions == REGIONS
    predicted, truth = network(images).argmax(1), regions(factors)
    overlaps = []
    for k in range(len(REGIONS)):
        p, t = predicted == k, truth == k
        overlaps.append(float((p & t).sum() / (p | t).sum()))
    assert sum(overlaps) / len(overlaps) >= 0.80
    network = Segmenter.load("toyfaces", resize=True)
    assert network(render(factors[:2], 64)).shape == (2, len(REGIONS), 64, 64)


def test_judge_does_not_take_one_attribute_for_another(factors: Factors) -> None:
    """A judge that read a goatee off what looks male would see leakage where there is none."""
    a = factors.attributes.clone()
    a[:, COLUMN["Male"]] = 1 - a[:, COLUMN["Male"]]
    judge = AttributeClassifier.load("toyfaces/judge")
    before = judge.probabilities(render(factors))
    after = judge.probabilities(render(Factors(a, factors.nuisances)))
    change = (after - before).abs().mean(0)
    assert change[COLUMN["Male"]] > 0.95
    change[COLUMN["Male"]] = 0
    assert change.max() < 0.05


def test_roles_are_refused() -> None:
    guide, judge = (AttributeClassifier.load(f"toyfaces/{r}") for r in ("guide", "judge"))
    require_guide(guide, "a loss")
    require_judge(judge, "a metric")
    with pytest.raises(HslError, match="use a judge"):
        require_judge(Clip.load("toyfaces/guide"), "a metric")
    for network in (
        judge,
        Clip.load("toyfaces/judge"),
        Segmenter.load(),
        PerceptualDistance.load("toyfaces/judge"),
    ):
        with pytest.raises(HslError, match="use a guide"):
            require_guide(network, "a loss")


def test_networks_are_frozen_and_differentiable_in_the_image() -> None:
    image = torch.zeros(1, 3, 32, 32, requires_grad=True)
    networks = (
        AttributeClassifier.load("toyfaces/guide"),
        Clip.load("toyfaces/guide"),
        Segmenter.load(),
        PerceptualDistance.load("toyfaces/judge"),
    )
    for network in networks:
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
    Clip.load("toyfaces/guide").encode_image(image).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


LOADERS = {
    "attributes_judge": AttributeClassifier.load,
    "clip_guide": Clip.load,
    "segmenter": Segmenter.load,
    "perceptual_judge": PerceptualDistance.load,
}


@pytest.mark.parametrize("name", LOADERS)
def test_missing_and_damaged_files_are_told_in_one_line(name: str, tmp_path: Path) -> None:
    whole = asset(f"toyfaces/{name}.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    other = asset("toyfaces/attributes_guide.safetensors")
    if name.startswith("attributes"):
        other = asset("toyfaces/segmenter.safetensors")
    for path in (cut, tmp_path / "none.safetensors", other):
        with pytest.raises(HslError) as caught:
            LOADERS[name](str(path))
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


CHANGES = {
    "width of 10^6": {"width": 10**6 * 8},
    "width of text": {"width": "x"},
    "no width": {"width": None},
    "role": {"role": "referee"},
    "size": {"size": -1},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", LOADERS)
def test_a_damaged_configuration_is_refused(name: str, change: str, tmp_path: Path) -> None:
    """Before the 10 TB of a layer of that width are asked for."""
    with safe_open(asset(f"toyfaces/{name}.safetensors"), framework="pt") as file:
        config = json.loads(file.metadata()["hsl"]) | CHANGES[change]
        config.pop(SUM)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    path = tmp_path / "harmed.safetensors"
    save_file(tensors, path, metadata={"hsl": json.dumps(config)})
    with pytest.raises(HslError, match=r"harmed.safetensors: ") as caught:
        LOADERS[name](str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.int64, torch.bool])
def test_weights_that_are_no_floats_are_refused(kind: torch.dtype, tmp_path: Path) -> None:
    with safe_open(asset("toyfaces/perceptual_guide.safetensors"), framework="pt") as file:
        config = json.loads(file.metadata()["hsl"])
        tensors = {name: file.get_tensor(name).to(kind) for name in file.keys()}  # noqa: SIM118
    path = write_tensors(tmp_path / "harmed.safetensors", tensors, config)
    with pytest.raises(HslError, match=r"harmed\.safetensors: weights do not fit"):
        PerceptualDistance.load(str(path))


@pytest.mark.parametrize("edit", [0, -0.3])
def test_thresholds_are_above_zero(edit: float, tmp_path: Path) -> None:
    with safe_open(asset("toyfaces/perceptual_guide.safetensors"), framework="pt") as file:
        config = json.loads(file.metadata()["hsl"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config["thresholds"]["edit"] = edit
    path = write_tensors(tmp_path / "harmed.safetensors", tensors, config)
    with pytest.raises(HslError, match=r"thresholds is .*above 0"):
        PerceptualDistance.load(str(path))


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    network = AttributeClassifier.load("toyfaces/guide")
    path = tmp_path / "mine.safetensors"
    config = {"kind": "attributes", "role": "guide", "names": list(network.names), "width": 16}
    write(path, network, config)
    assert AttributeClassifier.load(str(path)).names == network.names
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(HslError, match="not those that were written"):
        AttributeClassifier.load(str(path))


def test_files_stay_small() -> None:
    names = (*LOADERS, "attributes_guide", "clip_judge", "perceptual_guide")
    sizes = [asset(f"toyfaces/{name}.safetensors").stat().st_size for name in names]
    assert sum(sizes) < 9e6
    for name in names:
        assert asset(f"toyfaces/{name}.md").is_file()
