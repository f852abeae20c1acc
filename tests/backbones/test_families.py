"""Original checkpoint files: each family is read as what it is, or refused in one line."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import tiny
from hsl.backbones import PRESETS, SOURCES, TAPS, Backbone, Unstated, load
from hsl.backbones.assembly import assemble
from hsl.backbones.original import Original, meta_unet, of_state, understand
from hsl.backbones.schedule import Schedule
from hsl.backbones.state import finite
from hsl.directions import ImplicitFunction
from hsl.errors import HslError
from hsl.process import Edit, reverse
from originals import ADM, DDPM, reinit
from recorded import told

SIX = (1, 1, 2, 2, 4, 4)


# Recorded outputs of the original networks.


@pytest.mark.golden
@pytest.mark.parametrize("tap", TAPS)
def test_recorded_families(golden_dir, tap) -> None:
    compared = 0
    for recorded in sorted(golden_dir("boundary").glob("fam_*_io.safetensors")):
        path = recorded.with_name(recorded.name.replace("_io.", "."))
        if not path.exists():
            continue
        with safe_open(path, framework="pt") as file:
            config = json.loads(file.metadata()["config"])
        net, want = load(str(path), tap, told=told(config)), load_file(recorded)
        with torch.no_grad():
            b = net.encode(want["x"], want["t"])
            out = net.output(b)
        assert (out - want["out"]).abs().max() <= 2e-5, path.name
        assert torch.equal(out, net.unet(want["x"], want["t"]).sample)
        assert net.learned_variance == (out.shape[1] == 2 * want["x"].shape[1])
        assert torch.equal(net.decode(b), out[:, : net.channels])
        if tap == "after":
            assert (b.h - want["mid_h"]).abs().max() <= 5e-5, path.name
        compared += 1
    assert compared


def asyrp_models(folder: Path) -> Iterator[tuple[dict[str, Any], Any, dict[str, Tensor]]]:
    for path in sorted(folder.glob("*_config.json")):
        weights, forward = (
            path.with_name(path.name.replace("_config.json", f"_{kind}.safetensors"))
            for kind in ("weights", "forward")
        )
        if weights.exists() and forward.exists():
            about = json.loads(path.read_text())
            net = load(str(weights), told=told(about["config"]))
            yield about, net, load_file(forward)


@pytest.mark.golden
def test_recorded_plain_passes(golden_dir) -> None:
    compared = 0
    for about, net, want in asyrp_models(golden_dir("asyrp")):
        assert net.h_shape == tuple(about["h_shape"])
        for key, eps in want.items():
            if not key.startswith("plain.") or not key.endswith(".eps"):
                continue
            name = key.split(".")[1]
            t = want["plain.mixed.t"] if name == "mixed" else int(name[1:])
            with torch.no_grad():
                b = net.encode(want["x"], t)
                out = net.output(b)[:, : eps.shape[1]]
            assert torch.allclose(out, eps, atol=2e-5, rtol=1e-4), key
            for part, got in (("h", b.h), ("temb", b.temb[:1])):
                if f"plain.{name}.{part}" in want:
                    expected = want[f"plain.{name}.{part}"]
                    assert torch.allclose(got, expected, atol=2e-5, rtol=1e-4), (key, part)
            compared += 1
    assert compared


@pytest.mark.golden
def test_recorded_blocks(golden_dir) -> None:
    """``block.t{T}.hs{a}_{b}``: h becomes a h + b f(h, temb), at t_edit and above."""
    compared = 0
    for about, net, want in asyrp_models(golden_dir("asyrp")):
        f = released_function(want, "layer_0.", net.h_shape[0])
        for key, expected in want.items():
            parts = key.split(".", 2)
            if parts[0] != "block":
                continue
            t = int(parts[1][1:])
            with torch.no_grad():
                b = net.encode(want["x"], t)
                delta = f(b, want["x"], t)
                if parts[2] == "delta_h":
                    got = delta
                else:
                    scale, strength = map(float, parts[2].split(".eps")[0][2:].split("_"))
                    edited = b._replace(h=scale * b.h + strength * delta)
                    got = net.decode(edited if t >= about["t_edit"] else b)
            assert torch.allclose(got, expected, atol=2e-5, rtol=1e-4), key
            compared += 1
    assert compared


def released_function(tensors: dict[str, Tensor], prefix: str, channels: int) -> ImplicitFunction:
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    ddpm = "conv1.weight" in state
    temb = state["temb_proj.weight" if ddpm else "emb_layers.1.weight"].shape[1]
    f = ImplicitFunction(channels, temb, "ddpm" if ddpm else "adm")
    f.load_state_dict(state)
    return f


# Every layout, made here at small width.

SMALL = {
    "ddpm": (lambda: DDPM(32, (1, 2, 2), 2, [8], 16), Unstated(16)),
    "ddpm, several attentions": (lambda: DDPM(32, (1, 1, 2), 1, [16, 4], 16), Unstated(16)),
    "adm, updown, legacy": (
        lambda: ADM(32, (1, 2, 3), 2, [8, 4], 16, True, True, True, head_channels=16),
        Unstated(16, "legacy", head_channels=16),
    ),
    "adm, updown, new": (
        lambda: ADM(32, (1, 2), 1, [8], 16, True, False, False, head_channels=32, new_order=True),
        Unstated(16, "new", head_channels=32),
    ),
    "adm, plain, new, heads": (
        lambda: ADM(32, (1, 2), 2, [8], 16, False, True, True, heads=2, new_order=True),
        Unstated(16, "new", heads=2),
    ),
    "iddpm, one head": (
        lambda: ADM(32, (1, 2, 2), 2, [4], 16, False, False, True, heads=1),
        Unstated(16, "legacy", heads=1),
    ),
    "iddpm, mixed widths": (
        lambda: ADM(32, (1, 2, 3), 1, [8, 4], 16, False, True, True, heads=4),
        Unstated(16, "legacy", heads=4, schedule="cosine", timesteps=4000, rescaled=True),
    ),
    "adm, updown, mixed widths": (
        lambda: ADM(32, (2, 3), 1, [16, 8], 16, True, True, True, heads=4),
        None,
    ),
}


def small(name: str) -> tuple[torch.nn.Module, Unstated]:
    make, facts = SMALL[name]
    net = make().eval().requires_grad_(False)
    reinit(net, 3)
    assert facts is not None
    return net, facts.filled(Unstated(schedule="linear"))


@pytest.mark.parametrize("name", [name for name, (_, facts) in SMALL.items() if facts])
def test_each_layout_equals_its_original(name: str, tmp_path: Path) -> None:
    net, facts = small(name)
    path = tmp_path / "file.pt"
    torch.save(net.state_dict(), path)
    loaded = load(str(path), told=facts)
    x, t = torch.randn(3, 3, 16, 16), torch.tensor([0, 400, 999])
    scale = 0.25 if facts.rescaled else 1.0
    want, h = net(x, t * scale, return_h=True)
    with torch.no_grad():
        b = loaded.encode(x, t)
        assert (loaded.output(b) - want).abs().max() <= 2e-5
        assert (b.h - h).abs().max() <= 5e-5
    assert len(loaded.schedule) == (facts.timesteps or 1000)


def test_other_timesteps_are_told_whole() -> None:
    """Whether the network sees t or 1000 t / T is not guessed."""
    net, _ = small("iddpm, one head")
    facts = Unstated(16, "legacy", heads=1, schedule="cosine", timesteps=4000)
    with pytest.raises(HslError, match="say --rescaled or --no-rescaled to"):
        of_state(net.state_dict(), "file", told=facts)
    for rescaled, scale in ((True, 0.25), (False, 1.0)):
        told = replace(facts, rescaled=rescaled)
        assert of_state(net.state_dict(), "file", told=told).timestep_scale == scale


def test_more_linear_timesteps_add_as_much_noise() -> None:
    """ADM's code: betas of T steps are 1000 / T times those of 1000."""
    net, _ = small("iddpm, one head")
    facts = Unstated(16, "legacy", heads=1, schedule="linear", timesteps=4000, rescaled=True)
    schedule = of_state(net.state_dict(), "file", told=facts).schedule
    assert schedule.betas[[0, -1]].tolist() == pytest.approx([0.25e-4, 0.005])
    assert schedule.alpha_bar(3999) == pytest.approx(Schedule.linear().alpha_bar(999), rel=0.1)


