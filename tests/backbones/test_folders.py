"""Of a folder, what diffusers loads is loaded, to the bit; else the true reason is said."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from hsl.backbones import VQ, load
from hsl.errors import HslError
from runs import saved_latent_backbone
from tiny import backbone

STEM = "diffusion_pytorch_model"


def saved(folder: Path, seed: int = 0, **how: Any) -> Path:
    backbone(seed).unet.save_pretrained(folder / "unet", **how)
    DDPMScheduler().save_pretrained(folder / "scheduler")
    return folder


def sharded(folder: Path, seed: int = 0, **how: Any) -> Path:
    return saved(folder, seed, max_shard_size="60KB", **how)


def loaded(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The U-Net's tensors, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = load(str(folder)).unet.state_dict()
    return state, " ".join(str(warning.message) for warning in caught)


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in other)


def refusal(folder: Path) -> str:
    with pytest.raises(HslError) as error:
        load(str(folder))
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "safetensors": saved,
    "bin": lambda folder: saved(folder, safe_serialization=False),
    "shards": sharded,
    "shards beside a whole save": lambda folder: (sharded(folder, 1), whole(folder)),
    "both": lambda folder: (saved(folder), saved(folder, 1, safe_serialization=False)),
}


def whole(folder: Path) -> None:
    """A single file of another save, which diffusers passes over for the index."""
    saved(folder.with_name("other"), 2)
    name = f"unet/{STEM}.safetensors"
    shutil.copy(folder.with_name("other") / name, folder / name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_diffusers_loads(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path / "model")
    theirs = UNet2DModel.from_pretrained(tmp_path / "model" / "unet").state_dict()
    state, said = loaded(tmp_path / "model")
    assert same(state, theirs) and not said


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("safe", [False, True])
def test_a_variant_alone_is_taken_and_named(shards: bool, safe: bool, tmp_path: Path) -> None:
    folder = (sharded if shards else saved)(tmp_path / "m", variant="fp16", safe_serialization=safe)
    theirs = UNet2DModel.from_pretrained(folder / "unet", variant="fp16", use_safetensors=safe)
    state, said = loaded(folder)
    assert same(state, theirs.state_dict()) and "only the variant fp16" in said


@pytest.mark.parametrize(
    "index",
    [f"{STEM}.fp16.safetensors.index.json", f"{STEM}.safetensors.fp16.index.json"],
)
def test_other_names_of_a_variants_index(index: str, tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model", variant="fp16")
    (found,) = (folder / "unet").glob("*.index.*")
    found.rename(found.with_name(index))
    state, said = loaded(folder)
    assert same(state, backbone().unet.state_dict()) and "only the variant fp16" in said


def test_shards_of_pytorchs(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model", safe_serialization=False)
    assert (folder / "unet" / f"{STEM}.bin.index.json").exists()
    assert same(loaded(folder)[0], backbone().unet.state_dict())


def test_the_full_precision_goes_before_its_variants(tmp_path: Path) -> None:
    folder = saved(saved(tmp_path / "model"), 1, variant="fp16")
    state, said = loaded(folder)
    assert same(state, backbone().unet.state_dict())
    assert f"took {STEM}.safetensors, and left the variant fp16" in said


def test_variants_alone_are_not_chosen_from(tmp_path: Path) -> None:
    folder = saved(saved(tmp_path / "model", variant="fp16"), 1, variant="non_ema")
    assert "holds the variants fp16, non_ema and no file without one" in refusal(folder)


def test_half_precision_becomes_float32_exactly(tmp_path: Path) -> None:
    unet = backbone().unet.half()
    unet.save_pretrained(tmp_path / "model" / "unet")
    DDPMScheduler().save_pretrained(tmp_path / "model" / "scheduler")
    assert same(loaded(tmp_path / "model")[0], unet.float().state_dict())


def test_the_index_says_which_shards_count(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model")
    (first, *_) = sorted((folder / "unet").glob("*-of-*.safetensors"))
    stray = {key: torch.full_like(value, 0.3) for key, value in load_file(first).items()}
    save_file(stray, first.with_name(f"{STEM}-00001-of-00099.safetensors"))
    assert same(loaded(folder)[0], backbone().unet.state_dict())


def index_of(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "unet" / f"{STEM}.safetensors.index.json"
    return path, json.loads(path.read_text())


def misplaced(how: str, folder: Path) -> None:
    path, about = index_of(folder)
    places: dict[str, str] = about["weight_map"]
    key = next(iter(places))
    if how == "no index":
        path.unlink()
    elif how == "another save":
        other = sharded(folder.with_name("other"), 1) / "unet"
        shards = sorted(other.glob("*-of-*.safetensors"))
        shutil.copy(shards[0], path.with_name(sorted(places.values())[-1]))
    elif how == "no shard":
        path.with_name(places[key]).unlink()
    elif how == "out of the folder":
        shutil.copy(path.with_name(places[key]), folder / "x.safetensors")
        places[key] = "../x.safetensors"
    elif how == "absolute":
        places[key] = str(path.with_name(places[key]).absolute())
    elif how == "a long name":
        places[key] = 5000 * "x"
    elif how == "no name":
        places[key] = 3  # type: ignore[assignment]
    elif how == "too few names":
        del places[key]
    elif how == "no map":
        about = {"metadata": {}}
    elif how == "garbled":
        path.write_text("[" * 100_000)
        return
    if path.exists():
        path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no index", "without an index"), ("another save", "of another save"),
        ("no shard", "which is not there"), ("out of the folder", "no file beside it"),
        ("absolute", "no file beside it"), ("no name", "no file beside it"),
        ("a long name", "xxx, which is not there; fetch it"),
        ("too few names", "of another save"), ("no map", "no weight_map"),
        ("garbled", "not a readable JSON file"),
    ],
)  # fmt: skip
def test_shards_that_do_not_belong_together(how: str, says: str, tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model")
    misplaced(how, folder)
    assert says in refusal(folder)


def test_weights_by_number_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", safe_serialization=False)
    path = folder / "unet" / f"{STEM}.bin"
    state = torch.load(path, weights_only=True)
    torch.save(dict(enumerate(state.values())), path)
    assert "holds more than tensors by name; fetch it anew" in refusal(folder)


def test_other_files_of_weights_are_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    path = folder / "unet" / f"{STEM}.safetensors"
    path.rename(path.with_name("model.safetensors"))
    assert f"holds model.safetensors); put {STEM}.safetensors there" in refusal(folder)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_wrapped_by_ddp_or_compile(prefix: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    path, want = folder / "unet" / f"{STEM}.safetensors", backbone().unet.state_dict()
    save_file({prefix + key: value for key, value in want.items()}, path)
    assert same(loaded(folder)[0], want)
    save_file({prefix + "conv_in.bias": torch.zeros(16)} | want, path)
    assert "1 given twice" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    path = folder / "unet" / f"{STEM}.safetensors"
    state = load_file(path)
    state["conv_in.bias"][3] = value
    save_file(state, path)
    assert "conv_in.bias has values that are NaN or infinite" in refusal(folder)


def test_parameters_sparse_and_valueless_tensors(tmp_path: Path) -> None:
    folder, want = saved(tmp_path / "model"), backbone().unet.state_dict()
    (folder / "unet" / f"{STEM}.safetensors").unlink()
    path, key = folder / "unet" / f"{STEM}.bin", "conv_in.bias"
    torch.save({k: torch.nn.Parameter(v) for k, v in want.items()}, path)
    assert same(loaded(folder)[0], want)
    torch.save(want | {key: want[key].to_sparse()}, path)
    assert "1 sparse or nested (conv_in.bias)" in refusal(folder)
    torch.save(want | {key: want[key].to("meta")}, path)
    assert "conv_in.bias has a shape, but no values" in refusal(folder)


# Sizes and classes.


def test_a_size_may_be_a_pair(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    config = folder / "unet" / "config.json"
    about, want = json.loads(config.read_text()), load(str(folder))
    config.write_text(json.dumps(about | {"sample_size": [8, 8]}))
    net = load(str(folder))
    assert net.x_shape == (3, 8, 8) and net.image_size == 8 and net.hash == want.hash
    config.write_text(json.dumps(about | {"sample_size": [8, 16]}))
    assert "hsl edits squares" in refusal(folder)


def test_sizes_that_do_not_come_back() -> None:
    """Which diffusers refuses only when it computes."""
    unet = UNet2DModel(**{k: v for k, v in backbone().unet.config.items() if k[0] != "_"})
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        unet(torch.zeros(1, 3, 7, 7), 0)


def test_an_image_size_that_its_networks_do_not_take(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    (folder / "hsl.json").write_text(json.dumps({"image_size": 64}))
    assert "image_size is 64, but its networks take 8" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "how"),
    [
        *(("unet/config.json", {name: value}) for name, value in (
            ("norm_eps", "1e-5"), ("norm_eps", -1e-5), ("attention_head_dim", -8),
            ("freq_shift", "0"), ("mid_block_scale_factor", "1"), ("mid_block_scale_factor", 0),
            ("downsample_padding", 2), ("flip_sin_to_cos", "no"), ("center_input_sample", "false"),
        )),
        *(("scheduler/scheduler_config.json", {name: value}) for name, value in (
            ("trained_betas", []), ("trained_betas", [0.1] * 10), ("num_train_timesteps", 1000.7),
            ("beta_end", "0.02"), ("use_flow_sigmas", True), ("snr_shift_scale", 3.0),
        )),
        ("hsl.json", {"domain": ["faces"]}), ("hsl.json", {"name": 5}),
    ],
)  # fmt: skip
def test_settings_that_no_shape_contradicts(file: str, how: dict[str, Any], tmp_path: Path) -> None:
    """Taken as they come they end where the network is used, or change what it computes."""
    path = saved(tmp_path / "model") / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | how))
    assert refusal(tmp_path / "model").startswith(f"{path}: ")


@pytest.mark.parametrize("how", [{"num_class_embeds": 10}, {"class_embed_type": "timestep"}])
def test_class_conditional_folders_are_refused(how: dict[str, Any], tmp_path: Path) -> None:
    config = {k: v for k, v in backbone().unet.config.items() if not k.startswith("_")}
    UNet2DModel(**(config | how)).save_pretrained(tmp_path / "unet")
    DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    assert "class-conditional U-Nets are not supported" in refusal(tmp_path)


# Rooms.


def test_the_moving_average_beside_the_unet(tmp_path: Path, monkeypatch) -> None:
    """As diffusers' training scripts leave them: unet is loaded, and unet_ema said."""
    folder = saved(tmp_path / "model")
    ema = saved(tmp_path / "other", 1) / "unet"
    shutil.copytree(ema, folder / "unet_ema")
    state, said = loaded(folder)
    assert same(state, backbone().unet.state_dict()) and str(folder / "unet_ema") in said
    monkeypatch.chdir(folder)
    for path in (folder / "unet_ema", Path("unet_ema"), Path("./unet_ema")):
        state, said = loaded(path)
        assert same(state, backbone(1).unet.state_dict()) and not said
    shutil.rmtree(folder / "unet")
    assert f"give {folder / 'unet_ema'} to load" in refusal(folder)


def test_a_unet_within_a_latent_folder_keeps_its_autoencoder(tmp_path: Path) -> None:
    folder = saved_latent_backbone(tmp_path / "ldm")
    net = load(f"{folder}/unet")
    assert isinstance(net.codec, VQ) and net.hash == load(folder).hash
