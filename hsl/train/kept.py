"""What a run keeps of its configuration, and the checkpoints that it is given."""

from typing import Any

import lightning as L
from lightning.pytorch.cli import SaveConfigCallback

from hsl.callbacks.common import run_folder
from hsl.errors import HslError
from hsl.files import checkpoints, replacing
from hsl.methods.checkpoint import about_of
from hsl.options.yamls import parse_yaml
from hsl.train import resume


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the folder, whole or not at all: what was ``given``, so that it
    can be given again with something else, and as a comment what was filled in."""

    def __init__(self, *arguments: Any, given: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.given = given

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write it, on the first rank."""
        text, whole = (self.parser.dump(c, skip_unset=False) for c in (self.given, self.config))
        said, filled = (dict(resume.flat(parse_yaml(t))) for t in (text, whole))
        lines = [
            f"# filled in: {key}: {value}\n"
            for key, value in filled.items()
            if said.get(key) is None and value is not None and key != "name"
        ]
        with replacing(run_folder(trainer) / self.config_filename) as temporary:
            temporary.write_text(text + "".join(lines), "utf-8")


def check_checkpoint(path: str | None, goes_on: bool = False) -> dict[str, Any]:
    """What a checkpoint holds; one that cannot be read is refused before anything is written.

    Args:
        path: of the file; None, or what Lightning finds by a word: nothing is looked at.
        goes_on: whether a training goes on from it, which needs more than its weights.

    Raises:
        HslError: no such file, or it is damaged or holds code.
    """
    if path is None or path in ("last", "best", "hpc"):
        return {}
    found = checkpoints.read(path)
    if not isinstance(found, dict):
        raise HslError(f"{path}: no checkpoint of hsl's; give one of a run")
    try:
        about_of(found)
    except HslError as error:
        raise HslError(f"{path}: {error}") from error
    needed = ["pytorch-lightning_version"]
    if goes_on:
        needed += ["epoch", "global_step", "loops", "optimizer_states", "lr_schedulers"]
    if missing := [name for name in needed if name not in found]:
        raise HslError(f"{path}: no whole checkpoint, {missing[0]} is missing; give one of a run")
    return found
