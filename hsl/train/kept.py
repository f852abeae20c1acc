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
    """Writes ``config.yaml`` into the folder, whole or not at all: the options that were ``given``,
    so that they can be given again with others, and as comments those that were filled in."""

    def __init__(self, *arguments: Any, given: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.given = given

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write it, on the first rank."""
        text, complete = (self.parser.dump(c, skip_unset=False) for c in (self.given, self.config))
        stated, filled = (dict(resume.flat(parse_yaml(t))) for t in (text, complete))
        lines = [
            f"# filled in: {key}: {value}\n"
            for key, value in filled.items()
            if stated.get(key) is None and value is not None and key != "name"
        ]
        with replacing(run_folder(trainer) / self.config_filename) as temporary:
            temporary.write_text(text + "".join(lines), "utf-8")


def check_checkpoint(path: str | None, goes_on: bool = False) -> dict[str, Any]:
    """What a checkpoint holds; one that cannot be read is refused before anything is written.

    Args:
        path: of the file; None, or a word by which Lightning finds one: nothing is looked at.
        goes_on: whether a training goes on from it, which needs more than its weights.

    Raises:
        HslError: no such file, or it is damaged or holds code.
    """
    if path is None or path in ("last", "best", "hpc"):
        return {}
    checkpoint = checkpoints.read(path)
    if not isinstance(checkpoint, dict):
        raise HslError(f"{path}: no checkpoint of hsl's; give one of a run")
    try:
        about_of(checkpoint)
    except HslError as error:
        raise HslError(f"{path}: {error}") from error
    required = ["pytorch-lightning_version"]
    if goes_on:
        required += ["epoch", "global_step", "loops", "optimizer_states", "lr_schedulers"]
    if missing := [name for name in required if name not in checkpoint]:
        raise HslError(f"{path}: no whole checkpoint, {missing[0]} is missing; give one of a run")
    return checkpoint
