"""Crossing a boundary: what the paper says, asserted on every kind of backbone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from hsl.backbones import Backbone, Bottleneck, load
from hsl.backbones.schedule import Schedule
from hsl.directions import Boundary, Direction, Shift, provenance
from hsl.edit import find_direction, join, shipped
from hsl.edit.parts import part as part_of
from hsl.errors import HslError
from hsl.process import Edit, SeededNoise, Step, last, predicted_x_0, reverse
from recorded import recorded
from runs import saved_latent_backbone
from tiny import backbone

GRID, T = [0, 150, 300, 450], 450


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int) -> Tensor:
    v = randn(*shape, seed=seed)
    return v / v.flatten(1).norm(dim=1)[:, None, None, None]


def adm() -> Backbone:
    """A small ADM: residual resampling, scale and shift, learned variance."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=3, out_channels=6, block_out_channels=(16, 32),
        layers_per_block=1, norm_num_groups=8, attn_norm_num_groups=8, attention_head_dim=8,
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        downsample_type="resnet", upsample_type="resnet", resnet_time_scale_shift="scale_shift",
    )  # fmt: skip
    return Backbone(unet, Schedule.linear(), name="adm")


@pytest.fixture(scope="module", params=["ddpm", "adm", "latent"])
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    if request.param == "latent":
        return load(saved_latent_backbone(tmp_path_factory.mktemp("latent")))
    return adm() if request.param == "adm" else backbone()


def x_of(net: Backbone, n: int = 3, seed: int = 1) -> Tensor:
    return randn(n, net.channels, 8, 8, seed=seed)


def boundary(net: Backbone, seed: int = 5, spaces: str = "xh", **arguments) -> Boundary:
    """Random hyperplanes at two timesteps; the second is the mixing step."""
    x, h = unit(2, net.channels, 8, 8, seed=seed), unit(2, *net.h_shape, seed=seed + 100)
    made = Boundary(
        x if "x" in spaces else None, h if "h" in spaces else None, [GRID[2], T], T, **arguments
    )
    for i, space in enumerate(made.normals):
        made.biases[space].data.copy_(torch.tensor([1.0 + i, -2.0 + i]))
    return made


def crossing(made: Boundary, strength: float | Tensor = 1.0) -> Edit:
    return Edit(made, strength, t_edit=T, t_start=T, injection="symmetric")


def along(v: Tensor, made: Boundary, space: str) -> Tensor:
    """The coordinate <v, normal> at the mixing step, ``[B]``."""
    return (v * made.normals[space][1].detach()).sum((1, 2, 3))


def h_at(net: Backbone, x: Tensor, t: int = T) -> Tensor:
    """The h ``[B, K, s, s]`` of x_t."""
    with torch.no_grad():
        return net.encode(x, t).h


@torch.no_grad()
def first(net: Backbone, x: Tensor, edit: Edit, grid: Sequence[int] = GRID) -> tuple[Step, Tensor]:
    """The edited step, and the h that was decoded in it."""
    seen: list[Tensor] = []
    decode = net.decode

    def spy(b: Bottleneck) -> Tensor:
        seen.append(b.h)
        return decode(b)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net, "decode", spy)
        step = next(iter(reverse(net, x, grid, edit)))
    (h,) = seen
    return step, h


# Theorems


@pytest.mark.parametrize("spaces", ["xh", "x", "h"])
def test_a_crossing_goes_the_distance_asked_in_each_space(net: Backbone, spaces: str) -> None:
    x, d = x_of(net), torch.tensor([-4.0, 0.5, 30.0])
    made = boundary(net, spaces=spaces)
    step, h = first(net, x, crossing(made, d))
    moves = {"x": step.x - x, "h": h - step.b.h}
    # of x alone h is left to follow; where it has a move of its own, that is from where h was
    assert torch.equal(step.b.h, h_at(net, x if "h" in spaces else step.x))
    for space, move in moves.items():
        if space not in spaces:
            assert not move.any()
            continue
        assert torch.allclose(move, d[:, None, None, None] * made.normals[space][1], atol=1e-5)
        before = made.distance(x if space == "x" else step.b.h, space)
        after = made.distance(step.x if space == "x" else h, space)
        assert torch.allclose(after - before, d, atol=1e-4)


