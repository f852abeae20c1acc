"""Asyrp's own files, in and out."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hsl.backbones import Bottleneck
from hsl.directions import Direction, ImplicitFunction, Shift
from hsl.errors import HslError

ROOT = Path(__file__).resolve().parents[2]


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
