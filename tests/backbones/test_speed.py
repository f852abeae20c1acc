"""What is computed how often, and what changes the time of it but not the outcome."""

import copy
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

from hsl.backbones import PLAIN, Backbone, Bottleneck, Speed
from hsl.backbones import speed as speed_module
from hsl.directions import ImplicitFunction, Shift
from hsl.errors import HslError
from hsl.process import Edit, invert, last, reverse
from hsl.train.command import main
from runs import asyrp, faces, saved_backbone, trainer
from tiny import backbone

OPTIONS = (Speed(bfloat16=True), Speed(channels_last=True), Speed(checkpoint=True))


def x_of(n: int) -> torch.Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("speed", OPTIONS, ids=str)
def test_an_option_leaves_what_a_pass_says(speed: Speed) -> None:
    plain, net = backbone(), backbone().run_with(speed)
    tolerance = 0.03 if speed.bfloat16 else 1e-5
    b, reference = net.encode(x_of(2), 500), plain.encode(x_of(2), 500)
    eps, wanted = net.decode(b), plain.decode(reference)
    assert b.h.dtype == b.temb.dtype == eps.dtype == torch.float32
    for found, want in ((b.h, reference.h), (eps, wanted)):
        assert (found - want).norm() <= tolerance * want.norm()
    assert net.hash == plain.hash and (net.key == plain.key) != speed.bfloat16
    assert copy.deepcopy(net).speed == speed


def gradients(net: Backbone) -> tuple[list[torch.Tensor], int]:
    """Of an implicit function's parameters, and the bytes kept for the backward pass."""
    torch.manual_seed(0)
    f, kept = ImplicitFunction.for_backbone(net, zero_init=False), {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = next(reverse(net, x_of(2), [500], Edit(f))).p.square().mean()
    size = sum(n for pointer, n in kept.items() if pointer not in weights)
    loss.backward()
    return [p.grad for p in f.parameters() if p.grad is not None], size


def test_checkpointing_gives_the_same_gradients_from_less_memory() -> None:
    want, kept = gradients(backbone())
    found, fewer = gradients(backbone().run_with(Speed(checkpoint=True)))
    assert len(found) == len(want) > 0
    for a, b in zip(found, want, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert fewer < 0.6 * kept


@pytest.mark.slow
def test_compiled_blocks_say_the_same_and_have_the_same_gradients() -> None:
    plain, net = backbone(), backbone().run_with(Speed(compile=True))
    with torch.no_grad():
        eps, want = (u.decode(u.encode(x_of(2), 500)) for u in (net, plain))
    assert torch.allclose(eps, want, atol=1e-4)
    for a, b in zip(gradients(net)[0], gradients(plain)[0], strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert net.hash == plain.hash
    with torch.no_grad():
        other = copy.deepcopy(net)  # has weights of its own
        other.unet.up_blocks[0].resnets[0].conv1.weight.zero_()
        assert not torch.allclose(other.decode(other.encode(x_of(2), 500)), eps, atol=1e-4)


def test_compile_says_that_it_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_module.shutil, "which", lambda name: None)
    with pytest.raises(HslError, match=r"C\+\+ compiler"):
        backbone().run_with(Speed(compile=True))


# How often the two halves of the U-Net run, in images


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Images encoded and decoded, and decodes that gradients go back through."""
    seen: Counter[str] = Counter()
    encode, output = Backbone.encode, Backbone.output

    def counted_encode(self: Backbone, x: torch.Tensor, t: int | torch.Tensor) -> Bottleneck:
        seen["encode"] += len(x)
        return encode(self, x, t)

    def counted_output(self: Backbone, b: Bottleneck) -> torch.Tensor:
        seen["decode"] += len(b.h)
        seen["backward"] += len(b.h) * (torch.is_grad_enabled() and b.h.requires_grad)
        return output(self, b)

    monkeypatch.setattr(Backbone, "encode", counted_encode)
    monkeypatch.setattr(Backbone, "output", counted_output)
    return seen


@pytest.mark.parametrize("n", [1, 3])
def test_an_edit_decodes_twice_where_it_acts_alone(counts: Counter[str], n: int) -> None:
    net = backbone()
    grid = net.schedule.grid(10)
    edit = Edit(Shift(torch.ones(32, 4, 4)), t_edit=300, t_start=800)
    edited = sum(edit.acts(t) for t in grid)
    last(reverse(net, x_of(n), grid, edit))
    assert counts == {"encode": 10 * n, "decode": (10 + edited) * n, "backward": 0}


def test_the_last_step_has_no_second_decode(counts: Counter[str]) -> None:
    """Its D_t is zero; nor has the first, where its eps is known."""
    net, edit = backbone(), Edit(Shift(torch.ones(32, 4, 4)))
    grid = net.schedule.grid(5)
    last(reverse(net, x_of(1), grid, edit))
    assert counts["decode"] == 2 * 5 - 1
    last(reverse(net, x_of(1), grid, edit, eps=x_of(1)))
    assert counts["decode"] == 2 * 5 - 1 + 2 * 5 - 2


@pytest.mark.parametrize(("refine", "passes"), [(0, 9), (1, 10), (2, 19)])
def test_an_inversion_is_one_pass_a_step(counts: Counter[str], refine: int, passes: int) -> None:
    net = backbone()
    last(invert(net, x_of(2), net.schedule.grid(10), refine))
    assert counts == {"encode": 2 * passes, "decode": 2 * passes, "backward": 0}


@pytest.mark.parametrize("attribute", ["Smiling", ["Smiling", "Eyeglasses"]])
def test_an_epoch_of_training_runs_what_depends_on_the_direction_alone(
    counts: Counter[str], tmp_path: Path, attribute: str | list[str]
) -> None:
    """Six steps, at t_start=900 and t_edit=300 three of them edited (799, 599, 399). Each image is
    inverted once (6 passes) and its trajectory taken once (from 999 to 399, 4 passes). In every
    epoch each attribute has 3 encodes, 3 decodes with gradients, and one unedited decode: the first
    eps is known, the last D_t leads nowhere."""
    method = asyrp(saved_backbone(tmp_path / "net"), attribute=attribute, t_start=900)
    images, epochs, n = 4, 3, len(method.directions)
    counts.clear()  # of the pass that finds the shape of h
    trainer(tmp_path, epochs=epochs).fit(method, datamodule=faces(images))
    each = epochs * n
    assert counts == {
        "encode": images * (6 + 4 + 3 * each),
        "decode": images * (6 + 4 + (3 + 1) * each),
        "backward": images * 3 * each,
    }


def test_what_was_inverted_in_bfloat16_is_kept_apart(tmp_path: Path) -> None:
    net, images = saved_backbone(tmp_path / "net"), faces(2).faces("test").images
    cache = str(tmp_path / "cache")
    found = [asyrp(net, cache=cache, speed=s).x_T(images) for s in (PLAIN, OPTIONS[0], PLAIN)]
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])


def test_options_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--model.speed.bfloat16", "true", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["speed"] == {
        "bfloat16": True, "channels_last": False, "compile": False, "checkpoint": False,
    }  # fmt: skip
