"""Official boundaries are read; nothing in them is run."""

import os
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.svm import SVC, LinearSVC

from hsl.directions import Boundary, Direction
from hsl.errors import HslError
from hsl.process import Edit, last, reverse
from hsl.released.boundaries import boundary_from_official
from hsl.released.pickled import read_official
from tiny import backbone


def fitted(order: str = "C", dtype: type = np.float64, **arguments) -> SVC:
    random = np.random.default_rng(0)
    h = np.asarray(random.normal(size=(12, 5)), dtype=dtype, order=order)
    return SVC(**{"kernel": "linear", **arguments}).fit(h, np.where(np.arange(12) < 5, 1, -1))


def pickled(folder: Path, data: object, protocol: int = 4) -> Path:
    path = folder / "smile_boundary_h.sav"
    path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_protocol_is_read(protocol: int, order: str, dtype: type, tmp_path: Path) -> None:
    svc = fitted(order, dtype)
    boundary = read_official(pickled(tmp_path, svc, protocol))
    assert boundary.coef.dtype == torch.float64
    assert np.array_equal(boundary.coef.numpy(), svc.coef_[0])
    assert boundary.intercept == svc.intercept_[0]


def test_arrays_that_are_not_contiguous(tmp_path: Path) -> None:
    svc = fitted()
    svc.support_vectors_ = np.asfortranarray(svc.support_vectors_)
    svc.dual_coef_ = np.repeat(svc.dual_coef_, 2, axis=1)[:, ::2]
    for protocol in (2, 4, 5):
        found = read_official(pickled(tmp_path, svc, protocol))
        assert np.allclose(found.coef.numpy(), svc.coef_[0], rtol=1e-15)


def test_the_names_of_other_versions(tmp_path: Path) -> None:
    svc = fitted()
    for protocol in (0, 2):
        text = pickle.dumps(svc, protocol)
        assert b"numpy._core.multiarray" in text and b"sklearn.svm._classes" in text
        old = text.replace(b"numpy._core.", b"numpy.core.").replace(
            b"sklearn.svm._classes", b"sklearn.svm.classes"
        )
        assert np.array_equal(read_official(pickled(tmp_path, old)).coef.numpy(), svc.coef_[0])


def test_big_endian_arrays(tmp_path: Path) -> None:
    svc = fitted()
    svc.support_vectors_ = svc.support_vectors_.astype(">f8")
    found = read_official(pickled(tmp_path, svc))
    assert np.array_equal(found.coef.numpy(), svc.coef_[0])


