"""Which options of ``python -m hsl.edit`` go together."""

import argparse

from hsl.edit.options import OUT, parser
from hsl.errors import HslError

#: The first option means something only beside one of the second.
_NEEDS = {
    "as_released": ("boundary",),
    "keep": ("direction", "boundary"),
    "scaled": ("direction",),
    "gamma": ("content",),
    "profile": ("direction",),
    "cosine": ("profile",),
    "edit_threshold": ("profile",),
    "boost_threshold": ("profile",),
    "mask": ("direction", "content"),
    "injection": ("direction",),
    "t_start": ("direction", "content"),
    "dt_lambda": ("direction", "content"),
    "dt_end": ("dt_lambda", "content"),
    "invert_steps": ("images", "content"),
    "overall": ("save_mean",),
}
#: The first option does a job of its own, in which the second ones have no part.
_EXCLUDES = {
    "save_mean": ("boundary", "content", "interpolate", "record", "out", "injection", "mask",
                  "eta", "dt_lambda"),
    "as_released": ("keep", "t_edit", "t_boost"),
}  # fmt: skip
#: Options that go with --replay. (--steps and --batch are accepted and change nothing.)
_REPLAYED = ("replay", "backbone", "out", "device", "speed", "steps", "batch", "overwrite")
_NAMES = {"overall": "--global", "images": "images"}


def contradictions(options: argparse.Namespace) -> None:
    """Refuse options that do not go together, or without others; fill in the folder and eta.

    Raises:
        HslError: these are.
    """
    if options.eta == 0 and not options.as_released:
        options.eta = None  # the default, so it goes with everything
    given = _given(options)
    if options.replay:
        more = [_option(name).lstrip("-") for name in given if name not in _REPLAYED]
        if more:
            raise HslError(f"--replay does what its record says: leave out {', '.join(more)}")
    else:
        if len({"direction", "boundary", "content"} & set(given)) != 1:
            raise HslError("give --direction, --boundary or --content, one of the three; "
                           "e.g. --direction Smiling")  # fmt: skip
        if bool(options.images) == bool(options.seeds):
            raise HslError("give images or --seeds, one of the two")
        for name in given:
            partners = _NEEDS.get(name, (name,))
            if not set(partners) & set(given):
                raise HslError(f"{_option(name)} goes with {' or '.join(map(_option, partners))}")
            for excluded in _EXCLUDES.get(name, ()):
                if excluded in given:
                    raise HslError(f"{_option(name)} goes without {_option(excluded)}")
    for name in ("steps", "invert_steps"):
        steps = getattr(options, name)
        if steps is not None and steps < 2:
            raise HslError(f"{_option(name)} {steps}: want at least 2")
    if options.batch < 1:
        raise HslError(f"--batch {options.batch}: want at least 1")
    options.out = options.out or OUT
    if options.eta is None:
        options.eta = 1.0 if options.as_released else 0.0


def _given(options: argparse.Namespace) -> list[str]:
    """Names of the options that are not at their defaults."""
    values = vars(options)
    plain = vars(parser().parse_args([]))
    return [name for name, value in values.items() if value != plain[name]]


def _option(name: str) -> str:
    return _NAMES.get(name, f"--{name.replace('_', '-')}")
