"""What an edit does to the attributes of a face, as a judge sees it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hsl.confidence import largest
from hsl.data.domains import excluded_by
from hsl.encoders.roles import Role
from hsl.errors import HslError
from hsl.metrics.base import PerSample, check_images, on_device, unregistered
from hsl.names import meant
from hsl.ranks import of_first


class AttributeJudge(Protocol):
    """A frozen attribute classifier, as `hsl.encoders.attributes.AttributeClassifier`."""

    role: Role

    @property
    def names(self) -> Sequence[str]:
        """The attributes, in the order of the outputs."""

    def probabilities(self, images: Tensor) -> Tensor:
        """Probabilities ``[B, A]`` in [0, 1] of images ``[B, 3, S, S]`` in [-1, 1]."""


class AttributeChange(PerSample):
    """Effect of an edit on its target, and on the attributes that it should leave alone.

    An attribute is judged present where its probability is at least 0.5. Comparable attributes
    are all but the target and ``excluded``.

    Args:
        judge: attribute classifier with role judge.
        target: the attribute that the edit is to bring about.
        value: 1 to bring the target about, 0 to take it away; ``target_*`` and ``effect`` are
            then about its absence.
        excluded: attributes that cannot be compared, shown apart. Default: what the
            domain of the judge's attributes says (`hsl.data.domains.excluded_by`).
        role: that ``judge`` must have: ``guide`` for figures by which something is chosen.

    Raises:
        HslError: another role; a target or excluded attribute that the judge does not know; a value
            other than 0 and 1.
    """

    def __init__(
        self,
        judge: AttributeJudge,
        target: str,
        value: int = 1,
        excluded: Collection[str] | None = None,
        role: Role = "judge",
        **kwargs: Any,
    ) -> None:
        self.names = tuple(judge.names)
        super().__init__(columns=2 * len(self.names), **kwargs)
        self._judge = unregistered(judge, type(self).__name__, role)
        if excluded is None:
            excluded = excluded_by(target, self.names)
        for name in (target, *excluded):
            if name not in self.names:
                known = ", ".join(self.names)
                raise HslError(f"attribute {name!r}: the judge knows only {known}"
                               f"{meant(name, self.names)}")  # fmt: skip
        if value not in (0, 1):
            raise HslError(f"{target}={value}: an attribute is set to 0 or 1")
        self.target, self.value = self.names.index(target), value
        self.excluded = [name for name in self.names if name in excluded and name != target]
        self.others = [n for n in self.names if n != target and n not in self.excluded]

    def update(self, before: Tensor, after: Tensor, index: Tensor) -> None:
        """Judge source images and edited images ``[B, 3, S, S]``, float in [-1, 1], of faces
        ``index [B]``."""
        before, after = check_images("AttributeChange", before=before, after=after)
        judge = on_device(self._judge[0], before.device)
        pair = [judge.probabilities(before), judge.probabilities(after)]
        self.add(index, torch.cat(pair, dim=1))

    def each(self, values: Tensor) -> Mapping[str, Tensor]:
        """``target_before``, ``target_after``: whether it is judged to have the target; ``effect``:
        change of its probability; ``kept``: whether every comparable attribute stays on its side
        of 0.5; ``leakage``: mean absolute change of a comparable attribute's probability."""
        before, after = values.chunk(2, dim=1)
        was, now = before >= 0.5, after >= 0.5
        others = self._columns(self.others)
        sign = 1 if self.value else -1
        return {
            "target_before": was[:, self.target] == bool(self.value),
            "target_after": now[:, self.target] == bool(self.value),
            "effect": (after - before)[:, self.target] * sign,
            "kept": (was == now)[:, others].all(1),
            "leakage": (after - before)[:, others].abs().mean(1),
        }

    def table(self) -> dict[str, Tensor]:
        """Also ``leakage.NAME``, the absolute change of each comparable attribute."""
        with self.sync_context():
            changes = self._changes()
        apart = {f"leakage.{name}": changes[:, self.names.index(name)] for name in self.others}
        return super().table() | apart

    def compute(self) -> dict[str, Any]:
        """The means of `each`; ``leakage_worst``, the largest mean absolute change of a comparable
        attribute (its interval is that of the largest, whichever it be), and
        ``leakage_worst_attribute``, its name; apart, not counted in the others, ``excluded``: the
        mean absolute change of each excluded attribute. ``x_ci`` is the interval of ``x``."""
        figures = super().compute()
        changes = self._changes()
        if self.others:
            columns = self._columns(self.others)
            means = changes[:, columns].mean(0)
            figures |= {"leakage_worst": means.max().item()}
            figures |= {"leakage_worst_ci": of_first(lambda: largest(changes[:, columns], 0))}
            figures |= {"leakage_worst_attribute": self.others[int(means.argmax())]}
        apart = self._columns(self.excluded)
        excluded = zip(self.excluded, changes[:, apart].mean(0).tolist(), strict=True)
        return figures | {"excluded": dict(excluded)}

    def _changes(self) -> Tensor:
        """Absolute change ``[N, A]`` of every attribute's probability."""
        before, after = self.samples()[1].chunk(2, dim=1)
        return (after - before).abs()

    def _columns(self, names: Sequence[str]) -> list[int]:
        return [self.names.index(name) for name in names]