def test_the_h_of_the_moved_x_goes_further(net: Backbone) -> None:
    """As hsl did before it had a choice: h is taken some of the way by the move in x."""
    x, d = x_of(net), 10.0
    made, plain = boundary(net, h_of="moved"), boundary(net)
    step, h = first(net, x, crossing(made, d))
    unmoved, _ = first(net, x, crossing(plain, d))
    assert torch.equal(step.x, unmoved.x) and not torch.equal(step.x_next, unmoved.x_next)
    behind = h_at(net, step.x)
    assert torch.equal(step.b.h, behind)
    assert torch.equal(h, made.move(behind, "h", d))
    assert (plain.distance(h, "h") - plain.distance(h_at(net, x), "h") - d).abs().min() > 1e-3
    for spaces in ("x", "h"):  # where one space alone is moved there is nothing to choose
        alone = (m.at(spaces=[spaces]) for m in (made, plain))
        ends = [last(reverse(net, x, GRID, crossing(one, d))) for one in alone]
        assert torch.equal(*ends)


def test_another_h_is_refused() -> None:
    made = boundary(backbone(), h_of="moved")
    for other in (made * 2, made.at(), made + made, made.without(boundary(backbone(), seed=6))):
        assert isinstance(other, Boundary) and other.h_of == "moved"
    with pytest.raises(HslError, match="the h of the moved x, the other does not"):
        made + boundary(backbone())
    with pytest.raises(HslError, match="want one of unmoved, moved"):
        boundary(backbone(), h_of="both")


@pytest.mark.parametrize("kept", [(), ("Male", "Young")])
def test_shipped_boundaries_go_the_distance_asked_and_keep_the_others(
    kept: tuple[str, ...],
) -> None:
    net = load("toyfaces")
    names = [name for name in shipped("boundaries") if name not in kept]
    others = [find_direction(name, "boundaries") for name in kept]
    t = next(iter(find_direction(name, "boundaries") for name in names)).t
    noise = SeededNoise(torch.arange(4))
    x = noise.x_T(torch.zeros(4, *net.x_shape))
    with torch.no_grad():
        x = last(s for s in reverse(net, x, [0, t, 743, 999]) if s.t > t)
    h = h_at(net, x, t)
    for name in names:
        part = part_of(name, "boundaries", others)
        made = part.direction
        assert isinstance(made, Boundary) and made.t == t
        edit = join([(made, part.strength)], 4, None, None)
        step, after = first(net, x, edit, [0, t])
        for space, was, now in (("x", x, step.x), ("h", h, after)):
            asked = part.strength * made.scales[space].item()
            went = ((now - was) * made.normals[space][0]).sum((1, 2, 3))
            assert (went - asked).abs().max() <= 1e-4, (name, space)
            if not kept:
                went = made.distance(now, space) - made.distance(was, space)
                assert (went - asked).abs().max() <= 1e-4, (name, space)
            for other in others:
                assert isinstance(other, Boundary)
                moved = other.distance(now, space) - other.distance(was, space)
                assert moved.abs().max() <= 1e-4, (name, space)


def test_a_crossing_is_one_step(net: Backbone) -> None:
    x, edit = x_of(net), crossing(boundary(net), 5.0)
    step, _ = first(net, x, edit)
    with torch.no_grad():
        rest = last(reverse(net, step.x_next, GRID[:-1]))
    assert torch.equal(last(reverse(net, x, GRID, edit)), rest)
    assert torch.equal(last(reverse(net, x, GRID, Edit(edit.direction, 5.0))), rest)
    late = Edit(edit.direction, 5.0, t_edit=0, t_start=GRID[1])
    assert torch.equal(last(reverse(net, x, GRID, late)), last(reverse(net, x, GRID)))


def test_both_spaces_are_edited(net: Backbone) -> None:
    """On ADM and latent models too, where the released code drops the edit of h."""
    x, made = x_of(net), boundary(net)
    parts = [made, made.at(spaces=["x"]), made.at(spaces=["h"]), made * 0]
    ends = [last(reverse(net, x, GRID, crossing(part, 20.0))) for part in parts]
    for i, end in enumerate(ends):
        assert end.isfinite().all()
        assert all((end - other).abs().max() > 1e-4 for other in ends[:i])
    assert net.image(ends[0]).shape == (3, 3, net.image_size, net.image_size)


def test_strength_zero_is_the_plain_reverse_bit_for_bit(net: Backbone) -> None:
    x, noise = x_of(net), SeededNoise(torch.arange(3))
    for eta in (0.0, 1.0):
        plain = last(reverse(net, x, GRID, eta=eta, noise=noise))
        edited = last(reverse(net, x, GRID, crossing(boundary(net), 0.0), eta, noise=noise))
        assert torch.equal(plain, edited)


