"""Guides and judges: who may train an edit or choose for it, and who may measure it.

A number is only worth reporting if the network behind it had no part in making the edit. Every
frozen network that looks at images therefore carries a ``role``, and says what images it is for.
"""

import hashlib
from typing import Literal, Protocol, runtime_checkable

from torch import nn

from hsl.errors import HslError
from hsl.files.tensors import raw

Role = Literal["guide", "judge"]


@runtime_checkable
class HasRole(Protocol):
    """A frozen network with a role.

    It may also say what images it is for: ``domain``, what they are of (such as drawn faces),
    and ``size``, their height and width in pixels. Where one is missing or None, any will do.
    """

    role: Role


def require_guide(network: object, where: str) -> None:
    """Refuse a judge where a loss, an annotation or a choice is made.

    Raises:
        HslError: ``network`` is a judge, or does not say what it is.
    """
    name = type(network).__name__
    if not isinstance(network, HasRole):
        raise HslError(f"{where}: {name} has no role; give it one, role = 'guide', if no figure is "
                       "measured by it")  # fmt: skip
    if network.role != "guide":
        raise HslError(f"{where}: a judge ({name}) may only measure; use a guide here")


def require_judge(network: HasRole, where: str) -> None:
    """Refuse a guide where a figure is measured.

    Raises:
        HslError: ``network`` is a guide.
    """
    if network.role != "judge":
        name = type(network).__name__
        raise HslError(f"{where}: a guide ({name}) helped to make the edit; use a judge here")


def unsuited(network: object, domain: str | None, size: int | None) -> str | None:
    """Why a network is not for some images; None if it is for them, or does not say.

    Args:
        network: that may have a ``domain`` and a ``size``.
        domain: what the images are of; None: not known.
        size: their height and width in pixels; None: of no matter here.
    """
    own_domain, own_size = getattr(network, "domain", None), getattr(network, "size", None)
    if own_domain is not None and domain != own_domain:
        return f"is for images of {own_domain}, and these are {_of(domain)}"
    if own_size is not None and size is not None and size != own_size:
        return f"is for images of {own_size} pixels, and these have {size}"
    return None


def fingerprint(network: nn.Module) -> str:
    """16 hexadecimal digits of a network's weights: networks with the same ones are one network,
    whatever they are called."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(raw(tensor))
    return digest.hexdigest()[:16]


def _of(domain: str | None) -> str:
    return "of something else, as far as is known" if domain is None else f"of {domain}"
