"""Load a backbone from a ``save_pretrained`` folder, a Hub id, or by its bundled name."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from huggingface_hub import snapshot_download

from hsl.assets import asset
from hsl.backbones.codecs import Codec, Identity, SpaceToDepth
from hsl.backbones.unet import Backbone, Tap
from hsl.errors import HslError
from hsl.schedule import Schedule

BUNDLED = {"toyfaces": "toyfaces/ddpm"}
_WEIGHTS = "diffusion_pytorch_model"


def load(name: str, tap: Tap = "after") -> Backbone:
    """Load a frozen backbone.

    Args:
        name: ``toyfaces`` (bundled), a folder in diffusers' ``save_pretrained`` layout (a
            pipeline with ``unet/`` and ``scheduler/``, or one flat folder), or a Hub id such as
            ``google/ddpm-ema-celebahq-256`` (downloaded once into the Hub's cache).
        tap: where h is read: ``after`` or ``before`` the middle block.

    Raises:
        HslError: nothing of that name can be had, or the folder is incomplete or damaged.
    """
    folder = _folder(name)
    unet_folder = folder / "unet" if (folder / "unet").is_dir() else folder
    unet = _unet(unet_folder)
    schedule = _schedule(folder)
    about = _json(folder / "hsl.json") if (folder / "hsl.json").exists() else {}
    codec: Codec = Identity()
    if "space_to_depth" in about:
        codec = SpaceToDepth(int(about["space_to_depth"]))
    elif (folder / "vqvae").is_dir():
        raise HslError(f"{name}: a latent diffusion model; only pixel-space models load so far")
    size = int(about.get("image_size", unet.config.sample_size))
    return Backbone(unet, schedule, codec, tap, about.get("name", name), size)


def _folder(name: str) -> Path:
    """Where the files of ``name`` are on this disk, downloading them if it is a Hub id."""
    if name in BUNDLED:
        return asset(BUNDLED[name])
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise HslError(f"{name}: is a file; want a folder in diffusers' save_pretrained layout")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        bundled = ", ".join(BUNDLED)
        raise HslError(f"{name}: no such folder; want a folder, a Hub id (owner/name) or {bundled}")
    try:
        folder = Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
        if not list(folder.rglob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=["*.json", "*.bin"]))
    except Exception as error:  # the Hub's client raises its own, requests' and OS errors
        reason = type(error).__name__
        raise HslError(
            f"{name}: no such folder here, and the Hub could not be reached or has no such "
            f"model ({reason}); check the name and the network, or give a local folder"
        ) from error
    return folder


def _unet(folder: Path) -> UNet2DModel:
    if not (folder / "config.json").exists():
        raise HslError(f"{folder}: no config.json; want a U-Net saved by save_pretrained")
    if not list(folder.glob(f"{_WEIGHTS}*")):
        raise HslError(f"{folder}: no weights; put {_WEIGHTS}.safetensors there")
    kind = _json(folder / "config.json").get("_class_name")
    if kind != "UNet2DModel":
        raise HslError(f"{folder}: holds a {kind}, not a UNet2DModel")
    try:
        unet, report = UNet2DModel.from_pretrained(
            folder, torch_dtype=torch.float32, output_loading_info=True, low_cpu_mem_usage=False
        )
    except Exception as error:  # damaged files raise whatever their parser raises
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HslError(f"{folder}: the weights cannot be read ({line}); fetch them anew") from error
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        names = ", ".join(map(str, wrong[:5]))
        raise HslError(f"{folder}: weights do not fit config.json: {names}")
    return unet


def _schedule(folder: Path) -> Schedule:
    paths = (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json")
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        raise HslError(f"{folder}: no scheduler_config.json; the noise schedule is unknown")
    about = _json(path)
    if about.get("prediction_type", "epsilon") != "epsilon":
        raise HslError(f"{path}: predicts {about['prediction_type']}; hsl wants eps")
    if about.get("trained_betas"):
        try:
            return Schedule(about["trained_betas"])
        except ValueError as error:
            raise HslError(f"{path}: {error}") from error
    kinds = {"linear": Schedule.linear, "scaled_linear": Schedule.scaled_linear}
    kind = about.get("beta_schedule", "linear")
    if kind not in kinds:
        raise HslError(f"{path}: beta schedule {kind!r}; want one of {', '.join(kinds)}")
    try:
        n, start, end = (about[k] for k in ("num_train_timesteps", "beta_start", "beta_end"))
    except KeyError as error:
        raise HslError(f"{path}: no {error}; the noise schedule is unknown") from error
    return kinds[kind](int(n), float(start), float(end))


def _json(path: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise HslError(f"{path}: not a readable JSON file ({error}); fetch it anew") from error
    return about