def test_absolute_strengths_are_coordinates(net: Backbone) -> None:
    x, d = x_of(net), torch.tensor([-30.0, 0.0, 30.0])
    made = boundary(net, absolute=True)
    step, h = first(net, x, crossing(made, d))
    assert torch.allclose(along(step.x, made, "x"), d, atol=1e-4)
    assert torch.allclose(along(h, made, "h"), d, atol=1e-4)
    bias = {space: made.biases[space][1].item() for space in "xh"}
    assert torch.allclose(made.distance(h, "h"), d + bias["h"], atol=1e-4)
    assert torch.allclose(made.distance(step.x, "x"), d + bias["x"], atol=1e-4)


def test_conditional_boundaries_keep_the_others_distances(net: Backbone) -> None:
    a, b, c = (boundary(net, seed=s) for s in (5, 6, 7))
    for space in "xh":  # correlated, so that there is something to keep
        mixed = a.normals[space] + 2 * b.normals[space] - c.normals[space]
        a.normals[space].data = mixed.data / mixed.data.flatten(1).norm(dim=1)[:, None, None, None]
    x = x_of(net)
    pure = a.without(b, c)
    step, h = first(net, x, crossing(pure, 25.0))
    for space, before, after in (("x", x, step.x), ("h", step.b.h, h)):
        assert pure.normals[space].norm().item() == pytest.approx(1, abs=1e-5)
        for other in (b, c):
            kept, was = other.distance(after, space), other.distance(before, space)
            assert torch.allclose(kept, was, atol=1e-4)
        assert (a.distance(after, space) - a.distance(before, space) > 1).all()
    step, h = first(net, x, crossing(a, 25.0))
    assert (b.distance(h, "h") - b.distance(step.b.h, "h")).abs().min() > 1
    assert pure.distance(x, "x").isnan().all()  # which has no hyperplane of its own


# Algebra


def test_multiples_and_sums_of_boundaries_add_their_moves() -> None:
    net = backbone()
    a, b, v = boundary(net, seed=5), boundary(net, seed=6), {"x": x_of(net)}
    v["h"] = net.encode(v["x"], T).h
    a.scales["h"].data.fill_(3.0)

    def move(made: Direction, space: str, strength: float = 1.0) -> Tensor:
        assert isinstance(made, Boundary)
        return made.move(v[space], space, strength) - v[space]

    for space in ("x", "h"):
        both = move(a, space) + move(b, space)
        assert torch.allclose(move(a * 2.5, space), 2.5 * move(a, space), atol=1e-5)
        assert torch.allclose(move(a, space, 2.5), 2.5 * move(a, space), atol=1e-5)
        assert torch.allclose(move(-a, space), -move(a, space), atol=1e-6)
        assert torch.allclose(move(a + b, space), both, atol=1e-5)
        b_of_x, only = net.encode(v["x"], T), a.at(spaces=[space])
        assert torch.equal(only(b_of_x, v["x"], T), move(a, space))
        assert torch.allclose(move(2 * a - b, space), 3 * move(a, space) - both, atol=1e-5)
        assert move(a - a, space).abs().max() == 0
        assert (a + b).normals[space].norm().item() == pytest.approx(1, abs=1e-5)
        pure = (a + b).without(boundary(net, seed=7))
        share = move(pure, space).flatten(1).norm(dim=1) / both.flatten(1).norm(dim=1)
        assert torch.allclose(share, torch.ones(3), atol=1e-3)
    assert torch.equal((-a).distance(v["x"], "x"), a.distance(v["x"], "x"))


def test_what_does_not_combine_is_refused() -> None:
    net = backbone()
    a, shift = boundary(net), Shift(randn(*net.h_shape))
    only_h = a.at(spaces=["h"])
    for combine in (lambda: a + shift, lambda: shift + only_h, lambda: shift.without(only_h),
                    lambda: a.without(shift)):  # fmt: skip
        with pytest.raises(HslError, match=r"other boundaries only|boundaries add to boundaries"):
            combine()
    with pytest.raises(HslError, match="only by distances"):
        a + boundary(net, seed=6, absolute=True)
    with pytest.raises(HslError, match=f"t={T} and t={GRID[2]}"):
        a + a.at(GRID[2])
    with pytest.raises(HslError, match="in other spaces"):
        a + only_h
    for others in ([a], [boundary(net, seed=6), a], [a * -3]):
        with pytest.raises(HslError, match="nothing of this boundary is left"):
            a.without(*others)
    elsewhere = boundary(net, seed=6)
    elsewhere.about = {"backbone": "another"}
    a.about = {"backbone": "one"}
    with pytest.raises(HslError, match="cannot combine directions of"):
        a.without(elsewhere)


