"""Writes the directions of a fit to files."""

import lightning as L

from hsl.callbacks.common import method_of, run_folder
from hsl.directions import Direction
from hsl.names import file_stem


class Directions(L.Callback):
    """Writes ``directions/<name>.safetensors`` into the run folder when the fit ends."""

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Export every direction with its strength. The strength is chosen earlier, when training
        ends, whatever the order of the callbacks."""
        method = method_of(pl_module)
        if not trainer.is_global_zero:
            return
        for name, direction in method.directions.items():
            assert isinstance(direction, Direction)
            path = run_folder(trainer) / "directions" / f"{file_stem(name)}.safetensors"
            direction.save(path, **method.about(name))
