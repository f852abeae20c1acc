"""Latent diffusion folders: their autoencoder stands between images and x, or they are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDPMPipeline, DDPMScheduler, VQModel

from hsl.backbones import KL, load
from hsl.errors import HslError
from runs import saved_latent_backbone
from tiny import backbone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    DDPMPipeline(backbone().unet, DDPMScheduler()).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def vae(folder: Path, room: str = "vae", **how: Any) -> AutoencoderKL:
    torch.manual_seed(3)
    usual = {
        "block_out_channels": (16, 16), "norm_num_groups": 8, "latent_channels": 3,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    }  # fmt: skip
    net = AutoencoderKL(**(usual | how)).eval()
    net.save_pretrained(folder / room)
    return net


@pytest.mark.parametrize("room", ["vae", "vqvae", "first_stage"])
def test_an_autoencoder_of_any_name(room: str, folder: Path) -> None:
    theirs, net = vae(folder, room, scaling_factor=0.5), load(str(folder))
    assert isinstance(net.codec, KL) and net.image_size == 16 and net.x_shape == (3, 8, 8)
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        x = net.x_0(image)
        assert torch.equal(x, theirs.encode(image).latent_dist.mean * 0.5)
        assert torch.equal(net.image(x), theirs.decode(x / 0.5).sample)
    (folder / "hsl.json").write_text(json.dumps({"latent_scale": 0.25}))
    scaled = load(str(folder))
    assert scaled.codec.scale == 0.25 and scaled.hash != net.hash


def test_the_scale_of_a_vqmodel(tmp_path: Path) -> None:
    """CelebA-HQ's has none, and diffusers' default in its config; another was meant."""
    folder = Path(saved_latent_backbone(tmp_path / "ldm"))
    assert load(str(folder)).codec.scale == 1
    config = folder / "vqvae" / "config.json"
    about = json.loads(config.read_text())
    assert about["scaling_factor"] == 0.18215
    config.write_text(json.dumps(about | {"scaling_factor": 0.7}))
    assert load(str(folder)).codec.scale == 0.7


def spoilt(how: str, folder: Path) -> None:
    if how == "two":
        vae(folder)
        vae(folder, "first_stage")
    elif how == "absent":
        parts = {"vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DModel"]}
        (folder / "model_index.json").write_text(json.dumps(parts))
    elif how == "of four channels":
        vae(folder, latent_channels=4)
    elif how == "of gray images":
        vae(folder, in_channels=1, out_channels=1)
    elif how == "shifted":
        vae(folder, shift_factor=0.1)
    elif how == "another class":
        vae(folder)
        config = folder / "vae" / "config.json"
        config.write_text(config.read_text().replace("AutoencoderKL", "AutoencoderTiny"))
    elif how == "own class":
        vae(folder)
        config = folder / "vae" / "config.json"
        config.write_text(config.read_text().replace("AutoencoderKL", "MyCodec"))
    elif how == "no class":
        vae(folder)
        (folder / "vae" / "config.json").write_text("{}")
    elif how == "no config":
        vae(folder)
        (folder / "vae" / "config.json").unlink()
    elif how == "own class, absent":
        (folder / "model_index.json").write_text(json.dumps({"vqvae": ["mine", "MyCodec"]}))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("two", "has the autoencoders first_stage, vae"), ("absent", "(AutoencoderKL, vae)"),
        ("of four channels", "4 channels, but its U-Net takes 3"), ("of gray images", "not RGB"),
        ("shifted", "shift_factor is 0.1"), ("another class", "holds a AutoencoderTiny"),
        ("own class", "holds a MyCodec"), ("no class", "holds a None"),
        ("no config", "(no config.json, vae) is not there"),
        ("own class, absent", "(MyCodec, vqvae) is not there"),
    ],
)  # fmt: skip
def test_autoencoders_that_do_not_fit(how: str, says: str, folder: Path) -> None:
    spoilt(how, folder)
    with pytest.raises(HslError) as error:
        load(str(folder))
    assert says in str(error.value) and "\n" not in str(error.value)


def test_vqmodels_of_other_embeddings(folder: Path) -> None:
    """x_0 has as many channels as the codes, which may be others than the latents'."""
    VQModel(
        block_out_channels=(16, 16), norm_num_groups=8, num_vq_embeddings=32, latent_channels=5,
        vq_embed_dim=3, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(folder / "vae")  # fmt: skip
    net = load(str(folder))
    with torch.no_grad():
        assert net.image(net.x_0(torch.zeros(1, 3, 16, 16))).shape == (1, 3, 16, 16)
