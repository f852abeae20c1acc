"""What is taken where nothing is named is there."""

from pathlib import Path
from pydoc import locate

import pytest

from hsl.backbones import load
from hsl.bundled import BUNDLED
from hsl.data.domains import Domain, domain
from hsl.data.items import DataModule
from hsl.edit import shipped
from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.clip import Clip
from hsl.encoders.perceptual import PerceptualDistance
from hsl.encoders.segmenter import Segmenter

ROOT = Path(__file__).resolve().parents[1]


def test_the_data_are_of_the_domain_that_backbone_and_networks_are_for() -> None:
    data = locate(BUNDLED.data)
    assert isinstance(data, type) and issubclass(data, DataModule)
    assert data.domain == BUNDLED.domain and data.usual_size == BUNDLED.size
    backbone = load(BUNDLED.backbone)
    assert backbone.domain == BUNDLED.domain and backbone.image_size == BUNDLED.size
    assert (ROOT / BUNDLED.data_file).is_file()


@pytest.mark.parametrize("role", ["guide", "judge"])
def test_each_kind_of_network_has_both_roles(role: str) -> None:
    for kind in (AttributeClassifier, Clip, PerceptualDistance):
        network = kind.load(getattr(BUNDLED, role))
        assert network.role == role
        assert (network.domain, network.size) == (BUNDLED.domain, BUNDLED.size)


def test_the_segmenter_directions_and_boundaries_are_there() -> None:
    assert Segmenter.load(BUNDLED.segmenter).role == "judge"
    assert "Smiling" in shipped("directions") and "Smiling" in shipped("boundaries")


@pytest.mark.parametrize("name", BUNDLED.domains)
def test_each_domain_says_how_its_attributes_are_said(name: str) -> None:
    there = domain(name)
    assert isinstance(there, Domain) and there.texts and there.templates
    assert there.opposites.keys() == {f"Not_{attribute}" for attribute in there.texts}
    assert all(there.excluded_by(attribute) <= there.texts.keys() for attribute in there.texts)
