"""An original checkpoint file, understood: its architecture, its key map, and what it left open."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Size, Tensor
from torch.nn import Parameter

from hsl.backbones import adm, ddpm
from hsl.backbones.architecture import (
    Architecture,
    KeyMap,
    Shapes,
    Unstated,
    config,
    mixed_heads,
    require_side,
)
from hsl.backbones.parts import listed, part_of
from hsl.backbones.presets import PRESETS
from hsl.backbones.schedule import Schedule
from hsl.backbones.state import bare, fault, finite
from hsl.errors import HslError
from hsl.files import checkpoints

_FAMILIES = {"ddpm": ddpm, "adm": adm}
#: Asyrp puts its implicit functions (``layer_0`` ...) into the U-Net, and a class embedding that it
#: never trains into unconditional ones; neither belongs to the frozen denoiser.
_LABELS = "label_emb."
_STRAYS = ("layer_", _LABELS)
#: What torch's averaged model counts, among the tensors.
_COUNTER = "n_averaged"


@dataclass(frozen=True)
class Original:
    """A file that was understood. ``name`` says in messages which; ``tensors`` have the original's
    names; ``about`` records, as JSON values, what was inferred, told and dropped."""

    name: str
    tensors: dict[str, Tensor]
    architecture: Architecture
    unstated: Unstated
    keys: KeyMap
    about: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of the diffusers U-Net."""
        return config(self.architecture, self.unstated)

    def converted(self) -> Iterator[tuple[str, Tensor]]:
        """The diffusers U-Net's tensors by name, in float32, one after the other; each original
        is let go as soon as the last part of it is taken.

        Raises:
            HslError: values that are NaN or infinite.
        """
        yield from finite(self._converted(), self.name)

    def _converted(self) -> Iterator[tuple[str, Tensor]]:
        left: dict[str, int] = {}
        for entry in self.keys.values():
            left[entry.source] = left.get(entry.source, 0) + 1
        for name, shape in meta_unet(self.config).items():
            entry = self.keys[name]
            tensor = entry.take(self.tensors[entry.source], shape, self.unstated)
            left[entry.source] -= 1
            if not left[entry.source]:
                del self.tensors[entry.source]
            yield name, tensor

    @property
    def timestep_scale(self) -> float:
        """What the network sees is t times this."""
        return 1000 / len(self.schedule) if self.unstated.rescaled else 1.0

    @property
    def schedule(self) -> Schedule:
        """The noise schedule it was trained with."""
        n = self.unstated.timesteps or 1000
        if self.unstated.schedule == "cosine":
            return Schedule.cosine(n)
        return Schedule.linear(n, *self.beta_range)

    @property
    def beta_range(self) -> tuple[float, float]:
        """First and last beta of a linear schedule. ADM's code takes 1000 / n times those of 1000
        steps, so that n steps add as much noise."""
        adm = self.architecture.family == "adm"
        scale = 1000 / (self.unstated.timesteps or 1000) if adm else 1.0
        return 1e-4 * scale, 0.02 * scale


def understand(
    path: str | Path,
    preset: str | None = None,
    told: Unstated | None = None,
    part: str | None = None,
    mapped: bool = False,
) -> Original:
    """Read an original checkpoint file and find out what it is.

    Args:
        path: the file.
        preset: one of `PRESETS`, whose architecture the file must have; None: the one that has
            exactly this file's shapes, if there is one.
        told: what the user says of what the file does not state; it goes before the preset.
        part: which of several state dicts in the file, e.g. ``4`` or ``model``; None: the moving
            average (``ema``, or the last of a list), or the only one.
        mapped: see `hsl.files.checkpoints.read`.

    Raises:
        HslError: an unreadable file, no known family, a class-conditional network, tensors that
            are missing, unexpected or misshapen, a conflict with the preset, or something that must
            be told and was not.
    """
    path = Path(path)
    where, state = part_of(path, checkpoints.read(path, mapped), part)
    return of_state(state, str(path), preset, told, {"source": path.name, "part": where})


def of_state(
    state: Mapping[str, Tensor],
    name: str,
    preset: str | None = None,
    told: Unstated | None = None,
    about: Mapping[str, Any] | None = None,
) -> Original:
    """What `understand` makes of a state dict; ``name`` says in messages where it is from, and
    ``about`` is what is recorded of the file itself."""
    tensors, dropped = _denoisers(state, name)
    if any(key.startswith(_LABELS) for key in dropped):
        _require_untrained(name, preset, told)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    architecture = _architecture(name, shapes)
    preset, unstated = _facts(name, architecture, preset, told or Unstated())
    keys = _FAMILIES[architecture.family].key_map(architecture)
    targets = _targets(name, architecture, unstated)
    _check(name, shapes, keys, targets)
    require_side(name, unstated.image_size, len(architecture.mult))
    keys = {target: keys[target] for target in targets}
    record = dict(about or {}) | _record(architecture, preset, dropped, unstated)
    original = Original(name, tensors, architecture, unstated, keys, record)
    try:
        len(original.schedule)
    except ValueError as error:
        raise HslError(f"{name}: no {unstated.schedule} schedule of {unstated.timesteps} steps "
                       f"({error}); give --timesteps") from error  # fmt: skip
    return original


