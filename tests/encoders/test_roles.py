"""What a network is for, and whether two are one."""

from functools import partial

import pytest
import torch
from torch import nn

from hsl.encoders.attributes import AttributeClassifier
from hsl.encoders.clip import Clip
from hsl.encoders.perceptual import PerceptualDistance
from hsl.encoders.roles import fingerprint, require_guide, unsuited
from hsl.encoders.segmenter import Segmenter
from hsl.errors import HslError


def test_why_a_network_is_unsuited() -> None:
    judge = AttributeClassifier.load("toyfaces/judge")
    assert unsuited(judge, "toyfaces", 32) is None and unsuited(judge, "toyfaces", None) is None
    assert "32 pixels, and these have 64" in str(unsuited(judge, "toyfaces", 64))
    assert "images of toyfaces" in str(unsuited(judge, None, 32))
    assert "these are of dogs" in str(unsuited(judge, "dogs", 32))
    assert unsuited(nn.Linear(1, 1), None, 7) is None  # it does not say


@pytest.mark.parametrize("size", [8, 64])
def test_bundled_networks_refuse_other_sizes_unless_told(size: int) -> None:
    """Noise and photographs would get figures from them, too."""
    images = torch.rand(2, 3, size, size) * 2 - 1
    for resize in (False, True):
        distance = PerceptualDistance.load("toyfaces/judge", resize=resize)
        calls = (
            AttributeClassifier.load("toyfaces/judge", resize=resize).probabilities,
            Clip.load("toyfaces/judge", resize=resize).encode_image,
            Segmenter.load(resize=resize),
            partial(distance, images),
        )
        for call in calls:
            if resize:
                assert call(images).isfinite().all()
            else:
                with pytest.raises(HslError, match=f"32 pixels, and these have {size} x"):
                    call(images)


def test_guide_and_judge_have_other_weights_each() -> None:
    kinds = (AttributeClassifier.load, Clip.load, PerceptualDistance.load)
    networks = [load(f"toyfaces/{role}") for load in kinds for role in ("guide", "judge")]
    assert len({fingerprint(network) for network in networks}) == 6
    again = Clip.load("toyfaces/guide", resize=True)
    assert fingerprint(again) == fingerprint(networks[2])
    assert [network.role for network in networks] == ["guide", "judge"] * 3


def test_a_fingerprint_sees_one_weight() -> None:
    layer = nn.Linear(3, 2)
    before = fingerprint(layer)
    layer.weight.data[0, 0] += 1e-6
    assert fingerprint(layer) != before


def test_a_network_without_a_role_is_asked_for_one() -> None:
    with pytest.raises(HslError, match="identity: Linear has no role; give it one, role = 'guide'"):
        require_guide(nn.Linear(1, 1), "identity")
