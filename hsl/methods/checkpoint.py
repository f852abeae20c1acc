"""What a checkpoint says of a method's directions, checked before anything is made by it."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from hsl.directions import require_fit
from hsl.errors import HslError
from hsl.schema import (
    LAST_T,
    Rule,
    anything,
    check,
    grid,
    listed,
    number,
    optional,
    table,
    text,
    timestep,
    whole,
)

RULES: dict[str, Rule] = {
    "backbone_hash": text(),
    "directions": table(anything()),  # `require_fit` checks each
    "steps": whole(1, LAST_T),
    "t_edit": optional(timestep),
    "t_edits": table(timestep),
    "t_start": optional(timestep),
    "t_boost": optional(timestep),
    "strengths": table(number(-1e6, 1e6)),
    "grid": grid,
    "t": optional(timestep),
    "data_hash": optional(text()),
    "seen": listed(whole()),
}
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}((a|b|rc|\.post|\.dev)\d{1,9})?(\+\w+)?\Z", re.ASCII)
#: What Lightning keeps beside it, in types that Lightning takes for granted.
_PARTS: dict[str, Rule] = {
    "epoch": whole(),
    "global_step": whole(),
    "pytorch-lightning_version": Rule(
        "a version of Lightning", lambda v: isinstance(v, str) and _VERSION.match(v) is not None
    ),
    "loops": table(table(anything())),
    "callbacks": table(table(anything())),
    "optimizer_states": listed(
        Rule(
            "an optimiser's state",
            lambda v: (
                v == {}  # of a closed form, which has none
                or (
                    isinstance(v, dict)
                    and isinstance(v.get("state"), dict)
                    and listed(table(anything())).fits(v.get("param_groups"))
                )
            ),
        )
    ),
    "lr_schedulers": listed(table(anything())),
}
_ALWAYS = ("backbone_hash", "t_edit", "t_boost", "t_start", "strengths")


def about_of(checkpoint: Mapping[str, Any], required: Collection[str] = ()) -> dict[str, Any]:
    """What a checkpoint says of its directions, whose tensors fit their configurations.

    Args:
        checkpoint: what the file holds.
        required: names that must be there, besides those of all methods.

    Raises:
        HslError: it was not saved by hsl, or is damaged.
    """
    state = checkpoint.get("state_dict")
    if not isinstance(state, dict) or not all(isinstance(k, str) for k in state):
        raise HslError("no checkpoint of hsl's: it has no state_dict; give one of a run")
    try:
        check(dict(checkpoint), _PARTS)
        about = check(checkpoint.get("hsl"), RULES, [*_ALWAYS, *required])
        for name, config in about.get("directions", {}).items():
            prefix = f"directions.{name}."
            tensors = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            if strange := [k for k, v in tensors.items() if not isinstance(v, Tensor)]:
                raise ValueError(f"{prefix}{strange[0]} is no tensor")
            check(config, {"kind": text()}, ["kind"])
            if tensors:  # a direction without any is refused where it is taken up
                require_fit(config, tensors)
            if {} in checkpoint.get("optimizer_states", ()) and config["kind"] != "boundary":
                raise ValueError(f"optimizer_states is empty, and {name} was trained by steps")
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, OverflowError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        message = f"no checkpoint of hsl's, or a damaged one ({reason}); give another"
        raise HslError(message) from error
    return about