def test_a_first_level_of_another_width_is_refused() -> None:
    net = SMALL["adm, updown, mixed widths"][0]()
    with pytest.raises(HslError, match="ADM 512"):
        of_state(net.state_dict(), "file", told=Unstated(16, "legacy", heads=4, schedule="linear"))


# At full size, without weights.

FULL = {
    "ddpm-256": (lambda: DDPM(128, SIX, 2, [16], 256), 113_673_219),
    "ddpm-celeba-64": (lambda: DDPM(128, (1, 2, 2, 2, 4), 2, [16], 64), None),
    "p2-256": (lambda: ADM(128, SIX, 1, [16], 256, True, True, True, head_channels=64), 93_563_910),
    "adm-256": (
        lambda: ADM(256, SIX, 2, [32, 16, 8], 256, True, True, True, head_channels=64),
        552_814_086,
    ),
    "iddpm-lsun-256": (
        lambda: ADM(128, SIX, 2, [16], 256, False, False, True, heads=1),
        113_676_678,
    ),
    "iddpm-imagenet-64": (
        lambda: ADM(128, (1, 2, 3, 4), 3, [16, 8], 64, False, True, True, heads=4),
        None,
    ),
}


def meta(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(FULL[name][0]().state_dict())


@pytest.mark.parametrize("name", FULL)
def test_full_size_key_sets(name: str) -> None:
    state = meta(name)
    original = of_state(state, name)
    assert original.about["preset"] == name  # found by its shapes
    assert original.unstated == PRESETS[name].unstated
    shapes = meta_unet(original.config)
    parameters = sum(torch.Size(shape).numel() for shape in shapes.values())
    assert parameters == sum(tensor.numel() for tensor in state.values())
    if FULL[name][1]:
        assert parameters == FULL[name][1]
    assert {entry.source for entry in original.keys.values()} == set(state)


def test_presets_differ_in_their_shapes() -> None:
    """Else a file could be taken for another model."""
    by_shape = {n: p for n, p in PRESETS.items() if not p.unstated.untrained_labels}
    assert len({preset.architecture for preset in by_shape.values()}) == len(by_shape)
    assert set(FULL) == set(by_shape)
    for source in SOURCES.values():
        assert bool(source.hub) != bool(source.file and source.url and source.preset in PRESETS)


def test_strays_are_dropped_with_a_warning_on_loading(tmp_path: Path) -> None:
    net, facts = small("ddpm")
    stray = {"layer_0.conv1.weight": torch.ones(1)}
    torch.save(net.state_dict() | stray, tmp_path / "file.pt")
    with pytest.warns(UserWarning, match="file.pt: left out layer_0, no part"):
        assert load(str(tmp_path / "file.pt"), told=facts).name == "file"


def of_asyrp() -> dict[str, Tensor]:
    return meta("adm-256") | {
        "label_emb.weight": torch.empty(1000, 1024, device="meta"),
        "layer_0.in_layers.0.weight": torch.empty(1024, device="meta"),
    }


def test_strays_are_dropped_with_a_note() -> None:
    for preset, facts in (("adm-256-asyrp", None), (None, Unstated(untrained_labels=True))):
        original = of_state(of_asyrp(), "file", preset, facts)
        assert original.about["dropped"] == ["label_emb", "layer_0"]
        assert original.about["untrained_labels"] is True
        assert original.config == of_state(meta("adm-256"), "file").config


@pytest.mark.parametrize("preset", [None, "adm-256"])
def test_class_conditional_files_are_refused(preset: str | None) -> None:
    """Unless they are said to be unconditional ones in whose label_emb nothing was learnt."""
    with pytest.raises(HslError, match=r"file: class-conditional.*uncond.*--untrained-labels"):
        of_state(of_asyrp(), "file", preset)
    net = ADM(32, (1, 2), 1, [8], 16, False, True, True, heads=1, num_classes=3)
    with pytest.raises(HslError, match="file: class-conditional"):  # before what else is missing
        of_state(net.state_dict(), "file")


WRAPPED = ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.",
           "_fsdp_wrapped_module.")  # fmt: skip


