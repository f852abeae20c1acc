"""The published checkpoints of the papers: their architectures, and where each is had."""

from typing import NamedTuple

from hsl.backbones.architecture import Architecture, Unstated


class Preset(NamedTuple):
    """A published architecture, with what its files do not state."""

    architecture: Architecture
    unstated: Unstated


class CheckpointSource(NamedTuple):
    """Where a checkpoint is had: a ``file`` to fetch by hand, or a Hub id (``hub``).

    ``about``: what it is, who made it, and under which licence; ``preset``: what the file is.
    """

    about: str
    hub: str | None = None
    file: str | None = None
    url: str | None = None
    preset: str | None = None


def _at(*levels: int, of: int) -> tuple[bool, ...]:
    """Attention at these levels alone."""
    return tuple(i in levels for i in range(of))


_LINEAR = Unstated(schedule="linear", timesteps=1000, rescaled=False)
_PX256 = (1, 1, 2, 2, 4, 4)

#: By name. ``p2-256`` is ILVR's architecture, too; ``adm-256`` that of ADM's LSUN models;
#: ``adm-256-asyrp`` is adm-256 as Asyrp's code saves it, with a class embedding that was never
#: trained (no file is taken for one unless it is named).
PRESETS = {
    "ddpm-256": Preset(
        Architecture("ddpm", 128, _PX256, 2, _at(4, of=6)),
        _LINEAR.filled(Unstated(256)),
    ),
    "ddpm-celeba-64": Preset(
        Architecture("ddpm", 128, (1, 2, 2, 2, 4), 2, _at(2, of=5)),
        _LINEAR.filled(Unstated(64)),
    ),
    "p2-256": Preset(
        Architecture("adm", 128, _PX256, 1, _at(4, of=6), 3, 6, updown=True, scale_shift=True),
        _LINEAR.filled(Unstated(256, "legacy", head_channels=64)),
    ),
    "adm-256": Preset(
        Architecture("adm", 256, _PX256, 2, _at(3, 4, 5, of=6), 3, 6, True, True),
        _LINEAR.filled(Unstated(256, "legacy", head_channels=64)),
    ),
    "adm-256-asyrp": Preset(
        Architecture("adm", 256, _PX256, 2, _at(3, 4, 5, of=6), 3, 6, True, True),
        _LINEAR.filled(Unstated(256, "legacy", head_channels=64, untrained_labels=True)),
    ),
    "iddpm-lsun-256": Preset(
        Architecture("adm", 128, _PX256, 2, _at(4, of=6), 3, 6),
        _LINEAR.filled(Unstated(256, "legacy", heads=1)),
    ),
    "iddpm-imagenet-64": Preset(
        Architecture("adm", 128, (1, 2, 3, 4), 3, _at(2, 3, of=4), 3, 6, scale_shift=True),
        Unstated(64, "legacy", heads=4, schedule="cosine", timesteps=4000, rescaled=True),
    ),
}

_SDEDIT = "https://github.com/ermongroup/SDEdit"
_P2 = "https://github.com/jychoi118/P2-weighting"
_ILVR = "https://github.com/jychoi118/ilvr_adm"
_DDIM = "https://github.com/ermongroup/ddim"
_CODE = "the code is under MIT; for the weights no licence is known to us"
_NONE = "no licence is known to us: ask its authors"

