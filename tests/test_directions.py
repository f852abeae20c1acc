"""Directions are a vector space, and survive a file."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hsl.backbones import Bottleneck
from hsl.directions import Combination, Direction, ImplicitFunction, Shift, provenance
from hsl.errors import HslError
from tiny import backbone

ROOT = Path(__file__).resolve().parents[1]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pass_through(direction: Direction, net=None) -> torch.Tensor:
    net = net or backbone()
    x = randn(3, 3, 8, 8, seed=5)
    return direction(net.encode(x, 400), x, 400)


def implicit(seed: int = 0, **arguments) -> ImplicitFunction:
    torch.manual_seed(seed)
    return ImplicitFunction.for_backbone(backbone(), **arguments)


def test_vector_space() -> None:
    a, b, f = Shift(randn(32, 4, 4)), Shift(randn(32, 4, 4, seed=1)), implicit()
    assert torch.allclose((a + b).delta, a.delta + b.delta)
    assert torch.allclose((a - b * 2).delta, a.delta - 2 * b.delta)
    mixed = pass_through(2.0 * f - a)
    assert torch.allclose(mixed, 2 * pass_through(f) - pass_through(a), atol=1e-5)
    assert torch.allclose(pass_through(-f), -pass_through(f))


def test_without_leaves_nothing_along_the_others() -> None:
    a, b, c = (Shift(randn(4, 32, 4, 4, seed=s), [0, 300, 600, 900]) for s in range(3))
    pure = a.without(b, c)
    for other in (b, c):
        assert abs(float((pure.delta * other.delta).sum())) < 1e-3
    twice = pure.without(b, c)
    assert torch.allclose(twice.delta, pure.delta, atol=1e-5)
    removed = (a.delta - pure.delta).flatten()
    basis = torch.stack([b.delta.flatten(), c.delta.flatten()], 1)
    assert torch.linalg.lstsq(basis, removed[:, None]).residuals.norm() < 1e-3


def test_without_of_functions_is_per_image() -> None:
    f, g = implicit(0), implicit(1)
    left = pass_through(f.without(g)).flatten(1)
    along = (left * pass_through(g).flatten(1)).sum(1)
    assert along.abs().max() < 1e-3
    assert left.norm() > 0


def test_a_shift_per_step_takes_the_nearest() -> None:
    shift = Shift(randn(2, 32, 4, 4), [100, 500])
    net, x = backbone(), randn(1, 3, 8, 8)
    b = net.encode(x, 0)
    assert torch.equal(shift(b, x, 180)[0], shift.delta[0])
    assert torch.equal(shift(b, x, 999)[0], shift.delta[1])


@pytest.mark.parametrize("family", ["ddpm", "adm"])
def test_zero_init_starts_from_the_identity(family: str) -> None:
    assert not pass_through(implicit(family=family, zero_init=True)).any()
    assert pass_through(implicit(family=family)).any()


def test_ignored_timesteps() -> None:
    net, x = backbone(), randn(1, 3, 8, 8)
    f = implicit(ignore_timesteps=True)
    b = net.encode(x, 100)
    assert torch.equal(f(b, x, 100), f(b._replace(temb=b.temb + 1), x, 100))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Shift(randn(32, 4, 4)),
        lambda: Shift(randn(2, 32, 4, 4), [10, 20], "h"),
        lambda: implicit(family="adm"),
        lambda: implicit() * 0.5 - Shift(randn(32, 4, 4)),
        lambda: implicit(0).without(implicit(1)),
    ],
)
def test_a_file_keeps_everything(make, tmp_path: Path) -> None:
    net, direction = backbone(), make()
    path = direction.save(tmp_path / "new" / "d.safetensors", **provenance(net), t_edit=513)
    loaded = Direction.load(path, net)
    assert torch.allclose(pass_through(loaded, net), pass_through(direction, net))
    assert loaded.about["t_edit"] == 513 and loaded.about["backbone_hash"] == net.hash
    assert [p.name for p in path.parent.iterdir()] == ["d.safetensors"]
    assert not any(p.requires_grad for p in loaded.parameters())


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    path = Shift(randn(32, 4, 4)).save(tmp_path / "d.safetensors", **provenance(backbone(0)))
    with pytest.raises(HslError, match="made for backbone tiny"):
        Direction.load(path, backbone(1))
    small = Shift(randn(16, 4, 4)).save(tmp_path / "s.safetensors", h_shape=[16, 4, 4])
    with pytest.raises(HslError, match=r"h of shape \(16, 4, 4\)"):
        Direction.load(small, backbone())


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    good = Shift(randn(32, 4, 4)).save(tmp_path / "good.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:200])
    plain = tmp_path / "plain.safetensors"
    save_file({"delta": randn(3)}, plain)
    odd = tmp_path / "odd.safetensors"
    save_file({"delta": randn(3)}, odd, metadata={"hsl": json.dumps({"direction": {"kind": "?"}})})
    for path in (cut, plain, odd, tmp_path / "none.safetensors"):
        with pytest.raises(HslError) as error:
            Direction.load(path)
        assert path.name in str(error.value) and "\n" not in str(error.value)


def test_what_cannot_be_combined() -> None:
    with pytest.raises(HslError, match="cannot combine"):
        Combination([Shift(randn(32, 4, 4)), Shift(randn(3, 8, 8), space="x")], [1, 1])
    for wrong in (lambda: Shift(randn(2)), lambda: Shift(randn(2, 4, 1, 1), [1])):
        with pytest.raises(HslError):
            wrong()
    with pytest.raises(HslError):
        ImplicitFunction(33, 64)


# Asyrp's own files.


def released(path: Path, family: str, **extra: object) -> ImplicitFunction:
    """A random f_t in the layout of Asyrp's released files."""
    torch.manual_seed(3)
    f = ImplicitFunction(64, 48, family)  # type: ignore[arg-type]
    torch.save({"0": f.state_dict(), "optimizer": {"state": {}}, **extra}, path)
    return f


