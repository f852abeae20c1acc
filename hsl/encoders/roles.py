"""Guides and judges: who may train an edit, and who may measure it.

A number is only worth reporting if the network behind it had no part in making the edit. Every
frozen network that looks at images therefore carries a ``role``.
"""

from typing import Literal, Protocol, runtime_checkable

from hsl.errors import HslError

Role = Literal["guide", "judge"]


@runtime_checkable
class HasRole(Protocol):
    """A frozen network with a role."""

    role: Role


def require_guide(network: HasRole, where: str) -> None:
    """Refuse a judge where a loss, an annotation or a choice is made.

    Raises:
        HslError: ``network`` is a judge.
    """
    if network.role != "guide":
        name = type(network).__name__
        raise HslError(f"{where}: a judge ({name}) may only measure; use a guide here")


def require_judge(network: HasRole, where: str) -> None:
    """Refuse a guide where a figure is measured.

    Raises:
        HslError: ``network`` is a guide.
    """
    if network.role != "judge":
        name = type(network).__name__
        raise HslError(f"{where}: a guide ({name}) helped to make the edit; use a judge here")