@pytest.mark.parametrize("prefix", WRAPPED)
def test_names_wrapped_by_ddp_or_compile(prefix: str, tmp_path: Path) -> None:
    net, facts = small("adm, updown, legacy")
    torch.save({prefix + key: tensor for key, tensor in net.state_dict().items()}, tmp_path / "f")
    got = of_state(net.state_dict(), "file", told=facts)
    wrapped = understand(tmp_path / "f", told=facts)
    assert all(torch.equal(got.tensors[k], wrapped.tensors[k]) for k in got.tensors)
    assert len(wrapped.tensors) == len(got.tensors)


def test_blocks_compiled_one_by_one_and_averaged_models() -> None:
    net, facts = small("adm, updown, legacy")
    inner = {k.replace("middle_block.", "middle_block._orig_mod."): v
             for k, v in net.state_dict().items()}  # fmt: skip
    assert any("_orig_mod" in key for key in inner)
    averaged = {f"module.{k}": v for k, v in inner.items()} | {"n_averaged": torch.tensor(7)}
    assert set(of_state(averaged, "file", told=facts).tensors) == set(net.state_dict())


# What is wrong is said.


def faulty(fault: str) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """A state dict, arguments of `of_state`, and what its refusal says."""
    state = meta("p2-256")
    key = "middle_block.0.in_layers.2.weight"
    if fault == "missing":
        del state[key]
        return state, {}, f"1 missing ({key})"
    if fault == "unexpected":
        return state | {"extra.weight": torch.ones(1)}, {}, "1 unexpected (extra.weight)"
    if fault == "misshapen":
        state[key] = torch.empty(1, 512, 3, 3, device="meta")
        return state, {}, f"1 misshapen ({key} [1, 512, 3, 3] for [512, 512, 3, 3])"
    if fault == "no first convolution":
        del state["input_blocks.0.0.weight"]
        return state, {}, "incomplete, without 'input_blocks.0.0.weight'"
    if fault == "no way up":
        return {k: v for k, v in state.items() if "output_blocks.0" not in k}, {}, "incomplete"
    if fault == "half the levels":
        return {k: v for k, v in state.items() if "output_blocks.7" not in k}, {}, "--"
    if fault == "another preset":
        return state, {"preset": "adm-256"}, "not a adm-256: it has channels 128, not 256"
    if fault == "no such preset":
        return state, {"preset": "adm"}, "want one of ddpm-256"
    if fault == "integers":
        state[key] = state[key].to(torch.int8)
        return state, {}, f"1 entries are not tensors of floats ({key})"
    if fault == "sparse":
        state = dict(SMALL["ddpm"][0]().state_dict())
        state["conv_in.weight"] = state["conv_in.weight"].detach().to_sparse()
        return state, {}, "1 entries are sparse or nested (conv_in.weight)"
    if fault == "repeated":
        state[key] = torch.zeros(1).expand(512, 512, 3, 3)
        return state, {}, f"1 entries are larger than what the file holds ({key})"
    if fault == "an image that cannot be halved":
        return state, {"told": Unstated(100)}, "file.pt: x of 100 x 100; want a side"
    if fault == "two networks":
        return state | {f"module.{key}": state[key]}, {}, "with and without 'module.'"
    if fault == "too narrow":
        narrow = DDPM(64, (1, 2), 1, [8], 16).state_dict()
        widths = {64: 48, 128: 96, 192: 144, 256: 192}
        narrow = {
            k: torch.empty([widths.get(n, n) for n in v.shape], device="meta")
            for k, v in narrow.items()
        }
        facts = {"told": Unstated(16, schedule="linear")}
        return narrow, facts, "no diffusers U-Net has its shapes (num_channels (48)"
    if fault == "a wider first level":
        wide = DDPM(32, (2, 4), 1, [8], 16).state_dict()
        return dict(wide), {}, "a first level of another width"
    if fault == "too few timesteps":
        facts = Unstated(timesteps=10, rescaled=False)
        return state, {"told": facts}, "no linear schedule of 10 steps"
    if fault == "heads that do not divide":
        return state, {"told": Unstated(heads=7)}, "heads=7"
    small_state = ADM(32, (1, 2), 1, [8], 16, True, True, True, head_channels=32).state_dict()
    return dict(small_state), {}, "say --image-size, --schedule, --qkv, --heads or --head-channels"