@pytest.mark.parametrize("family", ["ddpm", "adm"])
def test_released_files_come_and_go_tensor_for_tensor(family: str, tmp_path: Path) -> None:
    path = tmp_path / "smiling_LC_CelebA_HQ_t999_ninv40_ngen25_0.pth"
    f = released(path, family)
    direction = Direction.load(path)
    assert isinstance(direction, ImplicitFunction) and direction.arguments["family"] == family
    assert (direction.about["name"], direction.about["steps"]) == ("smiling", 25)
    held = torch.load(direction.export_asyrp(tmp_path / "out.pth"), weights_only=True)["0"]
    assert list(held) == list(f.state_dict())
    assert all(torch.equal(held[key], value) for key, value in f.state_dict().items())
    saved = Direction.load(direction.save(tmp_path / "out.safetensors"))
    h, temb = torch.randn(2, 64, 4, 4), torch.randn(2, 48)
    b = Bottleneck(h, temb, ())
    assert torch.equal(saved(b, h, 500), f(b, h, 500))


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"1": {"conv1.weight": torch.ones(64, 64, 1, 1)}}, "neither a direction"),
        ({"0": {"weight": torch.ones(1)}}, "neither a direction"),
        ({"0": {"conv1.weight": torch.ones(64, 64, 1, 1)}}, "other tensors"),
        ([1, 2], "neither a direction"),
        *(({"0": held}, "neither a direction") for held in (3, torch.ones(3), ["conv1.weight"])),
        ({"0": ImplicitFunction(30, 8, groups=30).state_dict()}, "file.pth: an implicit"),
    ],
)
def test_other_files_are_no_released_functions(held: object, says: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "file.pth")
    with pytest.raises(HslError) as error:
        Direction.load(tmp_path / "file.pth")
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("header", ["{", "[1]", '{"direction": "x"}', '{"direction": []}', None])
def test_damaged_headers_are_refused(header: str | None, tmp_path: Path) -> None:
    metadata = None if header is None else {"hsl": header}
    save_file({"delta": torch.ones(2, 2, 2)}, tmp_path / "file.safetensors", metadata=metadata)
    with pytest.raises(HslError) as error:
        Direction.load(tmp_path / "file.safetensors")
    assert "not a direction saved by hsl" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_is_no_direction(tmp_path: Path) -> None:
    with pytest.raises(HslError, match="cannot be read"):
        Direction.load(tmp_path)


def test_a_function_of_another_temb_is_refused() -> None:
    net = backbone()
    ImplicitFunction(32, net.temb_dim).check(net)
    ImplicitFunction(32, 8, ignore_timesteps=True).check(net)
    for direction in (ImplicitFunction(32, 8), ImplicitFunction(32, 8) * 2.0):
        with pytest.raises(HslError, match=f"for a temb of 8, but that of tiny has {net.temb_dim}"):
            direction.check(net)


def test_a_released_file_cut_short_is_refused(tmp_path: Path) -> None:
    released(tmp_path / "file.pth", "ddpm")
    content = (tmp_path / "file.pth").read_bytes()
    (tmp_path / "file.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(HslError, match="truncated"):
        Direction.load(tmp_path / "file.pth")


def test_only_implicit_functions_have_asyrps_layout(tmp_path: Path) -> None:
    with pytest.raises(HslError, match="not a shift"):
        Shift(torch.ones(4, 2, 2)).export_asyrp(tmp_path / "file.pth")
    with pytest.raises(HslError, match="32 groups"):
        ImplicitFunction(8, 4, groups=4).export_asyrp(tmp_path / "file.pth")
    assert not list(tmp_path.iterdir())


def test_a_direction_of_another_tap_is_refused() -> None:
    direction = Shift(torch.ones(32, 4, 4))
    direction.about = {"tap": "before"}
    direction.check(backbone(tap="before"))
    with pytest.raises(HslError, match="for the h before the middle block"):
        direction.check(backbone())


@pytest.mark.golden
def test_the_released_functions_outputs(golden_dir) -> None:
    folder, compared = golden_dir("asyrp"), 0
    files = ROOT.parent / "shared" / "real"
    table = folder / "real_checkpoints.json"
    for name, about in json.loads(table.read_text()).items() if table.exists() else ():
        recorded = folder / f"real_{name.split('_LC_')[0]}.safetensors"
        path = files / about["file"]
        if not path.exists() or not recorded.exists():
            continue
        assert hashlib.sha256(path.read_bytes()).hexdigest() == about["sha256"]
        direction, want = Direction.load(path), load_file(recorded)
        got = direction(Bottleneck(want["h"], want["temb"], ()), want["h"], 999)
        assert torch.allclose(got, want["delta_h"], atol=2e-5)
        without = ImplicitFunction(**(direction.arguments | {"ignore_timesteps": True}))
        without.load_state_dict(direction.state_dict())
        plain = without(Bottleneck(want["h"], want["temb"], ()), want["h"], 999)
        spread = torch.stack([plain.mean(), plain.std()])
        assert torch.allclose(spread, want["delta_h_no_temb_mean_std"], atol=1e-4)
        compared += 1
    if not compared:
        pytest.skip("none of the released implicit functions is here")
