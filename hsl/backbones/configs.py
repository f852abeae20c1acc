"""What the JSON files of a model's folder say: numbers within bounds, a network, a schedule."""

import json
import math
from pathlib import Path
from typing import Any

from hsl.backbones.architecture import LONGEST
from hsl.backbones.schedule import Schedule
from hsl.errors import HslError
from hsl.files import read_text
from hsl.schema import Rule, check, flag, listed, number, one_of, optional, whole

#: Bounds of every whole number in a network's configuration, and of the length of every list:
#: far beyond any model, and near enough that what lies beyond costs nothing to refuse.
_LARGEST, _LONGEST = 2**53, 32
#: Of those that count modules, which are made one by one.
_REPEATS = ("layers_per_block", "num_attention_blocks")
#: What no tensor's shape would contradict, and diffusers takes as it comes.
_SETTINGS: dict[str, Rule] = {
    "attention_head_dim": optional(whole(1)),
    "center_input_sample": flag(),
    "downsample_padding": whole(0, 1),
    "dropout": number(0, 1),
    "flip_sin_to_cos": flag(),
    "freq_shift": number(),
    "lookup_from_codebook": flag(),
    "mid_block_scale_factor": Rule("a number other than 0", lambda v: number().fits(v) and v != 0),
    "norm_eps": number(0, 1),
}
#: What diffusers writes of a schedule, as far as it changes it.
_SCHEDULE: dict[str, Rule] = {
    "num_train_timesteps": whole(2, LONGEST),
    "beta_start": number(),
    "beta_end": number(),
    "beta_schedule": one_of("linear", "scaled_linear", "squaredcos_cap_v2"),
    "trained_betas": optional(listed(number(0, 1))),
    "use_flow_sigmas": Rule("false: hsl follows noise, no flow", lambda v: v in (False, None)),
    "snr_shift_scale": Rule("1: hsl shifts no schedule", lambda v: v in (1, None)),
}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object.

    Raises:
        HslError: it cannot be read, or holds something else.
    """
    try:
        about = json.loads(read_text(path, "a JSON file"))
    except (ValueError, OSError, RecursionError) as error:
        raise HslError(f"{path}: not a readable JSON file ({error}); fetch it anew") from error
    if not isinstance(about, dict):
        raise HslError(f"{path}: holds no JSON object; fetch it anew")
    return about


def network(folder: Path, *kinds: str) -> dict[str, Any]:
    """The configuration of a network of one of these diffusers classes.

    Raises:
        HslError: there is none, it is of another class, or its numbers are beyond any network's.
    """
    path = folder / "config.json"
    if not path.exists():
        raise HslError(f"{folder}: no config.json; want a {kinds[0]} saved by save_pretrained")
    config = read_json(path)
    if config.get("_class_name") not in kinds:
        raise HslError(f"{folder}: holds a {config.get('_class_name')}, not a {' or '.join(kinds)}")
    for key, value in config.items():
        values = value if isinstance(value, list) else [value]
        bound = _LONGEST if key in _REPEATS else _LARGEST
        numbers = [v for v in values if isinstance(v, int | float)]
        if len(values) > _LONGEST or any(not -bound <= v <= bound for v in numbers):
            raise HslError(f"{path}: {key} is {str(value)[:40]}, which no {kinds[0]} has; fetch it "
                           "anew")  # fmt: skip
    try:
        return check(config, _SETTINGS)
    except ValueError as error:
        raise HslError(f"{path}: {error}; fetch it anew") from error


def schedule(folder: Path) -> Schedule:
    """The noise schedule of a folder with ``scheduler/``, or with its file beside the others.

    Raises:
        HslError: there is none, or one that hsl cannot follow.
    """
    paths = (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json")
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        raise HslError(f"{folder}: no scheduler_config.json, so the noise schedule is unknown; put "
                       "that of its training there")  # fmt: skip
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
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise HslError(f"{path}: describes no noise schedule ({reason})") from error


def _scheduled(about: dict[str, Any]) -> Schedule:
    """The schedule of a diffusers scheduler's configuration."""
    check(about, _SCHEDULE)
    betas, n = about.get("trained_betas"), about["num_train_timesteps"]
    if betas is not None:
        if len(betas) != n:
            raise ValueError(f"{len(betas)} trained_betas for {n} timesteps")
        return Schedule(betas)
    kind = about.get("beta_schedule", "linear")
    if kind == "squaredcos_cap_v2":
        return Schedule.cosine(n)
    make = Schedule.linear if kind == "linear" else Schedule.scaled_linear
    return make(n, float(about["beta_start"]), float(about["beta_end"]))


def positive(about: dict[str, Any], key: str, where: Path) -> float | None:
    """The positive number under ``key`` of the JSON file ``where``; None: there is none."""
    value = about.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise HslError(f"{where}: {key} is {value!r}; want a positive number")
    return value


def count(about: dict[str, Any], key: str, where: Path) -> int | None:
    """The positive whole number under ``key``; None: there is none."""
    value = positive(about, key, where)
    if value is not None and value != int(value):
        raise HslError(f"{where}: {key} is {value!r}; want a whole number")
    return None if value is None else int(value)