@pytest.mark.parametrize(
    "fault",
    ["missing", "unexpected", "misshapen", "no first convolution", "half the levels",
     "no way up",
     "another preset", "no such preset", "heads that do not divide", "no preset", "integers",
     "two networks", "sparse", "repeated", "an image that cannot be halved", "too narrow",
     "a wider first level", "too few timesteps"],
)  # fmt: skip
def test_faults_are_named_in_one_line(fault: str) -> None:
    state, arguments, says = faulty(fault)
    with pytest.raises(HslError) as error:
        of_state(state, "file.pt", **arguments)
    text = str(error.value)
    assert "\n" not in text and says in text, text


@pytest.mark.parametrize(
    "numbers",
    [{"timesteps": 10**11}, {"timesteps": 2 * 10**9}, {"timesteps": 1}, {"image_size": 10**11},
     {"image_size": 0}, {"heads": 10**9}, {"head_channels": -1}, {"image_size": 16.0}],
)  # fmt: skip
def test_numbers_that_no_model_has(numbers: dict[str, Any]) -> None:
    (name,) = numbers
    with pytest.raises(HslError, match=f"--{name.replace('_', '-')}.*want a whole number from"):
        Unstated(**numbers)


def test_parameters_are_no_state_dict(tmp_path: Path) -> None:
    net, facts = small("ddpm")
    torch.save(dict(net.named_parameters()), tmp_path / "file.pt")
    with pytest.raises(HslError, match=r"are parameters, not a state_dict's.*give the state_dict"):
        load(str(tmp_path / "file.pt"), told=facts)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    net, facts = small("ddpm")
    state = dict(net.state_dict())
    state["mid.attn_1.q.weight"] = state["mid.attn_1.q.weight"].clone()
    state["mid.attn_1.q.weight"][3, 1] = value
    torch.save(state, tmp_path / "file.pt")
    says = r"file.pt: mid_block.attentions.0.to_q.weight has values that are NaN or infinite"
    with pytest.raises(HslError, match=says):
        load(str(tmp_path / "file.pt"), told=facts)


