"""Load a backbone: bundled, by the name of a paper's checkpoint, a folder, a file or a Hub id."""

import json
import math
import os
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel, VQModel
from huggingface_hub import snapshot_download
from lightning.pytorch.utilities import rank_zero_warn

from hsl.assets import asset
from hsl.backbones.architecture import Unstated
from hsl.backbones.assembly import assemble, set_heads, weights
from hsl.backbones.codecs import VQ, Codec, Identity, SpaceToDepth
from hsl.backbones.eps_error import LEVELS
from hsl.backbones.original import Original, understand
from hsl.backbones.presets import SOURCES
from hsl.backbones.unet import Backbone, Tap
from hsl.errors import HslError
from hsl.schedule import Schedule

BUNDLED = {"toyfaces": "toyfaces/ddpm"}
#: What names of files end in, and those of models on the Hub (``owner/model-v1.5``) do not.
_FILES = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")


def load(
    name: str,
    tap: Tap = "after",
    preset: str | None = None,
    told: Unstated | None = None,
    part: str | None = None,
) -> Backbone:
    """Load a frozen backbone.

    Args:
        name: one of

            - ``toyfaces`` (bundled);
            - a name of `hsl.backbones.SOURCES`, e.g. ``ffhq-p2``: fetched from the Hub, or looked
              for as a file in the folder that ``HSL_WEIGHTS`` names (``weights`` unless set); a
              folder of the same name is ``./ffhq-p2``;
            - a folder in diffusers' ``save_pretrained`` layout (a pipeline with ``unet/``,
              ``scheduler/`` and, for latent diffusion, ``vqvae/``; or one flat folder), as
              ``python -m hsl.convert`` writes it;
            - an original file of the DDPM, ADM, P2, ILVR or improved-diffusion families;
            - a Hub id such as ``google/ddpm-ema-celebahq-256``, downloaded once.
        tap: where h is read: ``before``, in the ``middle`` of or ``after`` the middle block.
        preset: of an original file: one of `hsl.backbones.PRESETS`; None: found by its shapes.
        told: of an original file: what neither its shapes nor the preset say.
        part: of an original file: which of several state dicts in it.

    Raises:
        HslError: nothing of that name can be had, or it is incomplete, damaged, or no such model.
    """
    path = _locate(name)
    if path.is_file():
        if name in SOURCES:
            preset = preset or SOURCES[name].preset
        original = understand(path, preset, told, part)
        return _from_original(original, str(path), name if name in SOURCES else path.stem, tap)
    if preset or part or (told or Unstated()) != Unstated():
        raise HslError(f"{name}: is a folder, which says itself what it is; a preset, a part and "
                       "what the shapes leave open are told of original files alone")  # fmt: skip
    unet_folder = path / "unet" if (path / "unet").is_dir() else path
    record = path / "hsl.json"
    about = read_json(record) if record.exists() else {}
    config = _config(unet_folder, "UNet2DModel")
    sample_size = _count(config, "sample_size", unet_folder / "config.json")
    if sample_size is None:
        raise HslError(f"{unet_folder / 'config.json'}: no sample_size; put the side of x there")
    unet = assemble(UNet2DModel, config, weights(unet_folder), str(unet_folder))
    if heads := _count(about, "mixed_heads", record):
        set_heads(unet, heads)
    codec: Codec = Identity()
    if factor := _count(about, "space_to_depth", record):
        codec, sample_size = SpaceToDepth(factor), sample_size * factor
    elif (path / "vqvae").is_dir():
        config = _config(path / "vqvae", "VQModel")
        vqvae = assemble(VQModel, config, weights(path / "vqvae"), str(path / "vqvae"))
        codec = VQ(vqvae, _positive(about, "latent_scale", record) or 1.0)
        sample_size *= codec.factor
    size = _count(about, "image_size", record) or sample_size
    scale = _positive(about, "timestep_scale", record) or 1.0
    named = str(about.get("name") or name)
    backbone = Backbone(unet, _schedule(path), codec, tap, named, size, scale)
    backbone.eps_errors = _errors(about, record)
    return backbone


def _from_original(original: Original, where: str, name: str, tap: Tap) -> Backbone:
    unet = assemble(UNet2DModel, original.config, original.converted(), where)
    if "mixed_heads" in original.about:
        set_heads(unet, original.about["mixed_heads"])
    if dropped := original.about["dropped"]:
        rank_zero_warn(f"{where}: left out {', '.join(dropped)}, no part of the frozen denoiser")
    scale = original.timestep_scale
    return Backbone(unet, original.schedule, None, tap, name, timestep_scale=scale)


def _locate(name: str) -> Path:
    """Where the file or folder of ``name`` is on this disk, downloaded if it is a Hub id."""
    if name in BUNDLED:
        return asset(BUNDLED[name])
    if name in SOURCES:
        source = SOURCES[name]
        if source.hub:
            return _download(source.hub)
        path = Path(os.environ.get("HSL_WEIGHTS", "weights")) / str(source.file)
        if path.is_file():
            return path
        raise HslError(f"{name}: put {source.file} ({source.about}) from {source.url} at {path}, "
                       "or give its path")  # fmt: skip
    path = Path(name).expanduser()
    if path.exists():
        return path
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.suffix in _FILES:
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
    if about.get("rescale_betas_zero_snr"):
        raise HslError(f"{path}: rescale_betas_zero_snr: its last x is noise alone, whose eps says "
                       "nothing of x_0; hsl wants a schedule without it")  # fmt: skip
    try:
        return _scheduled(about)
    except KeyError as error:
        raise HslError(f"{path}: no {error}; the noise schedule is unknown") from error
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise HslError(f"{path}: describes no noise schedule ({reason})") from error


def _scheduled(about: dict[str, Any]) -> Schedule:
    """The schedule of a diffusers scheduler's configuration."""
    if about.get("trained_betas"):
        return Schedule(about["trained_betas"])
    kind, n = str(about.get("beta_schedule", "linear")), int(about["num_train_timesteps"])
    if kind == "squaredcos_cap_v2":
        return Schedule.cosine(n)
    kinds = {"linear": Schedule.linear, "scaled_linear": Schedule.scaled_linear}
    if kind not in kinds:
        known = ", ".join([*kinds, "squaredcos_cap_v2"])
        raise ValueError(f"beta schedule {kind!r}; want one of {known}")
    return kinds[kind](n, float(about["beta_start"]), float(about["beta_end"]))


def _positive(about: dict[str, Any], key: str, where: Path) -> float | None:
    """The positive number under ``key`` of the JSON file ``where``; None: there is none."""
    value = about.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise HslError(f"{where}: {key} is {value!r}; want a positive number")
    return value


def _count(about: dict[str, Any], key: str, where: Path) -> int | None:
    """The positive whole number under ``key``; None: there is none."""
    value = _positive(about, key, where)
    if value is not None and value != int(value):
        raise HslError(f"{where}: {key} is {value!r}; want a whole number")
    return None if value is None else int(value)


def _errors(about: dict[str, Any], where: Path) -> list[float] | None:
    """The eps errors that were recorded for the model, one for each of `eps_error.LEVELS`."""
    errors = about.get("eps_errors")
    if errors is None:
        return None
    whole = isinstance(errors, list) and len(errors) == len(LEVELS)
    if not whole or not all(isinstance(error, float) and error > 0 for error in errors):
        raise HslError(f"{where}: eps_errors is {errors!r}; want {len(LEVELS)} positive numbers")
    return list(errors)


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
