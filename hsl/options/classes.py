"""Which classes and functions an option may name by their import path."""

import dataclasses
import inspect
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, get_type_hints

import lightning as L
import torch
from jsonargparse import _actions, _parameter_resolvers, _signatures, _typehints
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment, Precision
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch import nn

from hsl.errors import HslError
from hsl.names import meant

REFUSAL = "no class that an option can stand for"
#: What options stand for, besides hsl's own classes and data classes.
_BASES = (
    nn.Module,
    torch.optim.Optimizer,
    torch.optim.lr_scheduler.LRScheduler,
    torch.optim.lr_scheduler.ReduceLROnPlateau,
    L.LightningDataModule,
    L.Callback,
    Logger,
    Strategy,
    Accelerator,
    Precision,
    ClusterEnvironment,
    CheckpointIO,
    LayerSync,
    Profiler,
    torch.dtype,
    torch.device,
)
_import: Callable[..., Any] = _typehints.import_object  # type: ignore[attr-defined]
_path: Callable[[Any], str | None] = _typehints.get_import_path  # type: ignore[attr-defined]


def named(path: str, *how: Any, **more: Any) -> Any:
    """What an import path names: a class that an option can stand for (of PyTorch, Lightning, hsl,
    or one derived from them), an instance of it, or a function that says it returns one. A
    module of the standard library is not even imported.

    Raises:
        HslError: it names anything else, such as a function that would run a command.
    """
    if path.partition(".")[0] in sys.stdlib_module_names:
        raise _refusal(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jsonargparse warns of what is refused below
        try:
            value = _import(path, *how, **more)
        except (AttributeError, ValueError) as error:
            near = meant(path.rpartition(".")[2], _beside(path))
            raise type(error)(f"{error}{near}") from error
    if inspect.isroutine(value):
        allowed = _is_ours(_returned(value))
    else:
        allowed = _is_ours(value if inspect.isclass(value) else type(value))
    if not allowed:
        raise _refusal(path)
    return value


def _beside(path: str) -> list[str]:
    """Names that a path might have meant: of its module; without one, of hsl's classes."""
    module, dot, _ = path.rpartition(".")
    if dot:
        return dir(sys.modules[module]) if module in sys.modules else []
    kinds, names = list(_BASES), []
    for kind in kinds:  # the list grows meanwhile
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("hsl."):
            names.append(kind.__name__)
    return names


def path_of(value: Any) -> str | None:
    """The import path by which files name a class or function: the shortest, which jsonargparse
    takes; but what ``import hsl`` offers under its name keeps the path in its own package, by which
    earlier files name it."""
    path = _path(value)
    if path is None or not path.startswith("hsl.") or path.count(".") > 1:
        return path
    modules, name = str(value.__module__).split("."), path.partition(".")[2]
    packages = (".".join(modules[:n]) for n in range(2, len(modules) + 1))
    return next(
        f"{package}.{name}"
        for package in packages
        if getattr(import_module(package), name, None) is value
    )


def guard_jsonargparse() -> None:
    """Let jsonargparse look up by `named` whatever a value names, and name by `path_of` what it
    writes. No public option does so in all the versions that hsl runs with."""
    for module in (_typehints, _actions):
        module.import_object = named  # type: ignore[attr-defined]
    for module in (_typehints, _actions, _parameter_resolvers, _signatures):
        module.get_import_path = path_of  # type: ignore[attr-defined]


def _is_ours(kind: Any) -> bool:
    if not inspect.isclass(kind):
        return False
    is_hsl = any(base.__module__.partition(".")[0] == "hsl" for base in kind.__mro__)
    return is_hsl or issubclass(kind, _BASES) or dataclasses.is_dataclass(kind)


def _returned(function: Any) -> Any:
    """The class that a function says it returns; None: it does not say."""
    try:
        return get_type_hints(function).get("return")
    except Exception:  # hints that cannot be resolved, of whatever kind
        return None


def _refusal(path: str) -> HslError:
    return HslError(f"{path}: {REFUSAL}; name a model, data module, solver, optimizer, schedule, "
                    "callback, logger or strategy")  # fmt: skip