#: What ``hsl.backbones.load`` takes by name, besides the bundled ones, folders and Hub ids.
SOURCES = {
    "celebahq": CheckpointSource(
        "CelebA-HQ, DDPM at 256 pixels (Ho et al. 2020), Apache 2.0; "
        "the images are for research only",
        hub="google/ddpm-ema-celebahq-256",
    ),
    "church": CheckpointSource(
        "LSUN-church, DDPM at 256 pixels (Ho et al. 2020), Apache 2.0",
        hub="google/ddpm-ema-church-256",
    ),
    "bedroom": CheckpointSource(
        "LSUN-bedroom, DDPM at 256 pixels (Ho et al. 2020), Apache 2.0",
        hub="google/ddpm-ema-bedroom-256",
    ),
    "ldm-celebahq": CheckpointSource(
        "CelebA-HQ, latent diffusion at 256 pixels (Rombach et al. 2022), Apache 2.0; "
        "the images are for research only",
        hub="CompVis/ldm-celebahq-256",
    ),
    "celebahq-sdedit": CheckpointSource(
        f"CelebA-HQ, SDEdit's DDPM, which Asyrp and DiffusionCLIP use; {_CODE}",
        file="celeba_hq.ckpt",
        url=f"{_SDEDIT} (its link is dead; gwang-kim/DiffusionCLIP-CelebA_HQ on the Hub has it)",
        preset="ddpm-256",
    ),
    "church-ddpm": CheckpointSource(
        f"LSUN-church, the DDPM file of DDIM, SDEdit and Asyrp; {_CODE}",
        file="church_outdoor.ckpt",
        url=f"{_DDIM} (functions/ckpt_util.py names a copy)",
        preset="ddpm-256",
    ),
    "bedroom-ddpm": CheckpointSource(
        f"LSUN-bedroom, the DDPM file of DDIM, SDEdit and Asyrp; {_CODE}",
        file="bedroom.ckpt",
        url=f"{_DDIM} (functions/ckpt_util.py names a copy)",
        preset="ddpm-256",
    ),
    "celeba64": CheckpointSource(
        f"CelebA at 64 pixels, DDIM's own model (Song et al. 2021); {_CODE}",
        file="celeba64.ckpt",
        url=f"{_DDIM} (its CelebA checkpoint, ckpt.pth, renamed)",
        preset="ddpm-celeba-64",
    ),
    "celebahq-p2": CheckpointSource(
        f"CelebA-HQ, P2-weighting (Choi et al. 2022); {_NONE}",
        file="celebahq_p2.pt",
        url=_P2,
        preset="p2-256",
    ),
    "ffhq-p2": CheckpointSource(
        f"FFHQ, P2-weighting (Choi et al. 2022); {_NONE}; the images are CC BY-NC-SA 4.0",
        file="ffhq_p2.pt",
        url=_P2,
        preset="p2-256",
    ),
    "ffhq-ilvr": CheckpointSource(
        f"FFHQ, ILVR (Choi et al. 2021), 10 million samples; {_NONE}; "
        "the images are CC BY-NC-SA 4.0",
        file="ffhq_10m.pt",
        url=_ILVR,
        preset="p2-256",
    ),
    "metfaces-p2": CheckpointSource(
        f"METFACES, P2-weighting (Choi et al. 2022); {_NONE}; the images are CC BY-NC 2.0",
        file="metface_p2.pt",
        url=_P2,
        preset="p2-256",
    ),
    "afhq-dog-ilvr": CheckpointSource(
        f"AFHQ-dog, ILVR (Choi et al. 2021), 4 million samples, which Asyrp uses; {_NONE}; "
        "the images are CC BY-NC 4.0",
        file="afhq_dog_4m.pt",
        url=_ILVR,
        preset="p2-256",
    ),
    "afhq-dog-p2": CheckpointSource(
        f"AFHQ-dog, P2-weighting (Choi et al. 2022); {_NONE}; the images are CC BY-NC 4.0",
        file="afhqdog_p2.pt",
        url=_P2,
        preset="p2-256",
    ),
    "imagenet": CheckpointSource(
        "ImageNet, ADM at 256 pixels, unconditional (Dhariwal & Nichol 2021), MIT",
        file="256x256_diffusion_uncond.pt",
        url="https://github.com/openai/guided-diffusion",
        preset="adm-256",
    ),
    "diffusionclip": CheckpointSource(
        f"a U-Net that DiffusionCLIP (Kim et al. 2022) fine-tuned on CelebA-HQ; {_NONE}",
        file="diffusionclip.pth",
        url="https://github.com/gwang-kim/DiffusionCLIP (any of its files, renamed)",
        preset="ddpm-256",
    ),
}
