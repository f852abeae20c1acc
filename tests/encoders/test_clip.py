"""CLIP's door: words, names, preprocessing."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms.v2.functional import InterpolationMode, resize

from hsl.encoders.clip import Clip
from hsl.errors import HslError


@pytest.fixture(scope="module")
def clip() -> Clip:
    return Clip.load("toyfaces/guide")


def test_an_unknown_word_is_named(clip: Clip) -> None:
    with pytest.raises(HslError, match=r"'dragon' is not a word.*vocabulary"):
        clip.encode_text(["a face with a dragon"])


def test_a_text_that_is_too_long_is_refused(clip: Clip) -> None:
    with pytest.raises(HslError, match="shorten it"):
        clip.encode_text(["face " * 60])


def test_case_and_full_stop_do_not_matter(clip: Clip) -> None:
    one, two = clip.encode_text(["A smiling face.", "a smiling face"])
    assert torch.equal(one, two)


def test_a_text_reads_the_same_in_any_batch(clip: Clip) -> None:
    alone = clip.encode_text(["face"])
    among = clip.encode_text(["a face with a hat", "face"])[1:]
    torch.testing.assert_close(alone, among)


@pytest.mark.parametrize(
    "name", ["nothing", "toyfaces/arbiter", "ViT-B-16-quickgelu/no-such-tag", "none.safetensors"]
)
def test_unknown_names_are_told_in_one_line(name: str) -> None:
    with pytest.raises(HslError) as caught:
        Clip.load(name)
    assert "\n" not in str(caught.value)


class _Seen(nn.Module):
    """Stands in for open_clip's CLIP and returns the pixels it is shown."""

    def encode_image(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def test_images_are_prepared_as_openai_did_without_clamping() -> None:
    config = {"size": (8, 8), "interpolation": "bicubic", "mean": (0.5, 0.4, 0.3),
              "std": (0.2, 0.1, 0.5)}  # fmt: skip
    clip = Clip(_Seen(), lambda texts: torch.zeros(len(texts)), "guide", config)
    level = torch.tensor([1.0, -3.0, 0.0])  # -3 is outside [-1, 1] and stays there
    seen = clip.encode_image(level[None, :, None, None].expand(1, 3, 16, 24)).view(3, 64)
    expected = ((level + 1) / 2 - torch.tensor(config["mean"])) / torch.tensor(config["std"])
    torch.testing.assert_close(seen, expected[:, None].expand(3, 64))


def test_antialias_is_a_choice() -> None:
    config = {"size": 8, "interpolation": "bicubic", "mean": (0.0,) * 3, "std": (1.0,) * 3}
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    smooth, sharp = (
        Clip(_Seen(), lambda t: torch.zeros(len(t)), "guide", config, antialias).encode_image(image)
        for antialias in (True, False)
    )
    assert smooth.std() < 0.8 * sharp.std()


def test_a_local_file_of_any_architecture_of_open_clip(tmp_path: Path) -> None:
    layers = {"layers": 1, "width": 64}
    config = {
        "embed_dim": 16,
        "vision_cfg": layers | {"image_size": 24, "patch_size": 8},
        "text_cfg": layers | {"heads": 2, "context_length": 77, "vocab_size": 49408},
    }
    (tmp_path / "hsl-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    made = open_clip.create_model("hsl-tiny")
    save_file(made.state_dict(), tmp_path / "weights.safetensors")

    clip = Clip.load(f"hsl-tiny/{tmp_path / 'weights.safetensors'}", role="judge")
    assert clip.role == "judge"
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    prepared = open_clip.image_transform(24, is_train=False).transforms[-1]((images + 1) / 2)
    cropped = resize(prepared, [24], InterpolationMode.BICUBIC, antialias=True)[..., 6:30]
    torch.testing.assert_close(
        clip.encode_image(images), made.eval().encode_image(cropped), atol=1e-4, rtol=1e-4
    )
    assert clip.encode_text(["a dragon that smiles"]).shape == (1, 16)

    (tmp_path / "weights.safetensors").write_bytes(b"cut")
    with pytest.raises(HslError, match="could not be downloaded or read"):
        Clip.load(f"hsl-tiny/{tmp_path / 'weights.safetensors'}")
