"""Directions survive a file."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hsl.directions import Boundary, Direction, PerImage, Shift, provenance
from hsl.errors import HslError
from some_directions import implicit, pass_through, randn
from tiny import backbone


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


@pytest.mark.parametrize("header", ["{", "[1]", '{"direction": "x"}', '{"direction": []}', None])
def test_damaged_headers_are_refused(header: str | None, tmp_path: Path) -> None:
    metadata = None if header is None else {"hsl": header}
    save_file({"delta": torch.ones(2, 2, 2)}, tmp_path / "file.safetensors", metadata=metadata)
    with pytest.raises(HslError) as error:
        Direction.load(tmp_path / "file.safetensors")
    assert "not a direction saved by hsl" in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_file_is_no_direction(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")  # which nobody writes to: a reader waits for ever
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "pipe.safetensors", "a named pipe")):
        with pytest.raises(HslError, match=f"{said}; want a direction saved by hsl"):
            Direction.load(path)


ABOUT = {"strength": 0.5, "steps": 40, "t_edit": 513, "t_boost": 167, "t_start": 900,
         "injection": "asymmetric", "tap": "after", "h_shape": [32, 4, 4]}  # fmt: skip


def harmed(path: Path, made: Direction, **changed: object) -> Path:
    """A file whose header says something else; without a checksum, as whoever changes it would."""
    header = {"format": 1, "direction": made.config(), "about": ABOUT}
    held = {k: v.detach() for k, v in made.state_dict().items()}
    tensors = changed.pop("tensors", lambda given: given)(held)  # type: ignore[operator]
    for part, values in changed.items():
        header[part] = header[part] | values if isinstance(values, dict) else values
    save_file(tensors, path, metadata={"hsl": json.dumps(header)})
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strength", "abc"), ("strength", None), ("strength", True), ("strength", 10**400),
        ("steps", "x"), ("steps", 0), ("steps", -3), ("steps", 2.5), ("steps", 10**9),
        ("t_edit", "x"), ("t_edit", -1), ("t_edit", [1]), ("t_boost", "x"), ("t_boost", 10**9),
        ("t_start", "x"), ("injection", [1]), ("injection", "sideways"), ("tap", "beside"),
        ("tap", 3), ("backbone", 3), ("backbone_hash", []), ("h_shape", [32]), ("h_shape", "x"),
        ("cosine", "x"), ("cosine", 4.0), ("texts", ["one"]), ("name", 1), ("t_0", {}),
    ],
)  # fmt: skip
def test_what_a_header_says_has_a_type_and_a_range(
    name: str, value: object, tmp_path: Path
) -> None:
    path = harmed(tmp_path / "d.safetensors", Shift(randn(32, 4, 4)), about={name: value})
    with pytest.raises(HslError, match=f"d.safetensors: .*{name} is .*: want ") as error:
        Direction.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["steps", "t_edit", "t_start", "t_boost", "t_0"])
def test_timesteps_that_the_backbone_lacks_are_refused(name: str, tmp_path: Path) -> None:
    path = Shift(randn(32, 4, 4)).save(tmp_path / "d.safetensors", **{name: 1001})
    with pytest.raises(HslError, match=f"d.safetensors: .*{name} is 1001, but .* 1000 timesteps"):
        Direction.load(path, backbone())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Shift(randn(3, 4, 4), space="x"), r"x of shape \(3, 4, 4\), .*\(3, 8, 8\)"),
        (lambda: Shift(randn(32, 4, 4), space="eps"), "for eps of shape"),
        (lambda: Shift(randn(2, 32, 4, 4), [1, 1000]), "a tensor for t=1000"),
        (lambda: Shift(randn(32, 4, 4)) - Shift(randn(1, 32, 4, 4), [5000]), "for t=5000"),
        (lambda: Boundary(randn(1, 3, 8, 8), None, [1000], 1000), "a tensor for t=1000"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_the_backbone_are_refused(make, said: str) -> None:
    with pytest.raises(HslError, match=said):
        make().check(backbone())


@pytest.mark.parametrize("timesteps", [[20, 10], [10, 10]])
def test_timesteps_ascend(timesteps: list[int], tmp_path: Path) -> None:
    path = Shift(randn(2, 32, 4, 4), timesteps).save(tmp_path / "d.safetensors")
    with pytest.raises(HslError, match="want ascending timesteps"):
        Direction.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b.normals["x"].data.mul_(10), "normals.x are not of length 1"),
        (lambda b: b.normals["h"].data.zero_(), "normals.h are not of length 1"),
        (lambda b: b.biases["h"].data.fill_(torch.inf), "biases.h has infinite values"),
    ],
)
def test_hyperplanes_have_unit_normals(change, said: str, tmp_path: Path) -> None:
    x, h = randn(1, 3, 8, 8), randn(1, 32, 4, 4)
    border = Boundary(x / x.norm(), h / h.norm(), [4], 4)
    border.biases["x"].data.fill_(torch.nan)  # of a sum
    assert Direction.load(border.save(tmp_path / "sound.safetensors"))
    change(border)
    with pytest.raises(HslError, match=said):
        Direction.load(border.save(tmp_path / "d.safetensors"))


def test_constants_that_json_lacks_are_refused(tmp_path: Path) -> None:
    path = harmed(tmp_path / "d.safetensors", Shift(randn(32, 4, 4)), about={"x": float("nan")})
    with pytest.raises(HslError, match="NaN in its header"):
        Direction.load(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda t: {k: v.bool() for k, v in t.items()}, "holds bool, not floats"),
        (lambda t: {k: v.long() for k, v in t.items()}, "holds int64, not floats"),
        (lambda t: {k: v / 0 for k, v in t.items()}, "NaN or infinite"),
        (lambda t: {k: v[..., :2].contiguous() for k, v in t.items()}, "has shape"),
        (lambda t: t | {"more": torch.ones(2)}, "more has shape"),
        (lambda t: {"other": torch.ones(2)}, "has shape None"),
    ],
)
def test_tensors_are_finite_floats_of_the_shapes_that_the_header_says(
    make: object, said: str, tmp_path: Path
) -> None:
    with pytest.raises(HslError, match=said):
        Direction.load(harmed(tmp_path / "d.safetensors", Shift(randn(32, 4, 4)), tensors=make))


def test_a_file_of_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    halves = harmed(tmp_path / "d.safetensors", Shift(torch.ones(32, 4, 4)),
                    tensors=lambda t: {k: v.half() for k, v in t.items()})  # fmt: skip
    assert next(Direction.load(halves).parameters()).dtype == torch.float32


HUGE = {
    "implicit": (implicit(), {"channels": 32 * 10**8}),
    "temb": (implicit(), {"temb_dim": 10**12}),
    "shift": (Shift(randn(32, 4, 4)), {"shape": [10**6, 10**6, 10**6]}),
    "boundary": (Boundary(None, randn(1, 32, 4, 4), [3]), {"shapes": {"h": [1, 10**6, 10**6, 9]}}),
    "images": (PerImage([Shift(randn(32, 4, 4))], torch.ones(2, 1)), {"images": 10**14}),
    "overflow": (Shift(randn(32, 4, 4)), {"shape": [2**40, 2**40, 2**40]}),
}


@pytest.mark.parametrize("name", HUGE)
def test_sizes_are_compared_before_memory_is_asked_for(name: str, tmp_path: Path) -> None:
    direction, larger = HUGE[name]  # no machine has what is asked for
    path = harmed(tmp_path / "d.safetensors", direction, direction=direction.config() | larger)
    with pytest.raises(HslError, match=r"d.safetensors: .*(shape|Storage|overflow|Invalid)"):
        Direction.load(path)


@pytest.mark.parametrize(
    "config",
    [
        {"kind": ["shift"]}, {"kind": "shift"}, {"kind": "shift", "shape": "x"}, {"shape": [1]},
        {"kind": "shift", "shape": [32, 4, 4], "space": "z"},
        {"kind": "shift", "shape": [32, 4, 4], "more": 1},
        {"kind": "shift", "shape": [1, 32, 4, 4], "timesteps": ["x"]},
        {"kind": "implicit_function", "channels": 32, "temb_dim": 64, "groups": 0},
        {"kind": "implicit_function", "channels": 32.0, "temb_dim": 64},
        {"kind": "combination", "directions": [], "weights": [], "removed": []},
        {"kind": "combination", "directions": [1], "weights": [1.0], "removed": []},
        {"kind": "combination", "directions": {}, "weights": [1.0], "removed": []},
        {"kind": "boundary", "shapes": {}, "timesteps": [1]}, None, 3,
    ],
)  # fmt: skip
def test_configurations_are_checked(config: object, tmp_path: Path) -> None:
    path = harmed(tmp_path / "d.safetensors", Shift(randn(32, 4, 4)))
    save_file({"delta": torch.ones(32, 4, 4)}, path,
              metadata={"hsl": json.dumps({"direction": config, "about": {}})})  # fmt: skip
    with pytest.raises(HslError) as error:
        Direction.load(path)
    assert "not a direction saved by hsl" in str(error.value) and "\n" not in str(error.value)


def test_every_flipped_bit_of_the_values_is_refused(tmp_path: Path) -> None:
    path = Shift(randn(2, 2, 2)).save(tmp_path / "d.safetensors", **ABOUT)
    whole = path.read_bytes()
    for i in range(len(whole) - 32, len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x20]) + whole[i + 1 :])
        with pytest.raises(HslError, match="not those that were written"):
            Direction.load(path)


def test_a_biasless_boundary_goes_through_a_file(tmp_path: Path) -> None:
    made = Boundary(None, randn(1, 32, 4, 4), [3], 3)
    path = (made + made).save(tmp_path / "d.safetensors")  # a sum has no hyperplane of its own
    assert Direction.load(path).biases["h"].isnan().all()
