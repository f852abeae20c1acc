"""The autoencoder of a latent diffusion folder, whatever its subfolder is called."""

from pathlib import Path

from diffusers import AutoencoderKL, VQModel

from hsl.backbones.assembly import assemble
from hsl.backbones.codecs import KL, VQ
from hsl.backbones.configs import network, positive, read_json
from hsl.backbones.weights import weights
from hsl.errors import HslError

#: What diffusers writes into the config of a VQModel that was given no factor.
_VQ_DEFAULT = 0.18215
#: What its subfolder is called, whatever class it is of.
_ROOMS = ("autoencoder", "first_stage", "first_stage_model", "movq", "vae", "vqgan", "vqvae")


def autoencoder_of(folder: Path, scale: float | None = None) -> VQ | KL | None:
    """The codec that a model's ``folder`` has beside its U-Net; None: it works on pixels.

    Args:
        folder: with ``model_index.json``, or subfolders alone.
        scale: factor between the autoencoder's latent and x_0; None: its config's
            ``scaling_factor`` (of a VQModel, unless that is diffusers' default).

    Raises:
        HslError: two autoencoders, one of a class that hsl does not know, or one that
            ``model_index.json`` names and that is not there.
    """
    kinds = _kinds(folder)
    if not kinds:
        return None
    if len(kinds) > 1:
        raise HslError(f"{folder}: has the autoencoders {', '.join(sorted(kinds))}; leave "
                       "there the one that it was trained with")  # fmt: skip
    room, kind = folder / next(iter(kinds)), next(iter(kinds.values()))
    if not (room / "config.json").exists():
        raise HslError(f"{folder}: its autoencoder ({kind}, {room.name}) is not there, without "
                       "which an image is no latent; fetch it")  # fmt: skip
    if kind not in ("VQModel", "AutoencoderKL"):
        raise HslError(f"{room}: holds a {kind}; hsl reads VQModel and AutoencoderKL")
    config, where = network(room, kind), room / "config.json"
    if (config.get("in_channels", 3), config.get("out_channels", 3)) != (3, 3):
        raise HslError(f"{where}: of images that are not RGB; take a model of RGB images")
    if odd := [key for key in ("shift_factor", "latents_mean", "latents_std") if config.get(key)]:
        raise HslError(f"{where}: {odd[0]} is {config[odd[0]]}; hsl scales latents by one factor")
    factor = positive(config, "scaling_factor", where)
    if kind == "VQModel":
        factor = None if factor == _VQ_DEFAULT else factor
        return VQ(assemble(VQModel, config, weights(room), str(room)), scale or factor or 1.0)
    return KL(assemble(AutoencoderKL, config, weights(room), str(room)), scale or factor or 0.18215)


def _kinds(folder: Path) -> dict[str, str]:
    """The class of each autoencoder by its subfolder: of those that are there, and of those that
    ``model_index.json`` names."""
    kinds = {}
    for room in sorted(path for path in folder.iterdir() if path.is_dir()):
        config = room / "config.json"
        kind = str(read_json(config).get("_class_name")) if config.exists() else "no config.json"
        if _is_autoencoder(kind) or room.name in _ROOMS:
            kinds[room.name] = kind
    index = folder / "model_index.json"
    for part, about in (read_json(index) if index.exists() else {}).items():
        stated = str(about[-1]) if isinstance(about, list) and about else ""
        if _is_autoencoder(stated) or (part in _ROOMS and stated not in ("", "None")):
            kinds.setdefault(part, stated)
    return kinds


def _is_autoencoder(kind: str) -> bool:
    return kind.startswith(("Autoencoder", "AsymmetricAutoencoder", "VQ", "ConsistencyDecoder"))
