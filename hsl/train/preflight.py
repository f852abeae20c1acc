"""What `hsl.train` fills in, and looks at, before anything is computed or written."""

import inspect
from collections.abc import Iterator
from pydoc import locate
from typing import Any, get_args, get_type_hints

from lightning import LightningDataModule

from hsl.data.items import DataModule
from hsl.errors import HslError
from hsl.files import require_writable_folder
from hsl.methods.base import Method
from hsl.methods.mixed import Mixed
from hsl.options import checks
from hsl.schema import Rule, optional

#: As Lightning's: -1 is for no end by this one.
_endless = Rule(
    "a whole number, 1 or more, or -1", lambda v: v == -1 or checks.at_least_one.fits(v)
)
#: What a verb goes through, of the trainer's limits.
_LIMITS = {
    "fit": ("limit_train_batches", "limit_test_batches"),
    "test": ("limit_test_batches",),
    "predict": ("limit_predict_batches",),
    "validate": (),
}


def complete(config: Any, verb: str) -> None:
    """Fill in what depends on other options. What a data module takes over from the method
    (`DataModule.follow`) is filled in here as well, so that the run's ``config.yaml`` says it."""
    if config.get("weights_only", True) is None:
        config.weights_only = True
    if verb == "validate" and config.trainer.limit_val_batches == 0:
        config.trainer.limit_val_batches = 1.0  # the default, 0, is for fit
    data, method = locate(config.data.class_path), locate(config.model.class_path)
    if not (inspect.isclass(data) and issubclass(data, DataModule)):
        return
    images = method.faces if inspect.isclass(method) and issubclass(method, Method) else {}
    attribute = config.model.get("init_args", {}).get("attribute")
    options = data.options_for(images, attribute if isinstance(attribute, str) else None)
    for name, value in options.items():
        if config.data.init_args.get(name, value) is None:
            config.data.init_args[name] = value


def check(config: Any, verb: str) -> None:
    """Check options that no class of hsl's checks.

    Raises:
        HslError: a seed out of range, a training of no epoch or step, no batches, a model or data
            module with null for an option that has to have a value.
    """
    if not isinstance(config.seed_everything, bool):
        checks.require("options", seed_everything=(config.seed_everything, checks.seed))
    trainer = config.trainer
    if verb == "fit":
        rules = {
            "max_epochs": _endless, "max_steps": _endless, "gradient_clip_val": checks.not_negative,
        }  # fmt: skip
        checks.require("trainer", **{k: (trainer[k], optional(rule)) for k, rule in rules.items()})
        if isinstance(trainer.max_time, str) and not trainer.max_time.strip("0:"):
            raise HslError(f"trainer: max_time is {trainer.max_time}: want more, or leave it out")
    for name in _LIMITS[verb]:
        if trainer[name] is not None:
            checks.require("trainer", **{name: (trainer[name], checks.above_zero)})
    for name in ("runs", "resume", "overwrite", "wandb"):
        if config[name] is None:
            raise HslError(f"{name} is null: give a value, or leave it out")
    for key in ("model", "data"):
        for name in _nulls(config[key]):
            raise HslError(f"{key}: {name} is null: give a value, or leave it out")


def check_made(config: Any, verb: str, method: Any, data: LightningDataModule | None) -> None:
    """Bring the images to the backbone's size, check that each split that is needed has images,
    and try the optimiser.

    Raises:
        HslError: another size was asked for, a split of none, a cache that cannot be written, or an
            optimiser or schedule that refuses its values.
    """
    if isinstance(method, Method):
        if (cache := method.store.folder) and not cache.is_dir():
            require_writable_folder(cache)
        if isinstance(data, DataModule):
            data.suit(method.backbone.image_size)
        if verb == "fit":
            method.try_optimizer(config.trainer.max_epochs)
    counts = getattr(data, "counts", {})
    for split, why in _needed(config, verb, method):
        if counts.get(split, 1) == 0:
            raise HslError(f"data: {split} is 0, and {why}: ask for one image or more")


def _needed(config: Any, verb: str, method: Any) -> Iterator[tuple[str, str]]:
    """The splits that a verb needs, and what for."""
    if verb == "fit":
        yield "train", "fit goes through the training images"
        if config.strength.guide is not None:
            yield "validation", "the strength is chosen on validation images"
        if config.trainer.limit_val_batches not in (None, 0):
            yield "validation", "limit_val_batches asks for validation"
        if isinstance(method, Mixed):
            yield "validation", "boundaries are measured on validation images"
    if verb == "validate":
        yield "validation", "validate measures on validation images"
    if verb in ("fit", "test"):
        yield "test", "what is found is measured on test images"


def _nulls(spec: Any) -> Iterator[str]:
    """Arguments of a class of hsl's that are null, and may not be."""
    kind: Any = locate(spec.class_path)
    if not inspect.isclass(kind) or not kind.__module__.startswith("hsl."):
        return
    hints: dict[str, Any] = {}
    for base in kind.__mro__:
        if "__init__" in vars(base) and base.__module__.startswith("hsl."):
            hints = (
                get_type_hints(vars(base)["__init__"]) | hints
            )  # a derived class's take precedence
    for name, value in spec.get("init_args", {}).items():
        if value is None and name in hints and not _takes_none(hints[name]):
            yield name


def _takes_none(hint: Any) -> bool:
    return hint is Any or type(None) in get_args(hint)
