"""The reference U-Nets themselves: recorded outputs and the published sizes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from originals import ADM, DDPM, build, reinit

SIX = (1, 1, 2, 2, 4, 4)


@pytest.mark.golden
def test_recorded_outputs(golden_dir: Callable[[str], Path]) -> None:
    compared = 0
    for recorded in sorted(golden_dir("boundary").glob("fam_*_io.safetensors")):
        weights = recorded.with_name(recorded.name.replace("_io.", "."))
        if not weights.exists():
            continue
        with safe_open(weights, framework="pt") as file:
            net = build(json.loads(file.metadata()["config"]))
        net.load_state_dict(load_file(weights), strict=True)
        want = load_file(recorded)
        with torch.no_grad():
            out, h = net(want["x"], want["t"], return_h=True)
        errors = [(out - want["out"]).abs().max().item(), (h - want["mid_h"]).abs().max().item()]
        assert out.shape == want["out"].shape and h.shape == want["mid_h"].shape
        assert errors[0] <= 2e-5 and errors[1] <= 5e-5, (weights.name, errors)
        compared += 1
    assert compared


def ddpm(size: int = 256) -> DDPM:
    return DDPM(128, SIX if size == 256 else (1, 2, 2, 2, 4), 2, [16], size)


def p2() -> ADM:
    return ADM(128, SIX, 1, [16], 256, True, True, True, head_channels=64)


def adm(num_classes: int | None = None) -> ADM:
    at = [32, 16, 8]
    return ADM(256, SIX, 2, at, 256, True, True, True, head_channels=64, num_classes=num_classes)


def improved() -> ADM:
    return ADM(128, SIX, 2, [16], 256, False, False, True, heads=1)


@pytest.mark.parametrize(
    ("make", "parameters", "tensors", "width"),
    [
        (ddpm, 113_673_219, 450, 512),
        (p2, 93_563_910, 362, 512),
        (adm, 552_814_086, 566, 1024),
        (lambda: adm(1000), 553_838_086, 567, 1024),
        (improved, 113_676_678, 426, 512),
    ],
    ids=["ddpm", "p2", "adm", "adm-conditional", "improved"],
)
def test_published_sizes(make, parameters: int, tensors: int, width: int) -> None:
    with torch.device("meta"):
        net, x, t = make(), torch.zeros(1, 3, 256, 256), torch.zeros(1)
        state = net.state_dict()
        assert (sum(v.numel() for v in state.values()), len(state)) == (parameters, tensors)
        labels = (t.long(),) if "label_emb.weight" in state else ()
        out, h = net(x, t, *labels, return_h=True)
    assert out.shape == (1, 3 if make is ddpm else 6, 256, 256) and h.shape == (1, width, 8, 8)


def test_ddpm_at_64_pixels() -> None:
    with torch.device("meta"):
        net = ddpm(64)
        _, h = net(torch.zeros(1, 3, 64, 64), torch.zeros(1), return_h=True)
    assert h.shape == (1, 512, 4, 4)
    assert "down.2.attn.0.q.weight" in net.state_dict()  # at 16 of 64, 32, 16, 8 and 4 pixels


def test_reinit_reaches_every_parameter() -> None:
    a, b, c = (ADM(32, (1, 2), 1, [8], 16, True, True, True, num_classes=5) for _ in range(3))
    for net, seed in ((a, 0), (b, 0), (c, 1)):
        reinit(net, seed)
    for p, same, other in zip(a.parameters(), b.parameters(), c.parameters(), strict=True):
        assert p.equal(same) and not (p == other).any() and p.std() > 0
    assert (a.out[0].weight.mean() - 1).abs() < 0.1 and a.out[0].bias.mean().abs() < 0.1
    weight = a.middle_block[0].in_layers[2].weight
    assert weight.std().item() == pytest.approx((64 * 9) ** -0.5, rel=0.05)
