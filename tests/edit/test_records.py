"""A sample record makes the same images again, bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hsl.directions import Boundary, Combination, Shift
from hsl.edit import records
from hsl.edit.records import SampleRecord, sample
from hsl.errors import HslError
from hsl.process import Edit, SeededNoise, last, reverse
from some_directions import implicit, randn
from tiny import backbone

GRID = [0, 60, 120, 180, 240, 300]  # above, images of an untrained network are not in [-1, 1]
X_T = 0.3 * randn(5, 3, 8, 8, seed=3)
F_T = implicit(zero_init=False)
SHIFT = Shift(randn(32, 4, 4, seed=4))
EDITS = {
    "none": None,
    "implicit": Edit(F_T, 0.7, t_edit=120, t_boost=100),
    "combination": Edit(Combination([F_T, SHIFT], [0.5, -1.0]), 1.0, 60, 0, 240, "symmetric"),
    "per image": Edit(SHIFT, torch.linspace(-1, 1, 5), t_edit=120, t_boost=200),
    "boundary": Edit(Boundary(randn(1, 3, 8, 8), randn(1, 32, 4, 4), [180], 180), 2.0, 180, 0,
                     180, "symmetric"),
    "masked": Edit(SHIFT, 1.0, 0, mask=torch.eye(4).bool(), h_factor=0.5, dt_lambda=0.9),
}  # fmt: skip


@pytest.mark.parametrize("eta", [0.0, 0.5, [0, 0.2, 0.4, 0.6, 0.8, 1]], ids=str)
@pytest.mark.parametrize("name", EDITS)
def test_the_same_images_again(name: str, eta, tmp_path: Path, monkeypatch) -> None:
    edit, index = EDITS[name], torch.tensor([7, 3, 11, 2, 5])
    images, record = sample(backbone(), X_T, GRID, edit, eta, index, seed=4, batch=2)
    plain = last(reverse(backbone(), X_T, GRID, edit, eta, noise=SeededNoise(index, 4)))
    assert torch.allclose(images, plain.clamp(-1, 1), atol=1e-4)
    assert float((images.abs() < 1).float().mean()) > 0.3
    path = record.save(tmp_path / "new" / "record.safetensors")
    monkeypatch.setattr(records, "SeededNoise", None)  # what was drawn is in the file
    found = SampleRecord.load(path)
    assert torch.equal(found.replay(backbone()), images)
    assert (found.grid, found.seed, found.batch) == (GRID, 4, 2)
    assert torch.equal(found.index, index) and found.backbone["backbone_hash"] == backbone().hash
    boost = 0 if edit is None else edit.t_boost
    stochastic = [t for t, e in zip(GRID, found.etas, strict=True) if (e or t < boost) and t > 0]
    assert sorted(found.noises) == stochastic
    assert [p.name for p in path.parent.iterdir()] == ["record.safetensors"]


def test_what_is_recorded_is_what_is_used(tmp_path: Path) -> None:
    images, record = sample(backbone(), X_T, GRID, EDITS["implicit"])
    (t,) = record.noises
    record.noises[t] += 0.1
    changed = SampleRecord.load(record.save(tmp_path / "changed.safetensors"))
    assert not torch.allclose(changed.replay(backbone()), images, atol=1e-3)


def test_the_edit_is_described(tmp_path: Path) -> None:
    F_T.about = {"name": "Smiling", "method": "asyrp"}
    _, record = sample(backbone(), X_T, GRID, EDITS["implicit"])
    edit = SampleRecord.load(record.save(tmp_path / "a.safetensors")).edit
    assert edit is not None and edit.direction.about == F_T.about
    assert (edit.strength, edit.t_edit, edit.t_boost, edit.injection) == (0.7, 120, 100,
                                                                          "asymmetric")  # fmt: skip
    F_T.about = {}


def test_an_older_record_of_a_crossing_is_replayed_as_it_was(tmp_path: Path) -> None:
    """Boundaries had no choice of the h that they move: it was that of the moved x."""
    edit = EDITS["boundary"]
    assert edit is not None
    edit = replace(edit, direction=Boundary(randn(1, 3, 8, 8), randn(1, 32, 4, 4), [180], 180,
                                            h_of="moved"))  # fmt: skip
    images, record = sample(backbone(), X_T, GRID, edit)
    older = dict(edit.direction.config())
    assert older.pop("h_of") == "moved"
    edit.direction.config = lambda: older  # type: ignore[method-assign]
    found = SampleRecord.load(record.save(tmp_path / "a.safetensors"))
    assert torch.equal(found.replay(backbone()), images)


def test_latent_diffusion(tmp_path: Path) -> None:
    net = backbone(space_to_depth=True)
    images, record = sample(net, randn(2, 12, 8, 8), GRID)
    assert images.shape == (2, 3, 16, 16) and float(images.abs().max()) <= 1
    found = SampleRecord.load(record.save(tmp_path / "a.safetensors"))
    assert torch.equal(found.replay(net), images)


@pytest.mark.parametrize("other", [{"seed": 1}, {"tap": "before"}], ids=str)
def test_another_backbone_is_refused(other: dict) -> None:
    _, record = sample(backbone(), X_T[:1], GRID)
    with pytest.raises(HslError, match="this record was made with backbone tiny") as error:
        record.replay(backbone(**other))
    assert "\n" not in str(error.value)


def test_what_is_no_record_is_refused_in_one_line(tmp_path: Path) -> None:
    _, record = sample(backbone(), X_T[:1], GRID, EDITS["implicit"])
    raw = record.save(tmp_path / "whole.safetensors").read_bytes()
    SHIFT.save(tmp_path / "direction.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(raw[:-9])
    (tmp_path / "harmed.safetensors").write_bytes(raw.replace(b"etas", b"atas"))
    (tmp_path / "text.safetensors").write_text("not one")
    for name in ("direction", "cut", "harmed", "text", "absent"):
        with pytest.raises(HslError, match=f"{name}.safetensors: ") as error:
            SampleRecord.load(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(error.value)


def test_latents_of_another_type_are_taken_as_floats(tmp_path: Path) -> None:
    def as_bfloat16(given: dict) -> dict:
        return given | {"x_T": given["x_T"].bfloat16()}

    found = SampleRecord.load(harmed(tmp_path / "r.safetensors", tensors=as_bfloat16))
    assert torch.equal(found.x_T, X_T.bfloat16().float())
    assert found.replay(backbone()).isfinite().all()


def harmed(path: Path, name: str = "implicit", tensors=lambda given: given, **changed) -> Path:
    """A record whose header says something else; without a checksum, as who changes it would."""
    _, record = sample(backbone(), X_T, GRID, EDITS[name], index=torch.arange(5))
    with safe_open(record.save(path), framework="pt") as file:
        header = json.loads(file.metadata()["hsl"])
        held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    del header["checksum"]
    for key, value in changed.items():
        header[key] = header[key] | value if isinstance(value, dict) and value else value
    save_file(tensors(held), path, metadata={"hsl": json.dumps(header)})
    return path


HARM = {
    "batch 0": {"batch": 0}, "batch x": {"batch": "x"}, "format": {"format": 2},
    "grid of texts": {"grid": ["a"]}, "no grid": {"grid": []}, "unsorted": {"grid": GRID[::-1]},
    "no backbone": {"backbone": None}, "empty backbone": {"backbone": {}},
    "tap": {"backbone": {"tap": "beside"}}, "hash": {"backbone": {"backbone_hash": 3}},
    "etas of texts": {"etas": ["x"] * 6}, "few etas": {"etas": [0.0]}, "eta 2": {"etas": [2.0] * 6},
    "seed": {"seed": "x"}, "seed null": {"seed": None}, "edit": {"edit": 3},
    "mask": {"edit": {"mask": "x"}},
    "edited": {"edit": {"t_edit": "x"}}, "order": {"edit": {"t_edit": 200, "t_start": 100}},
    "injection": {"edit": {"injection": "?"}}, "unknown": {"edit": {"more": 1}},
    "direction": {"direction": {"channels": 64}}, "about": {"about": {"steps": 0}},
    "more": {"more": 1},
    **{f"names {names!r}": {"names": names} for names in (
        "a.png", ["a.png"] * 5, ["a.png"], [1, 2, 3, 4, 5],
        *([bad, "1.png", "2.png", "3.png", "4.png"] for bad in (
            "../0.png", "/tmp/0.png", "a/../../0.png", "0.txt", "nul\0.png", "", ".png",
            "./0.png")),
    )},
    "edited, but not said": {"edit": None},
    "no interval": {"edit": {}},
}  # fmt: skip


@pytest.mark.parametrize("name", HARM)
def test_a_damaged_header_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(HslError, match=r"r.safetensors: not a sample record") as error:
        SampleRecord.load(harmed(tmp_path / "r.safetensors", **HARM[name]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        ("none", {"index": torch.tensor([0])}),
        ("none", {"index": torch.arange(5.0)}),
        ("none", {"x_T": X_T.long()}),
        ("none", {"x_T": X_T / 0}),
        ("none", {"x_T": X_T[0]}),
        ("none", {"noise.60": X_T[:2]}),
        ("none", {"noise.61": X_T}),
        ("none", {"noise.x": X_T}),
        ("per image", {"edit.strength": torch.ones(4)}),
        ("per image", {"edit.strength": torch.ones(5).long()}),
        ("masked", {"edit.mask": torch.ones(4, 4)}),
        ("masked", {"edit.more": torch.ones(4, 4)}),
        ("implicit", {"direction.more": torch.ones(4, 4)}),
    ],
)
def test_damaged_tensors_are_refused(edit: str, change: dict, tmp_path: Path) -> None:
    with pytest.raises(HslError, match=r"r.safetensors: not a sample record") as error:
        SampleRecord.load(harmed(tmp_path / "r.safetensors", edit, lambda given: given | change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change", [{"x_T": torch.zeros(5, 5, 9, 9)}, {"edit.mask": torch.eye(5).bool()}], ids=str
)
def test_what_does_not_fit_the_backbone_is_refused(change: dict, tmp_path: Path) -> None:
    path = harmed(tmp_path / "r.safetensors", "masked", lambda given: given | change)
    with pytest.raises(HslError, match=r"this record is damaged: .* of shape"):
        SampleRecord.load(path).replay(backbone())


@pytest.mark.parametrize("changed", [{}, {"edit": {"t_boost": 200}}], ids=str)
def test_noise_that_was_drawn_is_there(changed: dict, tmp_path: Path) -> None:
    """Whether by eta or by boosting."""

    def without(given: dict) -> dict:
        return {k: v for k, v in given.items() if changed or not k.startswith("noise.")}

    path = harmed(tmp_path / "r.safetensors", "implicit", without, **changed)
    with pytest.raises(HslError, match=r"no noise at t=\d+, where it was drawn"):
        SampleRecord.load(path)


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = sample(backbone(), X_T[:1], GRID)[1].save(tmp_path / "r.safetensors")
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 0x10
    path.write_bytes(raw)
    with pytest.raises(HslError, match="its values are not those that were written"):
        SampleRecord.load(path)


def test_no_latents_are_refused() -> None:
    for arguments in ({"x_T": X_T[:0]}, {"x_T": X_T, "batch": 0}):
        with pytest.raises(HslError, match="want one or more"):
            sample(backbone(), grid=GRID, **arguments)