def test_finite_values_whose_sum_is_not() -> None:
    tensor = torch.full((4,), 3e38)
    (found,) = finite([("a", tensor)], "file")
    assert torch.equal(found[1], tensor)


def understood(held: Any, tmp_path: Path, part: str | None = None) -> Original:
    torch.save(held, tmp_path / "file.pt")
    return understand(tmp_path / "file.pt", told=Unstated(16, schedule="linear"), part=part)


def test_the_moving_average_is_taken(tmp_path: Path) -> None:
    net, _ = small("ddpm")
    state = net.state_dict()
    raw = {f"module.{key}": tensor + 1 for key, tensor in state.items()}
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4}]}
    ddim = understood([raw, optimiser, 7, 400, state], tmp_path)
    assert ddim.about["part"] == "4"
    assert torch.equal(ddim.tensors["conv_in.bias"], state["conv_in.bias"])
    first = understood([raw, optimiser, 7, 400, state], tmp_path, part="0")
    assert torch.equal(first.tensors["conv_in.bias"], state["conv_in.bias"] + 1)
    named = understood({"model": raw, "ema": state, "step": 7}, tmp_path)
    assert named.about["part"] == "ema"
    with pytest.raises(HslError, match="several U-Nets: say which by part: model, other"):
        understood({"model": raw, "other": state}, tmp_path)
    with pytest.raises(HslError, match="no U-Net at 'optimiser'"):
        understood({"model": raw, "other": state}, tmp_path, part="optimiser")


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"0": {"conv1.weight": torch.ones(1)}}, "hsl.directions.Direction.load"),
        ({"time_embedding.linear_1.weight": torch.ones(1)}, "diffusers' layout"),
        ({"model.diffusion_model.time_embed.0.weight": torch.ones(1)}, "CompVis"),
        ({"fc.weight": torch.ones(1)}, "not a U-Net of a known family (holds fc.weight)"),
        ({"epoch": 3}, "no tensors"),
        (CYCLE, "holds itself"),
    ],
)
def test_files_of_other_kinds(held: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(HslError) as error:
        understood(held, tmp_path)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_named_file_that_is_missing_says_what_to_put_where(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HSL_WEIGHTS", str(tmp_path))
    with pytest.raises(HslError) as error:
        load("ffhq-p2")
    for part in ("ffhq_p2.pt", "github.com/jychoi118/P2-weighting", str(tmp_path / "ffhq_p2.pt")):
        assert part in str(error.value)
    net, _ = small("ddpm")
    torch.save(net.state_dict(), tmp_path / "ffhq_p2.pt")
    with pytest.raises(HslError, match="not a p2-256: it has family ddpm"):
        load("ffhq-p2")


# Learned variance.


def test_ancestral_sampling_takes_the_learned_variance() -> None:
    """Of a network whose v is 1 the noise has the variance beta, of v = -1 the posterior's."""
    net, facts = small("adm, updown, legacy")
    original = of_state(net.state_dict(), "small", told=facts)
    unet = assemble(UNet2DModel, original.config, original.converted(), "small")
    backbone = Backbone(unet, original.schedule)
    x = torch.randn(1, 3, 16, 16)
    grid, one = [0, 300, 600], lambda t, like: torch.ones_like(like)

    def spread(v: float, edit: Edit | None = None) -> list[Tensor]:
        backbone.unet.conv_out.weight.data[3:] = 0
        backbone.unet.conv_out.bias.data[3:] = v
        zero = lambda t, like: torch.zeros_like(like)  # noqa: E731
        steps = [
            next(iter(reverse(backbone, x, grid, edit, 1.0, noise=noise, learned=True))).x_next
            for noise in (one, zero)
        ]
        return steps[0] - steps[1]

    a, a_next = backbone.schedule.alpha_bar(600), backbone.schedule.alpha_bar(300)
    beta = 1 - a / a_next
    f = ImplicitFunction(backbone.h_shape[0], backbone.temb_dim)
    for edit in (None, Edit(f)):
        assert torch.allclose(spread(1.0, edit), torch.tensor(beta).sqrt().float(), rtol=1e-4)
        posterior = torch.tensor(beta * (1 - a_next) / (1 - a)).sqrt().float()
        assert torch.allclose(spread(-1.0, edit), posterior, rtol=1e-4)


def test_a_network_without_variance_has_none_to_give() -> None:
    with pytest.raises(HslError, match="predicts no variance"):
        next(iter(reverse(tiny.backbone(), torch.zeros(1, 3, 8, 8), [0, 9], eta=1.0, learned=True)))
