"""What a method keeps in checkpoints: its directions and how they are used."""

from typing import Any

from torch import nn

from hsl.directions import Direction, build
from hsl.errors import HslError
from hsl.methods.checkpoint import about_of
from hsl.methods.inverting import Inverting


class Kept(Inverting):
    """Directions, and how they are used, in and out of checkpoints; the attributes are
    `hsl.methods.base.Method`'s."""

    directions: nn.ModuleDict
    strengths: dict[str, float]
    guides: dict[str, str]
    t_edit: int | None
    t_start: int | None
    t_boost: int | None
    t_edits: dict[str, int]
    trained_in: int | None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the directions, and how they are used; leave the frozen networks out."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if k.startswith("directions.")}
        checkpoint["hsl"] = {
            "backbone_hash": self.backbone.hash,
            "directions": {
                name: direction.config()  # type: ignore[operator]  # a Direction
                for name, direction in self.directions.items()
            },
            "steps": self.trained_in or len(self.grid),
            "t_edit": self.t_edit,
            "t_edits": self.t_edits,
            "t_start": self.t_start,
            "t_boost": self.t_boost,
            "strengths": self.strengths,
            "guides": self.guides,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up strengths, and t_edit, t_start and t_boost where they are not given.

        Raises:
            HslError: the checkpoint is damaged, was made with another backbone, lacks a direction,
                or has another kind of it.
        """
        about = about_of(checkpoint)
        if about["backbone_hash"] != self.backbone.hash:
            raise HslError(f"this checkpoint was not made with backbone {self.backbone.name}")
        for name, config in about.get("directions", {}).items():
            self._take_shape(name, config)
        names = {k for k in self.state_dict() if k.startswith("directions.")}
        missing = names - set(checkpoint["state_dict"])
        if missing:
            raise HslError(f"this checkpoint lacks {', '.join(sorted(missing)[:3])}")
        self.t_edit = about["t_edit"] if self.t_edit is None else self.t_edit
        self.t_edits = about.get("t_edits", {})
        self.t_boost = about["t_boost"] if self.t_boost is None else self.t_boost
        self.t_start = about["t_start"] if self.t_start is None else self.t_start
        self.strengths = about["strengths"]
        self.guides |= about.get("guides", {})
        self.trained_in = about.get("steps")

    def _take_shape(self, name: str, config: dict[str, Any]) -> None:
        """Give direction ``name`` the shape of the checkpoint's: of tensors for each timestep there
        are as many as timesteps that it was fitted at."""
        if name not in self.directions:
            return
        direction = self.directions[name]
        assert isinstance(direction, Direction)
        if config["kind"] != direction.kind:
            raise HslError(
                f"this checkpoint's {name} is of kind {config['kind']}, not {direction.kind}"
            )
        if config != direction.config():
            self.directions[name] = build(config).to(self.device)