def _architecture(name: str, shapes: Shapes) -> Architecture:
    """What the keys and shapes of the file ``name`` say."""
    family = _FAMILIES["ddpm" if ddpm.MARK in shapes else "adm"]
    try:
        return family.infer(shapes)
    except KeyError as error:
        raise HslError(f"{name}: incomplete, without {error}; fetch it anew") from error
    except (IndexError, ZeroDivisionError) as error:
        raise HslError(f"{name}: its tensors have shapes that no U-Net has") from error
    except HslError as error:
        raise HslError(f"{name}: {error}") from error


def _targets(
    name: str, architecture: Architecture, unstated: Unstated
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of the diffusers U-Net that equals the file's."""
    try:
        return meta_unet(config(architecture, unstated))
    except HslError as error:
        raise HslError(f"{name}: {error}") from error
    except Exception as error:  # diffusers raises whatever an odd configuration makes it meet
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise HslError(f"{name}: no diffusers U-Net has its shapes ({reason})") from error


def _record(
    architecture: Architecture, preset: str | None, dropped: list[str], unstated: Unstated
) -> dict[str, Any]:
    """What was inferred, told and dropped, as JSON values."""
    record = {
        "family": architecture.family,
        "preset": preset,
        "dropped": sorted({key.split(".")[0] for key in dropped}),
        "learned_variance": architecture.out_channels == 2 * architecture.in_channels,
        **{k: v for k, v in vars(unstated).items() if v is not None},
    }
    if mixed_heads(architecture, unstated):
        record["mixed_heads"] = unstated.heads
    return record


def _denoisers(state: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], list[str]]:
    """The denoiser's tensors by their bare names, and the names of what is no part of it."""
    tensors: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if bare(key) in tensors:
            raise HslError(f"{name}: has {bare(key)} twice, with and without 'module.' or the "
                           "like; leave one network in it")  # fmt: skip
        tensors[bare(key)] = tensor
    tensors.pop(_COUNTER, None)
    dropped = [key for key in tensors if key.startswith(_STRAYS)]
    for key in dropped:
        del tensors[key]
    faults: dict[str, list[str]] = {}
    for key, value in tensors.items():
        # a network's parameters are not all that it computes with: its state_dict is
        odd = "parameters, not a state_dict's tensors" if isinstance(value, Parameter) else None
        if problem := odd or fault(value):
            faults.setdefault(problem, []).append(key)
    if faults:
        problem, keys = next(iter(faults.items()))
        raise HslError(f"{name}: {len(keys)} entries are {problem} ({listed(keys[:3])}); give the "
                       "state_dict, dense and not quantised")  # fmt: skip
    return tensors, dropped


def _require_untrained(name: str, preset: str | None, told: Unstated | None) -> None:
    """Refuse a class embedding, unless it is said never to have been trained."""
    known = PRESETS[preset].unstated if preset in PRESETS else Unstated()
    if not (told or Unstated()).filled(known).untrained_labels:
        raise HslError(
            f"{name}: class-conditional: its network was trained with label_emb, which hsl does "
            "not give it; take an unconditional model (256x256_diffusion_uncond.pt), or, if "
            "label_emb was never trained, as in files that Asyrp's code saved, say so to python -m "
            "hsl.convert by --untrained-labels"
        )


def meta_unet(arguments: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a diffusers U-Net, without making them."""
    with torch.device("meta"):
        state = UNet2DModel(**arguments).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _facts(
    name: str, architecture: Architecture, preset: str | None, told: Unstated
) -> tuple[str | None, Unstated]:
    """The preset that the file has, and what it leaves open as told, else as preset."""
    if preset is None:
        same = [n for n, p in PRESETS.items() if p.architecture == architecture]
        preset = same[0] if same else None  # the others are of the same shapes: by name alone
    elif preset not in PRESETS:
        raise HslError(f"preset {preset!r}: want one of {', '.join(PRESETS)}")
    else:
        mine, theirs = vars(architecture), vars(PRESETS[preset].architecture)
        differ = [f"{k} {mine[k]}, not {theirs[k]}" for k in mine if mine[k] != theirs[k]]
        if differ:
            raise HslError(f"{name}: not a {preset}: it has {'; '.join(differ)}")
    unstated = told.filled(PRESETS[preset].unstated) if preset else told
    if architecture.family == "ddpm":
        unstated = replace(unstated, qkv=None, heads=None, head_channels=None)
    if unstated.schedule and unstated.timesteps is None:
        unstated = replace(unstated, timesteps=1000)
    missing = unstated.missing(architecture.family)
    if missing:
        options = ", ".join("--" + m.replace(" or ", " or --") for m in missing).replace("_", "-")
        raise HslError(f"{name}: no preset has these shapes, which leave more than one model open: "
                       f"say {options} to python -m hsl.convert")  # fmt: skip
    return preset, unstated


def _check(
    name: str,
    shapes: Shapes,
    keys: KeyMap,
    targets: Mapping[str, Size | tuple[int, ...]],
) -> None:
    """Refuse a file that does not hold exactly what the U-Net needs."""
    needed = {
        keys[t].source: keys[t].shape(tuple(shape)) for t, shape in targets.items() if t in keys
    }
    problems = {
        "missing": [k for k in needed if k not in shapes] + [t for t in targets if t not in keys],
        "unexpected": [k for k in shapes if k not in needed],
        "misshapen": [
            f"{k} {list(shapes[k])} for {list(needed[k])}"
            for k in needed
            if k in shapes and tuple(shapes[k]) != needed[k]
        ],
    }
    faults = [f"{len(v)} {kind} ({listed(v[:3])})" for kind, v in problems.items() if v]
    if faults:
        raise HslError(f"{name}: does not fit its family: {'; '.join(faults)}; fetch it anew")