def test_positive_scores_mean_the_second_class(tmp_path: Path) -> None:
    svc = fitted()
    boundary = read_official(pickled(tmp_path, svc))
    h = torch.randn(30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = h @ boundary.coef + boundary.intercept
    assert torch.equal(torch.where(scores > 0, 1, -1), torch.from_numpy(svc.predict(h.numpy())))


def refused(path: Path) -> str:
    with pytest.raises(HslError) as error:
        read_official(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


HOSTILE = {
    "system": lambda: Calls(os.system, "touch HARMED"),
    "eval": lambda: Calls(eval, "open('HARMED', 'w')"),
    "open": lambda: Calls(open, "HARMED", "w"),
    "getattr": lambda: b"cbuiltins\ngetattr\n(cos\nsystem\nVsystem\ntR.",
    "in an SVC": lambda: with_state(kernel=Calls(os.system, "touch HARMED")),
    "in an array": lambda: np.array([Calls(os.system, "touch HARMED")], dtype=object),
    "numpy.load": lambda: Calls(np.load, "HARMED"),
    "numpy.fromfile": lambda: Calls(np.fromfile, "HARMED"),
    "Unpickler": lambda: Calls(pickle.loads, pickle.dumps(Calls(os.system, "touch HARMED"))),
}


def with_state(**changes) -> SVC:
    svc = fitted()
    for name, value in changes.items():
        setattr(svc, name, value)
    return svc


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_nothing_is_run(make, protocol: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = pickled(tmp_path, make(), protocol)
    assert "refused" in refused(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_nothing_is_imported(tmp_path: Path) -> None:
    before = set(sys.modules)
    refused(pickled(tmp_path, b"cantigravity\nfly\n(tR."))
    refused(pickled(tmp_path, b"\x80\x04\x8c\x04this\x8c\x01s\x93."))
    assert set(sys.modules) == before


CRAFTED = {
    "a call of a value": b"(lp0\n(tR.",
    "a call of a call": b"csklearn.svm._classes\nSVC\n)R)R.",
    "state for a name": b"csklearn.svm._classes\nSVC\n}b.",
    "state for a number": b"I1\n}b.",
    "a key that is a list": b"}]I1\ns.",
    "items for a list": b"]VkernelVlinears.",
    "no mark": b"I1\nt.",
    "an empty stack": b"R.",
    "a memo that is not there": b"h\x07.",
    "a persistent id": b"Pname\n.",
    "an extension": b"\x82\x01.",
    "an instance": b"(ios\nsystem\n.",
    "an object": b"(cos\nsystem\no.",
    "two results": b"I1\nI2\n.",
    "a number": b"I1\n.",
    "nothing": b"",
    "no pickle": b"PK\x03\x04 a zip",
    "a long name": b"\x80\x04\x8c\xff" + b"a" * 255 + b"\x8c\x01s\x93.",
    "a name in two lines": b"\x80\x04\x8c\x03a\nb\x8c\x01s\x93.",
    "a number of many digits": b"I" + b"9" * 10_000 + b"\n.",
}


@pytest.mark.parametrize("data", CRAFTED.values(), ids=CRAFTED)
def test_crafted_files_are_refused(data: bytes, tmp_path: Path) -> None:
    assert len(refused(pickled(tmp_path, data))) < 400 + len(str(tmp_path))


def test_sizes_in_the_file_are_not_believed(tmp_path: Path) -> None:
    """Each of these asks a real unpickler for more memory than there is."""
    huge = 2**40
    sized = [
        b"\x80\x04\x8e" + huge.to_bytes(8, "little") + b"x.",  # BINBYTES8
        b"\x80\x04\x8d" + huge.to_bytes(8, "little") + b"x.",  # BINUNICODE8
        b"\x80\x05\x96" + huge.to_bytes(8, "little") + b"x.",  # BYTEARRAY8
        b"\x80\x04\x95" + huge.to_bytes(8, "little") + b"N.",  # FRAME
        b"\x80\x02Nr" + (2**32 - 1).to_bytes(4, "little") + b".",  # LONG_BINPUT
        pickle.dumps(fitted(), 5).replace(b"K\x05\x86", b"J\xff\xff\xff\x7f\x86"),
    ]
    for data in sized:
        refused(pickled(tmp_path, data))


def test_cut_files_are_refused(tmp_path: Path) -> None:
    for protocol in (0, 2, 5):
        whole = pickle.dumps(fitted(), protocol)
        for n in range(0, len(whole), 41):
            refused(pickled(tmp_path, whole[:n]))


def test_damaged_files_end_in_one_line(tmp_path: Path) -> None:
    """Whatever byte is wrong: numbers, or one line."""
    whole, random = pickle.dumps(fitted(), 4), np.random.default_rng(0)
    outcomes = set()
    for at in range(0, len(whole), 3):
        data = bytearray(whole)
        data[at] ^= int(random.integers(1, 256))
        path = pickled(tmp_path, bytes(data))
        try:
            boundary = read_official(path)
            assert boundary.coef.shape == (5,) and bool(boundary.coef.isfinite().all())
            outcomes.add("numbers")
        except HslError as error:
            assert "\n" not in str(error)
            outcomes.add("a line")
    assert outcomes == {"numbers", "a line"}


def test_other_models_are_refused(tmp_path: Path) -> None:
    h, y = np.random.default_rng(0).normal(size=(12, 5)), np.arange(12)
    assert "kernel" in refused(pickled(tmp_path, fitted(kernel="rbf")))
    three = SVC(kernel="linear").fit(h, y % 3)
    assert "two classes" in refused(pickled(tmp_path, three))
    assert "LinearSVC" in refused(pickled(tmp_path, LinearSVC().fit(h, y % 2)))
    assert "dual_coef_ is missing" in refused(pickled(tmp_path, SVC(kernel="linear")))
    assert "refused" in refused(pickled(tmp_path, {"coef_": torch.ones(3)}))
    assert "SVC" in refused(pickled(tmp_path, np.ones(3)))


def test_bad_numbers_are_refused(tmp_path: Path) -> None:
    svc = fitted()
    for name, value, message in (
        ("support_vectors_", svc.support_vectors_ * np.nan, "not finite"),
        ("intercept_", np.array([np.inf]), "not finite"),
        ("support_vectors_", svc.support_vectors_ * 0, "zero"),
        ("support_vectors_", svc.support_vectors_[:-1], "two classes"),
        ("support_vectors_", svc.support_vectors_.astype(object), "support_vectors_"),
        ("support_vectors_", svc.support_vectors_.astype(int), "support_vectors_"),
        ("support_vectors_", svc.support_vectors_.tolist(), "support_vectors_ is missing"),
        ("intercept_", np.zeros((1, 1)), "two classes"),
    ):
        assert message in refused(pickled(tmp_path, with_state(**{name: value}))), name


def test_files_of_joblib_are_named(tmp_path: Path) -> None:
    path = tmp_path / "boundary.sav"
    joblib.dump(fitted(), path)
    assert "joblib" in refused(path)
    assert "no such file" in refused(tmp_path / "none.sav")
    assert "is a folder" in refused(tmp_path)


def test_no_unpickler_is_used(tmp_path: Path, monkeypatch) -> None:
    path = pickled(tmp_path, fitted())

    def fail(*arguments, **named):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, fail)
    assert bool(read_official(path).coef.any())


# Boundaries to be used


@pytest.fixture
def official(tmp_path: Path) -> dict[str, tuple[Path, SVC, torch.Tensor]]:
    """Of both spaces of the tiny backbone: a file, its SVC, and the features it was fitted on."""
    torch.manual_seed(0)
    x = torch.randn(12, 3, 8, 8)
    features = {"x": x, "h": backbone().encode(x, 300).h}
    made = {}
    for space, letter in (("x", "z"), ("h", "h")):
        rows = features[space].flatten(1).double().numpy()
        svc = SVC(kernel="linear").fit(rows, np.where(np.arange(12) < 5, 1, -1))
        path = tmp_path / f"smile_boundary_{letter}.sav"
        path.write_bytes(pickle.dumps(svc))
        made[space] = path, svc, features[space]
    return made


def test_an_official_boundary_becomes_a_direction(official, tmp_path: Path) -> None:
    net = backbone()
    made = boundary_from_official(official["x"][0], official["h"][0], net, 300)
    for space, (_, svc, v) in official.items():
        norm = np.linalg.norm(svc.coef_)
        decision = torch.from_numpy(svc.decision_function(v.flatten(1).double().numpy())).float()
        assert torch.allclose(made.distance(v, space) * norm, decision, atol=1e-4)
        assert made.normals[space].norm().item() == pytest.approx(1, abs=1e-6)
        towards = made.move(v, space, 50.0) - v
        assert (made.distance(v + towards, space) > made.distance(v, space) + 49).all()
    assert made.about["method"] == "boundarydiffusion" and made.about["backbone_hash"] == net.hash
    assert made.about["released"] == {"x": "smile_boundary_z.sav", "h": "smile_boundary_h.sav"}
    found = Direction.load(made.save(tmp_path / "smile.safetensors"), net)
    assert isinstance(found, Boundary) and found.t == 300
    edit, (_, _, x) = Edit.of(found, 5.0), official["x"]
    assert [t for t in (0, 150, 300) if edit.acts(t)] == [300]
    plain = last(reverse(net, x, [0, 150, 300]))
    assert not torch.allclose(last(reverse(net, x, [0, 150, 300], edit)), plain, atol=1e-3)


def test_one_space_and_coordinates(official) -> None:
    net, (path, _, v) = backbone(), official["h"]
    made = boundary_from_official(None, path, net, 300, absolute=True)
    assert set(made.normals) == {"h"} and made.space == "h"
    along = (made.move(v, "h", 7.0) * made.normals["h"][0]).sum((1, 2, 3))
    assert torch.allclose(along, torch.full((12,), 7.0), atol=1e-4)


def test_files_that_do_not_fit_are_refused(official, tmp_path: Path) -> None:
    net, x, h = backbone(), official["x"][0], official["h"][0]
    for arguments, message in (
        ((None, None, net, 300), "give the boundary's file in x"),
        ((x, h, net, 1000), r"t=1000: want a timestep in \[0, 999\]"),
        ((h, x, net, 300), r"is for 512 features, but x of tiny has \(3, 8, 8\)"),
        ((x, h, backbone(tap="middle"), 300), "after the middle block, not middle it"),
        ((x, tmp_path / "none.sav", net, 300), "no such file"),
    ):
        with pytest.raises(HslError, match=message):
            boundary_from_official(*arguments)
    boundary_from_official(x, None, backbone(tap="middle"), 300)  # x has no tap
