"""Load a backbone: bundled, by the name of a paper's checkpoint, a folder, a file or a Hub id."""

import os
from math import inf
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel

from hsl import ranks
from hsl.assets import asset
from hsl.backbones.architecture import Unstated, require_side
from hsl.backbones.assembly import assemble, set_heads
from hsl.backbones.autoencoders import autoencoder_of
from hsl.backbones.codecs import KL, VQ, Identity, SpaceToDepth
from hsl.backbones.configs import count, network, positive, read_json, schedule
from hsl.backbones.eps_error import LEVELS
from hsl.backbones.original import Original, understand
from hsl.backbones.presets import SOURCES
from hsl.backbones.unet import Backbone, Tap
from hsl.backbones.weights import has_safetensors, weights
from hsl.bundled import BUNDLED
from hsl.errors import HslError
from hsl.files import expanded, require_file
from hsl.hub import snapshot
from hsl.names import meant
from hsl.schema import check, optional, text

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

            - that of a bundled one, in `hsl.bundled.BUNDLED`;
            - a name of `hsl.backbones.SOURCES`, e.g. ``ffhq-p2``: fetched from the Hub, or looked
              for as a file in the folder that ``HSL_WEIGHTS`` names (``weights`` unless set); a
              folder of the same name is ``./ffhq-p2``;
            - a folder in diffusers' ``save_pretrained`` layout (a pipeline with ``unet/``,
              ``scheduler/`` and, for latent diffusion, its autoencoder; or one flat folder), as
              ``python -m hsl.convert`` writes it; a network within one, e.g.
              ``model/unet_ema``;
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
        return _from_original(original, name if name in SOURCES else path.stem, tap)
    if preset or part or (told or Unstated()) != Unstated():
        raise HslError(f"{name}: is a folder, which says itself what it is; a preset, a part and "
                       "what the shapes leave open are told of original files alone")  # fmt: skip
    path, unet_folder = _rooms(path)
    record = path / "hsl.json"
    about = _about(record) if record.exists() else {}
    config = network(unet_folder, "UNet2DModel")
    unet = assemble(UNet2DModel, config, weights(unet_folder), str(unet_folder))
    levels = len(unet.config.block_out_channels)
    side = require_side(str(unet_folder / "config.json"), unet.config.sample_size, levels)
    if heads := count(about, "mixed_heads", record):
        set_heads(unet, heads)
    codec = _codec(path, about, int(unet.config.in_channels))
    side *= 1 if isinstance(codec, Identity) else codec.factor
    size = count(about, "image_size", record) or side
    if size != side:
        raise HslError(f"{record}: image_size is {size}, but its networks take {side}; mend it, or "
                       "take it out")  # fmt: skip
    scale = positive(about, "timestep_scale", record) or 1.0
    model_name = str(about.get("name") or name)
    backbone = Backbone(unet, schedule(path), codec, tap, model_name, size, scale)
    backbone.eps_errors = _errors(about, record)
    backbone.domain = None if about.get("domain") is None else str(about["domain"])
    return backbone


def _about(record: Path) -> dict[str, Any]:
    """What ``hsl.json`` says of the model in its folder."""
    about = read_json(record)
    try:
        return check(about, {"name": text(), "domain": optional(text(100))})
    except ValueError as error:
        raise HslError(f"{record}: {error}; mend it, or take it out") from error


def _codec(path: Path, about: dict[str, Any], channels: int) -> Identity | SpaceToDepth | VQ | KL:
    """What stands between images and a U-Net that takes so many channels."""
    record = path / "hsl.json"
    if factor := count(about, "space_to_depth", record):
        if 3 * factor**2 != channels:
            raise HslError(f"{record}: space_to_depth is {factor}: that makes {3 * factor**2} "
                           f"channels, but its U-Net takes {channels}; mend it")  # fmt: skip
        return SpaceToDepth(factor)
    autoencoder = autoencoder_of(path, positive(about, "latent_scale", record))
    if autoencoder is not None and autoencoder.channels != channels:
        raise HslError(f"{path}: its autoencoder's latents have {autoencoder.channels} channels, "
                       f"but its U-Net takes {channels}; fetch both anew")  # fmt: skip
    return autoencoder or Identity()


def _rooms(path: Path) -> tuple[Path, Path]:
    """The folder of a whole model and that of its U-Net, given either: ``model``,
    ``model/unet_ema``, or a flat folder, which is both."""
    if (path / "unet").is_dir():
        if (path / "unet_ema").is_dir():
            ranks.warn(f"{path}: took unet, as diffusers does; its moving average is "
                           f"{path / 'unet_ema'}: give that to load it")  # fmt: skip
        return path, path / "unet"
    if (path / "unet_ema").is_dir() and not (path / "config.json").exists():
        raise HslError(f"{path}: has no unet; give {path / 'unet_ema'} to load its moving average")
    whole = path.absolute().parent
    alone = not (path / "scheduler").exists() and not (path / "scheduler_config.json").exists()
    return (whole, path) if alone and (whole / "scheduler").is_dir() else (path, path)


def _from_original(original: Original, name: str, tap: Tap) -> Backbone:
    unet = assemble(UNet2DModel, original.config, original.converted(), original.name)
    if "mixed_heads" in original.about:
        set_heads(unet, original.about["mixed_heads"])
    if dropped := original.about["dropped"]:
        ranks.warn(f"{original.name}: left out {', '.join(dropped)}, no part of the frozen "
                       "denoiser")  # fmt: skip
    scale = original.timestep_scale
    return Backbone(unet, original.schedule, None, tap, name, timestep_scale=scale)


def _locate(name: str) -> Path:
    """Where the file or folder of ``name`` is on this disk, downloaded if it is a Hub id."""
    if name in BUNDLED.backbones:
        return asset(BUNDLED.backbones[name])
    if name in SOURCES:
        source = SOURCES[name]
        if source.hub:
            return _download(source.hub)
        path = Path(os.environ.get("HSL_WEIGHTS", "weights")) / str(source.file)
        if path.is_file():
            return path
        raise HslError(f"{name}: put {source.file} ({source.about}) from {source.url} at {path}, "
                       "or give its path")  # fmt: skip
    path = expanded(name)
    if path.exists():
        return path if path.is_dir() else require_file(path, "a folder or a checkpoint")
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.suffix in _FILES:
        known = [*BUNDLED.backbones, *SOURCES]
        raise HslError(f"{name}: no such file or folder; want one, a Hub id (owner/name), or one "
                       f"of {', '.join(known)}{meant(name, known)}")  # fmt: skip
    return _download(name)


def _download(hub: str) -> Path:
    folder = snapshot(hub, "*.json", "*.safetensors")
    rooms = {config.parent for config in folder.rglob("config.json")}
    if not rooms or not all(has_safetensors(room) for room in rooms):
        folder = snapshot(hub, "*.json", "*diffusion_pytorch_model*.bin")
    return folder


def _errors(about: dict[str, Any], where: Path) -> list[float] | None:
    """The eps errors that were recorded for the model, one for each of `eps_error.LEVELS`."""
    errors = about.get("eps_errors")
    if errors is None:
        return None
    whole = isinstance(errors, list) and len(errors) == len(LEVELS)
    if not whole or not all(isinstance(error, float) and 0 < error < inf for error in errors):
        raise HslError(f"{where}: eps_errors is {errors!r}; want {len(LEVELS)} positive numbers")
    return list(errors)
