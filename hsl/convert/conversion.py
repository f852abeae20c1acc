"""An original checkpoint file to a diffusers folder in safetensors."""

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler, UNet2DModel

from hsl.backbones import Backbone, Unstated, load
from hsl.backbones.eps_error import Check, check
from hsl.backbones.original import Original, meta_unet, understand
from hsl.data.images import load_image
from hsl.errors import HslError
from hsl.files import checkpoints, leftovers, require_file, require_writable_folder, saying
from hsl.names import visible
from hsl.tables import print_table, write_json


def convert(original: Original, out: Path, name: str, image: Path | None = None) -> Check | None:
    """Write ``original`` to the folder ``out``, whole or not at all.

    Args:
        original: a file that was understood.
        out: folder to make, as `diffusers.DDPMPipeline` and `hsl.backbones.load` read it; what
            was inferred, told and dropped stands in its ``hsl.json``.
        name: what the backbone is called.
        image: of the kind the model was trained on; the conversion is refused if the eps error on
            it is too large.

    Raises:
        HslError: ``out`` exists or cannot be written, values are NaN or infinite, or the check
            fails.
    """
    _require_free(out)
    existing = next(parent for parent in out.absolute().parents if parent.exists())
    leftovers.sweep(existing)
    folder = existing / leftovers.temporary_name()
    try:
        with saying(out):
            _write(original, folder, name)
            outcome = None if image is None else verify(load(str(folder)), image)
            out.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def verify(backbone: Backbone, image: Path) -> Check:
    """Print how the eps error on ``image`` compares with a trained model's.

    Raises:
        HslError: it is far larger.
    """
    outcome = check(backbone, load_image(image, backbone.image_size))
    rows: list[dict[str, Any]] = [
        {"alpha-bar": level, "eps error": error} for level, error in outcome.errors.items()
    ]
    print_table(f"{backbone.name}: mean squared error of eps on {image.name}", rows)
    print(
        f"ratio to {visible(outcome.reference)}: {outcome.ratio:.3f} (at most {outcome.threshold})"
    )
    if not outcome.passed:
        raise HslError(
            f"{backbone.name}: its eps error is {outcome.ratio:.2f} times {outcome.reference}, "
            f"more than {outcome.threshold}: wrong settings (--qkv, --heads, --schedule), a "
            "damaged or untrained file, or an image unlike those it was trained on"
        )
    return outcome


def _require_free(out: Path) -> None:
    """Refuse a folder that is there, or cannot be made."""
    require_writable_folder(out)
    if out.exists() or out.is_symlink():
        raise HslError(f"{out}: exists already; remove it, or give another folder")


def _write(original: Original, folder: Path, name: str) -> None:
    unstated, config = original.unstated, original.config
    with torch.device("meta"):
        UNet2DModel(**config).save_config(folder / "unet")
    beta_start, beta_end = original.beta_range
    DDPMScheduler(
        num_train_timesteps=len(original.schedule),
        beta_start=beta_start,
        beta_end=beta_end,
        beta_schedule="squaredcos_cap_v2" if unstated.schedule == "cosine" else "linear",
        variance_type="learned_range" if original.about["learned_variance"] else "fixed_small",
        clip_sample=False,
    ).save_config(folder / "scheduler")
    pipeline = {
        "_class_name": "DDPMPipeline",
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(pipeline, indent=2) + "\n")
    about: dict[str, Any] = {
        "name": name,
        "image_size": unstated.image_size,
        "original": original.about,
    }
    if original.timestep_scale != 1:
        about["timestep_scale"] = original.timestep_scale
    if "mixed_heads" in original.about:
        about["mixed_heads"] = original.about["mixed_heads"]
    write_json(folder / "hsl.json", about)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    checkpoints.write(weights, meta_unet(config), original.converted())


def run(options: argparse.Namespace) -> None:
    """Convert, or check, a checkpoint; the last line printed is the folder's path."""
    told = Unstated(**{k: getattr(options, k) for k in vars(Unstated())})
    if options.check is not None:
        require_file(options.check, "an image to check with")
    if options.original is None:
        raise HslError("say what to convert: python -m hsl.convert ORIGINAL OUT")
    if options.out is None:
        if options.check is None:
            raise HslError("say where to write: python -m hsl.convert ORIGINAL OUT")
        backbone = load(options.original, "after", options.preset, told, options.part)
        verify(backbone, options.check)
        return
    source, out = Path(options.original), Path(options.out)
    if source.is_dir():
        raise HslError(f"{source}: is a folder; want an original file (hsl loads folders as is)")
    require_file(source, "an original checkpoint")
    _require_free(out)  # before the work, which takes long
    original = understand(source, options.preset, told, options.part, mapped=True)
    original.about["sha256"] = _sha256(source)
    convert(original, out, options.name or out.name, options.check)
    stated = {k: v for k, v in original.about.items() if v not in (None, [], "")}
    print(visible(", ".join(f"{key}: {value}" for key, value in stated.items())))
    print(out)


def _sha256(path: Path) -> str:
    with require_file(path, "a checkpoint").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
