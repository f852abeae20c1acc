"""``python -m hsl.convert``: original files become folders that are the same network."""

import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline
from safetensors.torch import load_file, save_file

from hsl import convert
from hsl.backbones import load
from hsl.backbones.eps_error import (
    LEVELS,
    LINEAR_THRESHOLD,
    RECORDED_THRESHOLD,
    check,
    eps_errors,
    linear_errors,
)
from hsl.data.images import save_image
from hsl.data.toyfaces import ToyFacesDataModule
from hsl.errors import HslError
from hsl.files import checkpoints
from hsl.process import last, reverse
from originals import ADM, DDPM, reinit

ROOT = Path(__file__).resolve().parents[1]
FACTS = ["--image-size", "16", "--schedule", "linear"]


def original(path: Path, net: torch.nn.Module, kind: str = "zip") -> torch.nn.Module:
    """A random network and its file in its original layout."""
    reinit(net, 5)
    if kind == "safetensors":
        save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    return net.eval().requires_grad_(False)


def ddpm() -> DDPM:
    return DDPM(32, (1, 2), 1, [8], 16)


def mixed() -> ADM:
    return ADM(32, (1, 2, 3), 1, [8, 4], 16, False, True, True, heads=4)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_convert_load_and_sample(kind: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / ("file.safetensors" if kind == "safetensors" else "file.pt")
    net, out = original(path, ddpm(), kind), tmp_path / "models" / "mine"
    assert convert.main([str(path), str(out), *FACTS]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    backbone = load(str(out))
    assert (backbone.name, backbone.image_size) == ("mine", 16)
    x = torch.randn(2, 3, 16, 16)
    steps = list(reverse(backbone, x, backbone.schedule.grid(4), eta=0.0))
    for step in steps:  # every eps of the sampler is the original's
        want = net(step.x, torch.tensor([step.t] * 2))
        assert (step.eps - want).abs().max() <= 2e-5 * max(1.0, float(want.abs().max()))
    assert torch.equal(last(steps), steps[-1].x_next)
    assert load(str(path), told=convert.Unstated(16, schedule="linear")).hash == backbone.hash


def test_mixed_heads_survive_a_save_and_a_load(tmp_path: Path) -> None:
    net, out = original(tmp_path / "file.pt", mixed()), tmp_path / "out"
    options = ["--image-size", "16", "--qkv", "legacy", "--heads", "4", "--schedule", "cosine",
               "--timesteps", "4000", "--rescaled"]  # fmt: skip
    assert convert.main([str(tmp_path / "file.pt"), str(out), *options]) == 0
    backbone = load(str(out))
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([100, 3999])
    with torch.no_grad():
        got = backbone.output(backbone.encode(x, t))
    assert (got - net(x, t * 0.25)).abs().max() <= 2e-5
    assert len(backbone.schedule) == 4000
    about = json.loads((out / "hsl.json").read_text())
    assert (about["mixed_heads"], about["timestep_scale"]) == (4, 0.25)
    assert about["original"]["qkv"] == "legacy" and len(about["original"]["sha256"]) == 64
    about.pop("mixed_heads")
    (out / "hsl.json").write_text(json.dumps(about))
    assert load(str(out)).hash != backbone.hash  # without it, it is another network


def test_the_folders_schedule_is_the_files(tmp_path: Path) -> None:
    """Of ADM with other timesteps, linear: betas are scaled by 1000 / T."""
    original(tmp_path / "file.pt", ADM(32, (1, 2), 1, [8], 16, False, False, True, heads=1))
    options = [*FACTS, "--qkv", "legacy", "--heads", "1", "--timesteps", "500", "--no-rescaled"]
    assert convert.main([str(tmp_path / "file.pt"), str(tmp_path / "out"), *options]) == 0
    backbone = load(str(tmp_path / "out"))
    facts = convert.Unstated(16, "legacy", 1, None, "linear", 500, False)
    assert backbone.hash == load(str(tmp_path / "file.pt"), told=facts).hash
    assert float(backbone.schedule.betas[-1]) == pytest.approx(0.04)


def test_labels_that_were_never_trained_are_left_out(tmp_path: Path) -> None:
    labelled = ADM(32, (1, 2), 1, [8], 16, False, False, True, heads=1, num_classes=3)
    reinit(labelled, 5)
    torch.save(labelled.state_dict(), tmp_path / "file.pt")
    options = [*FACTS, "--qkv", "legacy", "--heads", "1", "--untrained-labels"]
    assert convert.main([str(tmp_path / "file.pt"), str(tmp_path / "out"), *options]) == 0
    labelled.label_emb, x, t = None, torch.randn(2, 3, 16, 16), torch.tensor([5, 700])
    backbone = load(str(tmp_path / "out"))
    with torch.no_grad():
        assert (backbone.output(backbone.encode(x, t)) - labelled(x, t)).abs().max() <= 2e-5
    about = json.loads((tmp_path / "out" / "hsl.json").read_text())["original"]
    assert about["dropped"] == ["label_emb"] and about["untrained_labels"] is True


def test_the_folder_is_a_diffusers_pipeline(tmp_path: Path) -> None:
    net, out = original(tmp_path / "file.pt", ddpm()), tmp_path / "out"
    assert convert.main([str(tmp_path / "file.pt"), str(out), *FACTS]) == 0
    pipeline = DDPMPipeline.from_pretrained(out, low_cpu_mem_usage=False)
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([77])
    with torch.no_grad():
        assert (pipeline.unet(x, t).sample - net(x, t)).abs().max() <= 2e-5
    assert pipeline.scheduler.config.clip_sample is False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.pt", "out"], "nowhere.pt"),
        (["file.pt"], "say where to write"),
        (["file.pt", "out"], "say --image-size, --schedule to"),
        (["file.pt", "out", *FACTS, "--preset", "p2-256"], "not a p2-256"),
        (["file.pt", "out", *FACTS, "--preset", "none"], "invalid choice"),
        (["file.pt", "out", *FACTS, "--heads", "0"], "--heads 0"),
        (["file.pt", "out", *FACTS, "--part", "ema"], "no U-Net at 'ema'"),
        (["file.pt", "out", *FACTS, "--heads", "1", "--head-channels", "2"], "not allowed"),
        (["file.pt", "out", *FACTS, "--speed"], "unknown option --speed"),
        (["file.pt", "there", *FACTS], "exists already"),
        (["there", "out", *FACTS], "is a folder"),
        (["file.pt", "out", *FACTS, "--check", "face.png"], "its eps error is"),
        (["file.pt", "out", *FACTS, "--check", "none.png"], "none.png"),
        (["file.pt", "new/folder/out", *FACTS, "--check", "face.png"], "its eps error is"),
        (["file.pt", "dangling", *FACTS], "is a link to what is not there"),
        (["gray.pt", "out", *FACTS, "--check", "face.png"], "takes 1 channels"),
        ([], "say what to convert"),
        (["pipe", "out", *FACTS], "pipe: is a named pipe"),
        (["file.pt", "out", *FACTS, "--check", "pipe"], "pipe: is a named pipe"),
        (["file.pt", "file.pt/out", *FACTS], "file.pt is a file, not a folder"),
        (["file.pt", "o" * 256, *FACTS], "name is too long"),
        (["toyfaces", "--qkv", "new", "--check", "noise.png"], "is a folder"),
        (["file.pt", *FACTS, "--part", "ema", "--check", "face.png"], "no U-Net at 'ema'"),
        (["toyfaces", "--check", "noise.png"], "its eps error is"),
        *((["file.pt", "out", *FACTS, "--timesteps", n], "2 to 100000") for n in ("1", "9" * 11)),
        (["file.pt", "out", *FACTS, "--image-size", "9" * 11], "--image-size 99999999999"),
        (["file.pt", "out", *FACTS, "--image-size", "9" * 5000], "--image-size"),
        (["nan.pt", "out", *FACTS], "nan.pt: conv_in.weight has values that are NaN"),
        (["sparse.pt", "out", *FACTS], "entries are sparse"),
        (["labels.pt", "out", *FACTS, "--qkv", "new", "--heads", "1"], "labels.pt: class-cond"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    original(tmp_path / "file.pt", ddpm())
    original(tmp_path / "gray.pt", DDPM(32, (1, 2), 1, [8], 16, 1, 1))
    state = ddpm().state_dict()
    torch.save({k: v * float("nan") for k, v in state.items()}, tmp_path / "nan.pt")
    torch.save({k: v.to_sparse() for k, v in state.items()}, tmp_path / "sparse.pt")
    labelled = ADM(32, (1, 2), 1, [8], 16, False, False, True, heads=1, num_classes=3)
    torch.save(labelled.state_dict(), tmp_path / "labels.pt")
    (tmp_path / "there").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    save_image("face.png", torch.linspace(-1, 1, 16).expand(3, 16, 16))
    save_image("noise.png", torch.rand(3, 32, 32) * 2 - 1)
    before = sorted(tmp_path.rglob("*"))
    assert convert.main(arguments) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and says in err, err
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_left_when_writing_fails(tmp_path: Path, monkeypatch) -> None:
    original(tmp_path / "file.pt", ddpm())

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints, "write", full)
    assert convert.main([str(tmp_path / "file.pt"), str(tmp_path / "out"), *FACTS]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["file.pt"]


def test_the_command_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hsl.convert", "none.pt", "out"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "none.pt" in done.stderr


# --check


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    data = ToyFacesDataModule(size=32, batch_size=8, test=8)
    data.setup("test")
    return torch.cat([batch.image for batch in data.test_dataloader()])


def exchanged(order: tuple[str, ...]):
    backbone = load("toyfaces")
    for module in backbone.unet.modules():
        if hasattr(module, "to_q"):
            held = {"q": module.to_q, "k": module.to_k, "v": module.to_v}
            module.to_q, module.to_k, module.to_v = (held[name] for name in order)
    return backbone


@pytest.fixture(scope="module")
def errors(faces: torch.Tensor) -> dict[str, torch.Tensor]:
    """Eps errors ``[8, levels]`` of every order of q, k and v; "qkv" is the right one."""
    orders = list(permutations("qkv"))
    return {"".join(order): eps_errors(exchanged(order), faces, draws=2) for order in orders}


def test_permutations_of_q_k_and_v(errors: dict[str, torch.Tensor]) -> None:
    """The right order passes on every face, an exchanged v on none; q and k exchanged shows."""
    recorded = torch.tensor(load("toyfaces").eps_errors)
    ratios = {order: (e / recorded).log().mean(1).exp() for order, e in errors.items()}
    assert ratios["qkv"].max() < RECORDED_THRESHOLD
    assert (ratios["kqv"] > 1.1 * ratios["qkv"]).all()
    for order in ("qvk", "kvq", "vqk", "vkq"):
        assert ratios[order].min() > RECORDED_THRESHOLD


def test_the_linear_filter_separates_them_too(errors, faces: torch.Tensor) -> None:
    linear = linear_errors(load("toyfaces"), faces)
    ratios = {order: (e / linear).log().mean(1).exp() for order, e in errors.items()}
    assert ratios["qkv"].max() < 0.5 * LINEAR_THRESHOLD
    for order in ("qvk", "kvq", "vqk", "vkq"):
        assert (ratios[order] > 3 * ratios["qkv"]).all()


def test_the_reference_is_what_the_folder_records_or_else_the_linear_filter(faces) -> None:
    backbone = load("toyfaces")
    outcome = check(backbone, faces[0])
    assert outcome.passed and outcome.threshold == RECORDED_THRESHOLD
    wrong = exchanged(("v", "q", "k"))
    assert not check(wrong, faces[0]).passed
    backbone.eps_errors = None
    outcome = check(backbone, faces[0])
    assert outcome.passed and outcome.threshold == LINEAR_THRESHOLD


def test_linear_errors_of_white_noise_are_known() -> None:
    """Of white noise of variance v, S = v and the error is a v / (a v + 1 - a)."""
    backbone, v = load("toyfaces"), 0.04
    images = v**0.5 * torch.randn(64, 3, 32, 32)
    errors = linear_errors(backbone, images).mean(0)
    expected = torch.tensor([a * v / (a * v + 1 - a) for a in LEVELS])
    assert torch.allclose(errors, expected, atol=0.02)


def test_eps_errors_of_a_network_that_says_nothing(faces: torch.Tensor) -> None:
    backbone = load("toyfaces")
    backbone.unet.conv_out.weight.data.zero_()
    backbone.unet.conv_out.bias.data.zero_()
    assert torch.allclose(eps_errors(backbone, faces), torch.ones(8, len(LEVELS)), atol=0.05)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(HslError, match="want an image"):
        check(load("toyfaces"), torch.zeros(3, 64, 64))


# Memory


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_memory_of_a_large_file(kind: str, tmp_path: Path) -> None:
    """A process rises by at most 1.3 times the file's size (2.2 of a legacy file)."""
    source = tmp_path / ("file.safetensors" if kind == "safetensors" else "file.pt")
    original(source, DDPM(128, (1, 1, 2, 2, 4, 4), 2, [16], 256), kind)
    size = source.stat().st_size
    assert size > 450e6
    code = """
import sys
from pathlib import Path
from hsl import convert
from hsl.backbones import load
def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
start = resident("VmRSS")
if len(sys.argv) == 2:
    print(sum(float(p.sum()) for p in load(sys.argv[1]).unet.parameters()))
else:
    assert convert.main(sys.argv[1:]) == 0
print(resident("VmHWM") - start)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is measured by /proc")
    for arguments in ([str(source)], [str(source), str(tmp_path / "out")]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True,
                              text=True, check=True)  # fmt: skip
        rose = int(done.stdout.splitlines()[-1])
        assert rose <= (2.2 if kind == "legacy" else 1.3) * size, arguments
    weights = tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors"
    assert sum(t.numel() for t in load_file(weights).values()) == 113_673_219
