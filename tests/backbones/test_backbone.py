"""The split is exact, and folders load or are refused."""

import copy
import json
import pickle
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from hsl.assets import asset
from hsl.backbones import TAPS, VQ, Backbone, SpaceToDepth, Unstated, load
from hsl.backbones.assembly import set_heads
from hsl.directions import Direction
from hsl.errors import HslError
from runs import saved_latent_backbone
from tiny import backbone


@pytest.mark.parametrize("tap", TAPS)
@pytest.mark.parametrize("t", [0, 517, torch.tensor([3, 999])])
def test_decode_of_encode_is_the_unet_bit_for_bit(tap, t) -> None:
    net, x = backbone(tap=tap), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(net.decode(net.encode(x, t)), net.unet(x, t).sample)


def test_each_tap_is_where_it_says() -> None:
    """Before the middle block, within its second ResBlock, after it: as the block sees it."""
    x, seen = torch.randn(2, 3, 8, 8), {}
    whole = backbone()
    middle = whole.unet.mid_block
    for name, part in (("after", middle), ("middle", middle.resnets[1].norm2)):
        part.register_forward_hook(
            lambda part, inputs, out, name=name: seen.update({name: out, f"into {name}": inputs[0]})
        )
    whole.unet(x, 400)
    seen["before"] = seen["into after"]
    for tap in TAPS:
        assert torch.equal(backbone(tap=tap).encode(x, 400).h, seen[tap]), tap
    assert not any(torch.equal(seen[a], seen[b]) for a, b in combinations(TAPS, 2))


def test_the_bundled_split_is_exact_too() -> None:
    net = load("toyfaces")
    x = net.x_0(torch.rand(2, 3, 32, 32) * 2 - 1)
    with torch.no_grad():
        assert torch.equal(net.decode(net.encode(x, 400)), net.unet(x, 400).sample)
    assert torch.equal(net.image(x), net.codec.decode(x)) and net.image_size == 32


def test_space_to_depth_is_lossless() -> None:
    image = torch.rand(2, 3, 16, 16)
    codec = SpaceToDepth(2)
    assert codec.encode(image).shape == (2, 12, 8, 8)
    assert torch.equal(codec.decode(codec.encode(image)), image)


def test_frozen_and_in_evaluation_mode() -> None:
    net = backbone().train()
    assert not net.unet.training
    assert not any(p.requires_grad for p in net.parameters())


def test_the_hash_is_of_weights_schedule_and_tap() -> None:
    assert backbone(0).hash == backbone(0).hash
    assert len({backbone(0).hash, backbone(1).hash, backbone(0, tap="before").hash}) == 3