def test_without_a_mixing_step_there_is_no_crossing() -> None:
    net = backbone()
    made = boundary(net)
    made.t = None
    with pytest.raises(HslError, match="no hyperplane at t=None"):
        last(reverse(net, x_of(net), GRID, crossing(made)))
    assert made.distance(x_of(net), "x", GRID[2]).isfinite().all()
    with pytest.raises(HslError, match="no hyperplane at t=7"):
        Boundary(None, made.normals["h"], [1, 2], 7)
    with pytest.raises(HslError, match="with n timesteps"):
        Boundary(None, made.normals["h"], [1])


# Files


@pytest.mark.parametrize("spaces", ["xh", "x", "h"])
def test_a_boundary_survives_a_file(net: Backbone, spaces: str, tmp_path: Path) -> None:
    made = boundary(net, spaces=spaces, absolute=spaces == "x")
    for i, scale in enumerate(made.scales.values()):
        scale.data.copy_(torch.tensor([1.5, 2.0 + i]))
    made.about = provenance(net) | {"method": "linear/SVM", "t_edit": T, "t_start": T}
    path = made.save(tmp_path / "Smiling.safetensors", strength=2.0)
    found = Direction.load(path, net)
    assert isinstance(found, Boundary)
    assert found.config() == made.config() and found.about == made.about
    assert {**found.state_dict()}.keys() == {**made.state_dict()}.keys()
    x = x_of(net)
    plain, again = (last(reverse(net, x, GRID, Edit.of(d))) for d in (made, found))
    assert torch.equal(plain, again) and not torch.equal(plain, last(reverse(net, x, GRID)))
    for space in spaces:
        v = x if space == "x" else net.encode(x, T).h
        for t in made.timesteps:
            assert torch.equal(found.distance(v, space, t), made.distance(v, space, t))


def test_a_boundary_for_another_backbone_is_refused() -> None:
    net = backbone()
    made = boundary(net)
    made.check(net)
    made.about["tap"] = "middle"
    with pytest.raises(HslError, match="for the h middle the middle block"):
        made.check(net)
    made.at(spaces=["x"]).check(net)  # leaves h alone
    assert (made * 2).about["tap"] == (made + made).about["tap"] == "middle"
    with pytest.raises(HslError, match=r"x of shape \(3, 8, 8\), but .* \(12, 8, 8\)"):
        boundary(net, spaces="x").check(backbone(space_to_depth=True))


# Beside the released code


@torch.no_grad()
def test_the_intended_edit_differs_by_its_h_alone(golden_dir: Callable[[str], Path]) -> None:
    """The golden's ``intended_eta0`` moves x_{t_0} and decodes h' once, as we do. But its h' is
    the moved h of the timestep before t_0, of the image before the move; ours is the moved h of
    the moved x_{t_0}. With the golden's in place of ours the paths are the same."""
    for file in recorded(golden_dir("boundary"), "edit_*.safetensors"):
        net, t, grid = file.net, file.t_0, file.about["seq_test"]
        made = Boundary(file.normal("z")[None], file.normal("h")[None], [t], t, absolute=True)
        a, a_next = net.schedule.alpha_bar(t), net.schedule.alpha_bar(grid[-2])
        for j, d in enumerate(file.distances):
            states, theirs = file[f"intended_eta0{j}.z"], file[f"edit{j}.h_used"][:1]
            edit = Edit(made, d, t_edit=t, t_start=t, injection="symmetric")
            steps = list(reverse(net, file["z_lat"], grid, edit))
            assert near(steps[0].x, states[:1], 1e-6)
            ours = made.move(steps[0].b.h, "h", d)
            for h in (ours, theirs):
                assert float((h * file.normal("h")).sum()) == pytest.approx(d, abs=1e-3)
            assert not near(ours, theirs, 0.05)
            assert not near(steps[-1].x_next, states[-1:], 1e-3)

            eps = net.decode(steps[0].b._replace(h=theirs))
            p = predicted_x_0(steps[0].x, eps, a)
            x = a_next**0.5 * p + (1 - a_next) ** 0.5 * eps
            assert near(x, states[1:2], 5e-5)
            assert near(last(reverse(net, x, grid[:-1])), states[-1:], 5e-5)


def near(found: Tensor, expected: Tensor, share: float) -> bool:
    """Whether they differ by no more than a share of the largest value."""
    return bool((found - expected).abs().max() <= share * expected.abs().max())
