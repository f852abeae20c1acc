"""Load a backbone: bundled, by the name of a paper's checkpoint, a folder, a file or a Hub id."""

import json
import os
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel, VQModel
from huggingface_hub import snapshot_download

from hsl.assets import asset
from hsl.backbones.architecture import Unstated
from hsl.backbones.assembly import assemble, set_heads, weights
from hsl.backbones.codecs import VQ, Codec, Identity, SpaceToDepth
from hsl.backbones.original import Original, understand
from hsl.backbones.presets import SOURCES
from hsl.backbones.unet import Backbone, Tap
from hsl.errors import HslError
from hsl.schedule import Schedule

BUNDLED = {"toyfaces": "toyfaces/ddpm"}


def load(
    name: str, tap: Tap = "after", preset: str | None = None, told: Unstated | None = None
) -> Backbone:
    """Load a frozen backbone.

    Args:
        name: one of

            - ``toyfaces`` (bundled);
            - a name of `hsl.backbones.SOURCES`, e.g. ``ffhq-p2``: fetched from the Hub, or looked
              for as a file in the folder that ``HSL_WEIGHTS`` names (``weights`` unless set);
            - a folder in diffusers' ``save_pretrained`` layout (a pipeline with ``unet/``,
              ``scheduler/`` and, for latent diffusion, ``vqvae/``; or one flat folder), as
              ``python -m hsl.convert`` writes it;
            - an original file of the DDPM, ADM, P2, ILVR or improved-diffusion families;
            - a Hub id such as ``google/ddpm-ema-celebahq-256``, downloaded once.
        tap: where h is read: ``before``, in the ``middle`` of or ``after`` the middle block.
        preset: of an original file: one of `hsl.backbones.PRESETS`; None: found by its shapes.
        told: of an original file: what neither its shapes nor the preset say.

    Raises:
        HslError: nothing of that name can be had, or it is incomplete, damaged, or no such model.
    """
    path = _locate(name)
    if path.is_file():
        if name in SOURCES:
            preset = preset or SOURCES[name].preset
        original = understand(path, preset, told)
        return _from_original(original, str(path), path.stem if name == str(path) else name, tap)
    unet_folder = path / "unet" if (path / "unet").is_dir() else path
    about = read_json(path / "hsl.json") if (path / "hsl.json").exists() else {}
    config = _config(unet_folder, "UNet2DModel")
    unet = assemble(UNet2DModel, config, weights(unet_folder).items(), str(unet_folder))
    if about.get("mixed_heads"):
        set_heads(unet, int(about["mixed_heads"]))
    codec: Codec = Identity()
    size = int(about.get("image_size") or unet.config.sample_size)
    if "space_to_depth" in about:
        codec = SpaceToDepth(int(about["space_to_depth"]))
    elif (path / "vqvae").is_dir():
        config = _config(path / "vqvae", "VQModel")
        vqvae = assemble(VQModel, config, weights(path / "vqvae").items(), str(path / "vqvae"))
        codec = VQ(vqvae, float(about.get("latent_scale", 1.0)))
        size = int(about.get("image_size") or size * codec.factor)
    scale = float(about.get("timestep_scale", 1.0))
    backbone = Backbone(unet, _schedule(path), codec, tap, about.get("name", name), size, scale)
    backbone.eps_errors = about.get("eps_errors")
    return backbone


def _from_original(original: Original, where: str, name: str, tap: Tap) -> Backbone:
    unet = assemble(UNet2DModel, original.config, original.converted(), where)
    if "mixed_heads" in original.about:
        set_heads(unet, original.about["mixed_heads"])
    scale = original.timestep_scale
    return Backbone(unet, original.schedule, None, tap, name, timestep_scale=scale)


def _locate(name: str) -> Path:
    """Where the file or folder of ``name`` is on this disk, downloaded if it is a Hub id."""
    if name in BUNDLED:
        return asset(BUNDLED[name])
    path = Path(name).expanduser()
    if path.exists():
        return path
    if name in SOURCES:
        source = SOURCES[name]
        if source.hub:
            return _download(source.hub)
        path = Path(os.environ.get("HSL_WEIGHTS", "weights")) / str(source.file)
        if path.is_file():
            return path
        raise HslError(f"{name}: put {source.file} ({source.about}) from {source.url} at {path}, "
                       "or give its path")  # fmt: skip
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.suffix:
        known = ", ".join([*BUNDLED, *SOURCES])
        raise HslError(f"{name}: no such file or folder; want one, a Hub id (owner/name), or one "
                       f"of {known}")  # fmt: skip
    return _download(name)


def _download(hub: str) -> Path:
    try:
        folder = Path(snapshot_download(hub, allow_patterns=["*.json", "*.safetensors"]))
        if not list(folder.rglob("*.safetensors")):
            folder = Path(snapshot_download(hub, allow_patterns=["*.json", "*.bin"]))
    except Exception as error:  # the Hub's client raises its own, requests' and OS errors
        reason = type(error).__name__
        raise HslError(
            f"{hub}: no such folder here, and the Hub could not be reached or has no such "
            f"model ({reason}); check the name and the network, or give a local folder"
        ) from error
    return folder


def _config(folder: Path, kind: str) -> dict[str, Any]:
    if not (folder / "config.json").exists():
        raise HslError(f"{folder}: no config.json; want a {kind} saved by save_pretrained")
    config = read_json(folder / "config.json")
    if config.get("_class_name") != kind:
        raise HslError(f"{folder}: holds a {config.get('_class_name')}, not a {kind}")
    return config


def _schedule(folder: Path) -> Schedule:
    paths = (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json")
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        raise HslError(f"{folder}: no scheduler_config.json; the noise schedule is unknown")
    about = read_json(path)
    if about.get("prediction_type", "epsilon") != "epsilon":
        raise HslError(f"{path}: predicts {about['prediction_type']}; hsl wants eps")
    if about.get("trained_betas"):
        try:
            return Schedule(about["trained_betas"])
        except ValueError as error:
            raise HslError(f"{path}: {error}") from error
    kinds = {"linear": Schedule.linear, "scaled_linear": Schedule.scaled_linear}
    kind = about.get("beta_schedule", "linear")
    try:
        n = int(about["num_train_timesteps"])
        if kind == "squaredcos_cap_v2":
            return Schedule.cosine(n)
        start, end = float(about["beta_start"]), float(about["beta_end"])
    except KeyError as error:
        raise HslError(f"{path}: no {error}; the noise schedule is unknown") from error
    if kind not in kinds:
        known = ", ".join([*kinds, "squaredcos_cap_v2"])
        raise HslError(f"{path}: beta schedule {kind!r}; want one of {known}")
    return kinds[kind](n, start, end)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object.

    Raises:
        HslError: it cannot be read, or holds something else.
    """
    try:
        about = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise HslError(f"{path}: not a readable JSON file ({error}); fetch it anew") from error
    if not isinstance(about, dict):
        raise HslError(f"{path}: holds no JSON object; fetch it anew")
    return about
