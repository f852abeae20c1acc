"""What a method refuses of a trainer, and where its numbers are computed."""

import multiprocessing
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy

from hsl.errors import HslError
from hsl.methods.features import Sample
from hsl.methods.linear import Linear
from hsl.methods.surroundings import require_strategy
from hsl.solvers import Ridge
from runs import asyrp, saved_backbone


def test_a_network_is_not_split_up(tmp_path) -> None:
    """Asked before anything else is done of a run."""
    method = asyrp(saved_backbone(tmp_path / "backbone"))
    method.trainer = SimpleNamespace(strategy=FSDPStrategy(), callbacks=[])
    with pytest.raises(HslError, match=r"FSDPStrategy.*give strategy ddp"):
        method.configure_callbacks()


def test_ranks_are_processes_of_their_own(monkeypatch) -> None:
    launched = DDPStrategy()
    launched._launcher = object()
    require_strategy(SimpleNamespace(strategy=launched))
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "the process that spawned this")
    require_strategy(SimpleNamespace(strategy=DDPStrategy()))  # torchrun has started it
    require_strategy(SimpleNamespace(strategy=SingleDeviceStrategy("cpu")))
    with pytest.raises(HslError, match="ddp_spawn"):
        require_strategy(SimpleNamespace(strategy=launched))


class OnMetal(Linear):
    """On a device that is not here, and that lacks float64."""

    @property
    def device(self) -> torch.device:
        return torch.device("mps")


def test_float64_stays_on_the_cpu(tmp_path) -> None:
    """Were the features asked for on the device, this would fail where there is none."""
    seen = []

    class Watched(Ridge):
        def __call__(self, gram, labels, *rest, **names):
            seen.append((gram.device.type, gram.dtype, labels.device.type))
            return super().__call__(gram, labels, *rest, **names)

    method = OnMetal(solver=Watched(), backbone=saved_backbone(tmp_path / "b"), steps=6,
                     timesteps=[200], attributes=["Smiling"])  # fmt: skip
    method.directions["Smiling"] = method._blank()
    method.labelled = ["Smiling"]
    keys, g = [f"{i}" for i in range(8)], torch.Generator().manual_seed(0)
    shapes = {"x": method.backbone.x_shape, "h": method.backbone.h_shape}
    t = method.timesteps[0]
    records = [{f"{s}.{t}": torch.randn(shape, generator=g) for s, shape in shapes.items()}
               for _ in keys]  # fmt: skip
    method.store.ensure(keys, lambda rows: [records[i] for i in rows], {}, {})
    samples = [Sample(i, torch.tensor([1.0 - 2 * (i % 2)]), key) for i, key in enumerate(keys)]
    method.fit_boundaries(samples)
    assert seen == [("cpu", torch.float64, "cpu")] * 2
    assert {f.accuracy.device.type for f in method.held_out(samples).values()} == {"cpu"}