SETTINGS = {
    "act_fn": "gelu", "attention_head_dim": 4, "center_input_sample": True, "freq_shift": 1,
    "downsample_padding": 0, "flip_sin_to_cos": False, "mid_block_scale_factor": 2.0,
    "norm_eps": 1e-6, "norm_num_groups": 4,
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_the_hash_is_of_settings_that_no_shape_tells(name: str) -> None:
    """The same weights with heads of another width are another network."""
    net = backbone()
    config = {k: v for k, v in net.unet.config.items() if not k.startswith("_")}
    unet = UNet2DModel(**(config | {name: SETTINGS[name]}))
    unet.load_state_dict(net.unet.state_dict())
    other, x = Backbone(unet, net.schedule), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        got, want = (n.output(n.encode(x, torch.tensor([5, 700]))) for n in (other, net))
    if name != "downsample_padding":
        assert (got - want).abs().max() > 1e-6
    assert other.hash != net.hash
    assert Backbone(UNet2DModel(**config), net.schedule).hash != net.hash  # other weights


def test_the_bundled_models_hash_stays() -> None:
    """Shipped directions carry it."""
    about = Direction.load(asset("toyfaces/directions/Smiling.safetensors")).about
    assert load("toyfaces").hash == about["backbone_hash"]


def test_copies_are_the_same_network() -> None:
    net = backbone()
    set_heads(net.unet, 4)
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert copied.unet.mixed_heads == 4 and copied.hash == net.hash
    assert net.hash != backbone().hash


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mid_block_type": None}, "no h-space"),
        ({"time_embedding_type": "fourier"}, "score-SDE"),
        ({"down_block_types": ["SkipDownBlock2D"], "up_block_types": ["SkipUpBlock2D"]}, "score"),
        ({"num_class_embeds": 3}, "conditional"),
        ({"out_channels": 5}, "5 channels out for 3 in"),
    ],
)
def test_unets_that_cannot_be_split_are_refused(arguments: dict[str, Any], says: str) -> None:
    usual = {"sample_size": 8, "block_out_channels": [32], "down_block_types": ["DownBlock2D"],
             "up_block_types": ["UpBlock2D"]}  # fmt: skip
    with pytest.raises(HslError, match=says):
        Backbone(UNet2DModel(**(usual | arguments)), backbone().schedule)


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(HslError, match="takes 3 channels, but an image has 1"):
        backbone().x_0(torch.zeros(2, 1, 8, 8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    net = backbone()
    DDPMPipeline(net.unet, DDPMScheduler()).save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def test_pipeline_and_flat_folders_load(folder: Path, tmp_path: Path) -> None:
    assert load(str(folder)).hash == backbone().hash
    flat = tmp_path / "flat"
    shutil.copytree(folder / "unet", flat)
    shutil.copy(folder / "scheduler" / "scheduler_config.json", flat)
    assert load(str(flat)).hash == backbone().hash


def damage(folder: Path, how: str) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    config = folder / "unet" / "config.json"
    scheduler = folder / "scheduler" / "scheduler_config.json"
    about = json.loads(config.read_text())
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "no weights":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "other class":
        config.write_text(json.dumps(about | {"_class_name": "VQModel"}))
    elif how == "other width":
        config.write_text(json.dumps(about | {"block_out_channels": [16, 64]}))
    elif how == "no schedule":
        scheduler.unlink()
    elif how == "garbled schedule":
        scheduler.write_text("{")
    elif how == "predicts v":
        scheduler.write_text(scheduler.read_text().replace('"epsilon"', '"v_prediction"'))


@pytest.mark.parametrize(
    "how",
    ["cut", "no weights", "no config", "other class", "other width", "no schedule",
     "garbled schedule", "predicts v"],
)  # fmt: skip
def test_damaged_folders_are_refused_in_one_line(folder: Path, how: str) -> None:
    damage(folder, how)
    with pytest.raises(HslError) as error:
        load(str(folder))
    assert "\n" not in str(error.value)


STEM = "diffusion_pytorch_model"
CONFIG, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        *(("hsl.json", {"mixed_heads": value}) for value in ("x", [4], -2, 2.5, 3)),
        *(("hsl.json", {"image_size": value}) for value in ("8", -8, [8], True)),
        *(("hsl.json", {"timestep_scale": value}) for value in ("x", 0, float("inf"))),
        *(("hsl.json", {"space_to_depth": value}) for value in (0, 2, 10**9)),
        ("hsl.json", {"eps_errors": [float("inf")] * 7}),
        ("hsl.json", {"eps_errors": "none"}),
        ("hsl.json", {"eps_errors": [0.1]}),
        *((CONFIG, {"sample_size": value}) for value in (None, [8, 16], [8, 8, 8], [], "8", -1)),
        *((CONFIG, {"sample_size": value}) for value in (7, 10**11)),
        (CONFIG, {"layers_per_block": 10**9}),
        (CONFIG, {"norm_num_groups": 0}),
        (CONFIG, {"attention_head_dim": 0}),
        (CONFIG, {"in_channels": "3"}),
        *((SCHEDULER, {"num_train_timesteps": value}) for value in ("x", 0, -3, None)),
        *((SCHEDULER, {"beta_end": value}) for value in ("x", 3.0, None)),
        *((SCHEDULER, {"trained_betas": value}) for value in ("x", [2.0], ["x"], 3)),
        *((SCHEDULER, {"beta_schedule": value}) for value in ("sigmoid", ["linear"], None)),
        (SCHEDULER, {"rescale_betas_zero_snr": True}),
    ],
)  # fmt: skip
def test_odd_values_are_refused_in_one_line(folder: Path, file: str, fault: dict) -> None:
    path = folder / file
    held = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(held | fault))
    with pytest.raises(HslError) as error:
        load(str(folder))
    text, (key,) = str(error.value), fault
    assert "\n" not in text and (file.split("/")[0] in text or key in text), text


