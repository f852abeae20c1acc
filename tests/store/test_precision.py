"""What is kept does not depend on the precision of what surrounds it."""

from pathlib import Path

import pytest
import torch

from hsl.backbones import Speed, load
from hsl.callbacks import Directions, Evaluate, Strength
from hsl.directions import Direction
from hsl.store import Store
from hsl.store.precision import stated
from runs import asyrp, faces, saved_backbone, trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def kept(folder: str, path: Path, precision: str) -> dict[str, dict[str, torch.Tensor]]:
    """The records of a fit, by key."""
    method = asyrp(folder, cache=str(path / "cache"))
    trainer(path, precision=precision).fit(method, datamodule=faces(2))
    keys = [file.stem for file in (path / "cache").rglob("*.safetensors")]
    found = {key: method.store.get(key) for key in keys}
    assert keys and all(record is not None for record in found.values())
    return found  # type: ignore[return-value]


def test_a_mixed_precision_run_keeps_what_a_float32_run_does(folder: str, tmp_path: Path) -> None:
    """bf16-mixed's autocast would reach into the inversion, and its x_T be served to others."""
    plain, mixed = (kept(folder, tmp_path / p, p) for p in ("32-true", "bf16-mixed"))
    assert plain.keys() == mixed.keys()
    for key, record in plain.items():
        for name, tensor in record.items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, mixed[key][name]), name


def test_a_store_computes_without_autocast_and_in_exact_products() -> None:
    def compute(rows: list[int]) -> list[dict[str, torch.Tensor]]:
        assert torch.get_float32_matmul_precision() == "highest"
        return [{"x": torch.ones(4, 4) @ torch.ones(4, 4)}]

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            (record,) = Store().many(["a"], compute)
            Store().ensure(["a"], compute)
            assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == torch.bfloat16
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert record["x"].dtype == torch.float32


def test_stated_leaves_what_a_backbone_asks_for(folder: str) -> None:
    """A backbone that is to run in bfloat16 does so, and its key says it."""
    plain, fast = load(folder), load(folder).run_with(Speed(bfloat16=True))
    x = torch.randn(1, *plain.x_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), stated():
        there = [net.decode(net.encode(x, 500)) for net in (plain, fast)]
    with torch.no_grad():
        assert torch.equal(there[0], plain.decode(plain.encode(x, 500)))
        assert torch.equal(there[1], fast.decode(fast.encode(x, 500)))
    assert not torch.equal(*there)


def test_the_key_says_the_precision(folder: str) -> None:
    net = load(folder)
    keys = {net.key, net.run_with(Speed(bfloat16=True)).key, load(folder).to(torch.bfloat16).key,
            load(folder).double().key}  # fmt: skip
    assert keys == {f"{net.hash}-float32", f"{net.hash}-bfloat16", f"{net.hash}-float64"}


def test_a_run_whose_weights_are_cast_goes_through(folder: str, tmp_path: Path) -> None:
    """The method's own networks are in bfloat16, the judges beside it in float32."""
    method, data = asyrp(folder), faces(2)
    callbacks = Strength(strengths=[1.0], resize=True), Directions(), Evaluate(resize=True)
    run = trainer(tmp_path, *callbacks, precision="bf16-true")
    run.fit(method, datamodule=data)
    run.test(method, datamodule=data, verbose=False)
    assert method.backbone.dtype == method.clip.dtype == torch.bfloat16
    assert Direction.load(tmp_path / "directions" / "Smiling.safetensors", load(folder))
    assert (tmp_path / "summary.json").is_file()
