"""Asyrp's released forward pass, steps and processes, recorded, beside hsl's."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from asyrp_golden import Recorded, assert_close, recorded
from hsl.backbones import load
from hsl.backbones.schedule import Schedule
from hsl.directions import Combination, Direction, Shift
from hsl.edit.explicit import mean_delta_h
from hsl.intervals import CurveMeans
from hsl.process import Edit, invert, last, reverse
from recorded import told

FORWARD = {"atol": 2e-5, "rtol": 1e-4}
PROCESS = 5e-4


# One pass


def edited_eps(file: Recorded, t: int, rows: slice, edit: Edit) -> Tensor:
    """The eps that P_t is made of: P_t = (x - sqrt(1 - a) eps) / sqrt(a)."""
    x, a = file["x"][rows], file.net.schedule.alpha_bar(t)
    with torch.no_grad():
        step = next(reverse(file.net, x, [t], edit))
    return (x - a**0.5 * step.p) / (1 - a) ** 0.5


def check_passes(folder: Path, kind: str, edit_of) -> None:
    """Compare all ``{kind}.t{T}[...].eps_edit`` with the edit that ``edit_of`` gives for what
    stands in the brackets; image by image, for some directions are tensors of an image."""
    compared = 0
    for file in recorded(folder, "forward"):
        for key, want in file.tensors.items():
            found = re.fullmatch(rf"{kind}\.t(\d+)\.?(.*?)\.?eps_edit", key)
            if found is None:
                continue
            t = int(found[1])
            for i in range(len(want)):
                rows = slice(i, i + 1)
                got = edited_eps(file, t, rows, edit_of(file, found[2], i))
                assert_close(got, want[rows], **FORWARD, what=f"{file.name} {key}")
            compared += 1
    if not compared:
        pytest.skip(f"no recorded {kind}")


def factors(text: str) -> tuple[float, float]:
    """``hs{a}_{b}``: a of the unedited h, b of delta h."""
    a, b = map(float, text.removeprefix("hs").split("_"))
    return a, b


def test_functions_with_factors(golden_dir) -> None:
    def edit(file: Recorded, text: str, i: int) -> Edit:
        a, b = factors(text)
        return Edit(file.function("layer_0."), b, file.t_edit, h_factor=a)

    check_passes(golden_dir("asyrp"), "block", edit)


def test_explicit_tensors_are_added(golden_dir) -> None:
    def edit(file: Recorded, text: str, i: int) -> Edit:
        a, b = factors(text)
        return Edit(Shift(file["explicit.delta_h"][i]), b, file.t_edit, h_factor=a)

    check_passes(golden_dir("asyrp"), "additive", edit)


def test_several_functions_with_coefficients(golden_dir) -> None:
    def edit(file: Recorded, text: str, i: int) -> Edit:
        functions = [file.function(f"layer_{k}.") for k in range(2)]
        return Edit(Combination(functions, [0.7, 0.3]), t_edit=file.t_edit)

    check_passes(golden_dir("asyrp"), "block_two", edit)


def test_functions_without_the_timestep(golden_dir) -> None:
    def edit(file: Recorded, text: str, i: int) -> Edit:
        return Edit(file.function("layer_0.", ignore_timesteps=True), t_edit=file.t_edit)

    check_passes(golden_dir("asyrp"), "block_ignore_timestep", edit)


def test_slerp(golden_dir) -> None:
    def edit(file: Recorded, text: str, i: int) -> Edit:
        share = 1 - float(text.removeprefix("g"))
        return Edit(Shift(file["explicit.delta_h"][i]), share, file.t_edit, injection="slerp")

    check_passes(golden_dir("asyrp"), "slerp", edit)


def test_slerp_within_a_mask(golden_dir) -> None:
    """Rows 4 to 6 and columns 3 and 4, as hard-coded in the release, which does not bring delta h
    to the length of h there."""

    def edit(file: Recorded, text: str, i: int) -> Edit:
        share, delta = 1 - float(text.removeprefix("g")), file["explicit.delta_h"][i]
        mask = torch.zeros(delta.shape[1:], dtype=torch.bool)
        mask[4:-1, 3:5] = True
        return Edit(Shift(delta), share, file.t_edit, injection="slerp", mask=mask,
                    rescale=False)  # fmt: skip

    check_passes(golden_dir("asyrp"), "slerp_mask", edit)


def test_gamma_of_one_changes_nothing(golden_dir) -> None:
    """What the release does with the tensors that it trains (facts g.1)."""
    compared = 0
    for file in recorded(golden_dir("asyrp"), "forward"):
        key = next(
            (k for k in file.tensors if re.fullmatch(r"slerp\.t\d+\.g1\.0\.eps_edit", k)), None
        )
        plain = f"plain.{key.split('.')[1]}.eps" if key else None
        if key is not None and plain in file.tensors:
            assert_close(file[key], file[plain][:, :3], **FORWARD, what=file.name)
            compared += 1
    if not compared:
        pytest.skip("no recorded slerp at gamma 1")


def test_steps(golden_dir) -> None:
    """``step.{kind}_{t}_{t_next}``, relative to the size of what comes out."""
    compared = 0
    for file in recorded(golden_dir("asyrp"), "forward"):
        f = file.function("layer_0.")
        for key, want in file.tensors.items():
            found = re.fullmatch(r"step\.(\w+?)([\d.]*)_(\d+)_(m?\d+)\.x_next", key)
            if found is None:
                continue
            kind, eta = found[1], float(found[2] or 0)
            t, t_next = int(found[3]), -1 if found[4] == "m1" else int(found[4])
            noise = file.tensors.get(key.replace("x_next", "noise"))
            if kind == "inv":
                steps = invert(file.net, file["x"], [t, t_next])
            else:
                edits = {
                    "edit": Edit(f, t_edit=file.t_edit),
                    "edit_below": Edit(f, t_edit=file.t_edit),
                    "edit_lambda": Edit(f, t_edit=file.t_edit, dt_lambda=0.9985),
                }
                grid = [t] if t_next == -1 else [t_next, t]
                steps = reverse(file.net, file["x"], grid, edits.get(kind), eta,
                                noise=lambda t, like, z=noise: z)  # fmt: skip
            with torch.no_grad():
                step = next(steps)
            assert (step.t, step.t_next) == (t, t_next)
            for part, got in (("x_next", step.x_next), ("x0_t", step.p)):
                want = file[key.replace("x_next", part)]
                size = max(1.0, float(want.abs().max()))
                assert_close(got / size, want / size, 1e-5, what=f"{file.name} {key} {part}")
            compared += 1
    if not compared:
        pytest.skip("no recorded steps")


# Whole processes


def processes(folder: Path, *keys: str):
    """Recorded processes that hold these keys: ``{n}`` stands for each recorded number of steps."""
    found = 0
    for file in recorded(folder, "process"):
        for n in sorted(int(m[1]) for k in file.tensors if (m := re.fullmatch(r"n(\d+)\.seq", k))):
            if all(key.format(n=n) in file.tensors for key in keys):
                yield file, n, file[f"n{n}.seq"].tolist()
                found += 1
    if not found:
        pytest.skip(f"no recorded process with {', '.join(keys)}")


def final(file: Recorded, n: int, grid: list[int], edit: Edit | None = None, **more) -> Tensor:
    return last(reverse(file.net, file[f"n{n}.x_T"], grid, edit, **more))


def edit_of(file: Recorded, direction: Direction | None = None, **more) -> Edit:
    direction = file.function("layer_0.") if direction is None else direction
    return Edit(direction, **({"t_edit": file.t_edit} | more))


def test_grids(golden_dir) -> None:
    for _, n, grid in processes(golden_dir("asyrp")):
        assert Schedule.linear().grid(n) == grid


def test_inversions(golden_dir) -> None:
    for file, n, grid in processes(golden_dir("asyrp"), "n{n}.x_T"):
        with torch.no_grad():
            x = [step.x_next for step in invert(file.net, file["x0"], grid)]
        assert_close(x[-1], file[f"n{n}.x_T"], PROCESS, what=f"{file.name} n{n}")
        if f"n{n}.inv_traj" in file.tensors:
            assert_close(torch.stack(x), file[f"n{n}.inv_traj"], PROCESS, what=file.name)


def test_reconstructions(golden_dir) -> None:
    for file, n, grid in processes(golden_dir("asyrp"), "n{n}.recon", "n{n}.origin_final"):
        got = final(file, n, grid)
        for key in (f"n{n}.recon", f"n{n}.origin_final"):
            assert_close(got, file[key], PROCESS, what=f"{file.name} {key}")


def test_edits(golden_dir) -> None:
    for file, n, grid in processes(golden_dir("asyrp"), "n{n}.edit_final"):
        got = final(file, n, grid, edit_of(file))
        assert_close(got, file[f"n{n}.edit_final"], PROCESS, what=f"{file.name} n{n}")


def test_edited_trajectories(golden_dir) -> None:
    for file, n, grid in processes(golden_dir("asyrp"), "n{n}.edit_traj_x", "n{n}.edit_traj_x0_t"):
        with torch.no_grad():
            steps = list(reverse(file.net, file[f"n{n}.x_T"], grid, edit_of(file)))
        for part, key in (("x_next", f"n{n}.edit_traj_x"), ("p", f"n{n}.edit_traj_x0_t")):
            for step, want in zip(steps, file[key], strict=True):
                size = max(1.0, float(want.abs().max()))  # that of P at t=999 is about 100
                got = getattr(step, part)
                assert_close(got / size, want / size, PROCESS, what=f"{file.name} {key}")


@pytest.mark.parametrize("edited", [True, False])
def test_boosting_with_the_recorded_noise(golden_dir, edited: bool) -> None:
    kind = "boost" if edited else "origin_boost"
    for file, n, grid in processes(golden_dir("asyrp"), f"n{{n}}.{kind}.final"):
        noise, times = file[f"n{n}.{kind}.noise"], file[f"n{n}.{kind}.noise_t"].tolist()
        drawn = dict(zip(times, noise, strict=True))
        t_boost = max(times) + 1
        edit = edit_of(file, t_boost=t_boost) if edited else None
        got = final(file, n, grid, edit, t_boost=t_boost, noise=lambda t, like, d=drawn: d[t])
        assert_close(got, file[f"n{n}.{kind}.final"], PROCESS, what=f"{file.name} n{n}")


def test_other_steps_than_trained(golden_dir) -> None:
    """``ntrain{m}_ntest{n}``: delta h times m / n, as `Edit.of` does with what the file says."""
    compared = 0
    for file in recorded(golden_dir("asyrp"), "process"):
        for key, want in file.tensors.items():
            if found := re.fullmatch(r"ntrain(\d+)_ntest(\d+)\.edit_final", key):
                trained, n = map(int, found.groups())
                f = file.function("layer_0.")
                f.about = {"t_edit": file.t_edit, "steps": trained}
                grid = Schedule.linear().grid(n)
                x = file[f"n{trained}.x_T"]
                got = last(reverse(file.net, x, grid, Edit.of(f, steps=n)))
                assert_close(got, want, PROCESS, what=f"{file.name} {key}")
                compared += 1
    if not compared:
        pytest.skip("no recorded edit with other steps")


def test_factors_and_dt_lambda(golden_dir) -> None:
    compared = 0
    for file, n, grid in processes(golden_dir("asyrp")):
        for key, want in file.tensors.items():
            if found := re.fullmatch(rf"n{n}\.hs([\d.-]+)_([\d.-]+)\.edit_final", key):
                edit = edit_of(file, strength=float(found[2]), h_factor=float(found[1]))
            elif found := re.fullmatch(rf"n{n}\.dt_lambda([\d.]+)\.edit_final", key):
                edit = edit_of(file, dt_lambda=float(found[1]))
            else:
                continue
            assert_close(final(file, n, grid, edit), want, PROCESS, what=f"{file.name} {key}")
            compared += 1
    if not compared:
        pytest.skip("no recorded factors")


def test_interpolations_run_as_one_batch(golden_dir) -> None:
    for file, n, grid in processes(golden_dir("asyrp"), "n{n}.interp.val", "n{n}.interp.final"):
        values, want = file[f"n{n}.interp.val"].float(), file[f"n{n}.interp.final"]
        x = file[f"n{n}.x_T"]
        edit = edit_of(file, strength=values.repeat_interleave(len(x)))
        got = last(reverse(file.net, x.repeat(len(values), 1, 1, 1), grid, edit))
        assert_close(got.view_as(want), want, PROCESS, what=file.name)


def test_several_attributes(golden_dir) -> None:
    """hs=(1, 1/sqrt2, 0.5/sqrt2)."""
    for file, n, grid in processes(golden_dir("asyrp"), "n{n}.multi.edit_final"):
        functions = [file.function(f"multi.{k}.") for k in range(2)]
        both = Combination(functions, [1 / 2**0.5, 0.5 / 2**0.5])
        got = final(file, n, grid, edit_of(file, both))
        assert_close(got, file[f"n{n}.multi.edit_final"], PROCESS, what=file.name)


def test_mean_delta_h(golden_dir) -> None:
    for file, n, grid in processes(golden_dir("asyrp"), "mean_delta_h.global"):
        per_t = {
            int(k[14:]): v[0] for k, v in file.tensors.items() if k.startswith("mean_delta_h.t")
        }
        if sorted(per_t) != [t for t in grid if t >= file.t_edit]:
            continue  # recorded with another number of steps
        for batch in (1, 16):
            x, edit = file[f"n{n}.x_T"], edit_of(file)
            shift = mean_delta_h(file.net, x, grid, edit, batch=batch)
            assert shift.timesteps == sorted(per_t)
            for t, row in zip(shift.timesteps, shift.delta, strict=True):
                assert_close(row, per_t[t], PROCESS, what=f"{file.name} t={t}")
            shift = mean_delta_h(file.net, x, grid, edit, per_timestep=False, batch=batch)
            assert shift.timesteps is None
            assert_close(shift.delta, file["mean_delta_h.global"][0], PROCESS, what=file.name)


def test_distance_table(golden_dir) -> None:
    """The release's curves, of mean squared errors: it takes one image more than it is asked for,
    and keeps the P of each step under the timestep that the step leads to (facts a.8, g.14)."""
    folder = golden_dir("asyrp")
    path = folder / "distance_table.safetensors"
    if not path.exists() or not (folder / "ddpm_A_weights.safetensors").exists():
        pytest.skip("no distance_table.safetensors, or not its network")
    table = load_file(path)
    net = load(
        str(folder / "ddpm_A_weights.safetensors"), told=told({"image_size": table["x0"].shape[-1]})
    )
    images, keys = table["x0"][:3], table["x.key"].long().tolist()
    curves = {"x": CurveMeans(), "x0_t": CurveMeans()}
    with torch.no_grad():
        for step in invert(net, images, net.schedule.grid(len(keys) + 1)):
            for name, x in (("x", step.x_next), ("x0_t", step.p)):
                curves[name].add(step.t_next, (x - images).square().flatten(1).mean(1))
    for name, curve in curves.items():
        for values, end in ((curve.mean(), ""), (curve.std(), "_std")):
            assert list(values) == table[f"{name}{end}.key"].long().tolist() == keys
            got, want = torch.tensor(list(values.values())), table[f"{name}{end}.value"].float()
            assert_close(got, want, 1e-4, 1e-4, what=name + end)