def test_weights_of_integers_are_refused(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: (100 * v).to(torch.int8) for k, v in load_file(path).items()}, path)
    with pytest.raises(HslError, match="not tensors of floats"):
        load(str(folder))


def test_a_folder_takes_no_options_of_original_files(folder: Path) -> None:
    for options in ({"preset": "p2-256"}, {"told": Unstated(qkv="new")}, {"part": "ema"}):
        with pytest.raises(HslError, match="is a folder, which says itself"):
            load(str(folder), **options)


def test_a_known_name_is_no_folder_here(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """Data are often in a folder ``church``."""
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "church")
    with pytest.raises(HslError, match="google/ddpm-ema-church-256"):
        load("church")
    assert load("./church").hash == backbone().hash


def test_hub_ids_may_have_dots() -> None:
    with pytest.raises(HslError, match="the Hub could not be reached"):
        load("owner/model-v1.5")


def test_pytorch_files_are_fetched_where_safetensors_are_not(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    """Of any network of the model: folders may have one kind for the U-Net and another beside."""
    want = load(str(folder)).hash
    backbone().unet.save_pretrained(tmp_path / "bin", safe_serialization=False)
    weights = f"{STEM}.bin"

    def snapshot(name: str, *patterns: str) -> Path:
        if any(pattern.endswith(".bin") for pattern in patterns):
            shutil.copy(tmp_path / "bin" / weights, folder / "unet" / weights)
        return folder

    monkeypatch.setattr("hsl.backbones.loading.snapshot", snapshot)
    assert load("owner/model").hash == want
    assert not (folder / "unet" / weights).exists()
    (folder / "unet" / f"{STEM}.safetensors").unlink()
    (folder / "beside").mkdir()
    save_file({}, folder / "beside" / f"{STEM}.safetensors")
    assert load("owner/model").hash == want


@pytest.mark.parametrize(
    "name",
    ["nowhere", "~nobody-of-this-name/model", "./nowhere/at/all", "google/ddpm-ema-celebahq-256",
     "folder/file.pt"],
)  # fmt: skip
def test_names_that_cannot_be_had(name: str) -> None:
    with pytest.raises(HslError) as error:
        load(name)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_latent_diffusion_folder_loads(tmp_path: Path) -> None:
    folder = saved_latent_backbone(tmp_path / "ldm")
    net = load(folder)
    assert isinstance(net.codec, VQ) and net.image_size == 16
    assert not any(p.requires_grad for p in net.parameters())
    assert {p.dtype for p in copy.deepcopy(net).double().codec.parameters()} == {torch.float64}
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        x = net.x_0(image)
        assert x.shape == (2, 3, 8, 8) and torch.equal(x, net.codec.vqvae.encode(image).latents)
        assert torch.equal(net.image(x), net.codec.vqvae.decode(x).sample)
    before = net.hash
    about = {"latent_scale": 0.5}
    (Path(folder) / "hsl.json").write_text(json.dumps(about))
    scaled = load(folder)
    with torch.no_grad():
        assert torch.equal(scaled.x_0(image), x * 0.5)
        assert torch.allclose(scaled.image(x * 0.5), net.image(x), atol=1e-6)
    assert scaled.hash != before
    weights = Path(folder) / "vqvae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(HslError, match="vqvae"):
        load(folder)


def test_old_names_of_attention_and_old_files_load(folder: Path) -> None:
    """Hub folders of 2022: .bin files, and attention by query, key, value and proj_attn."""
    want = load(str(folder))
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(path)
    for new, name in old.items():
        state = {k.replace(f".{new}.", f".{name}."): v for k, v in state.items()}
    assert any(".proj_attn." in key for key in state)
    torch.save(state, path.with_suffix(".bin"))
    path.unlink()
    assert load(str(folder)).hash == want.hash


def test_the_cosine_schedule_of_a_folder(folder: Path) -> None:
    DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder / "scheduler")
    alphas = DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod
    assert torch.allclose(load(str(folder)).schedule.alphas_cumprod.float(), alphas, atol=1e-5)
