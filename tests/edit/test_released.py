"""``--as-released`` does what BoundaryDiffusion's released code does."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from edits import Place, made_borders, made_place
from hsl import convert
from hsl.backbones import Backbone
from hsl.data.images import load_images
from hsl.directions import Boundary
from hsl.edit import released
from hsl.edit.editor import Editor
from hsl.edit.records import SampleRecord
from hsl.errors import HslError
from hsl.process import SeededNoise
from hsl.released.boundary_diffusion import Carried, edit_as_released, sample_as_released
from pickles import pickled_boundaries

pytestmark = pytest.mark.usefixtures("quiet")

COORDINATES = [-6.0, 0.0, 6.0]
SWEPT = ["--as-released", "--interpolate", "-6:6:3"]


class Released(NamedTuple):
    """Images, and a boundary that was converted from released files, by its file and loaded."""

    place: Place
    file: str
    boundary: Boundary
    editor: Editor

    @property
    def backbone(self) -> Backbone:
        return self.editor.backbone

    @property
    def normals(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.boundary.normals["x"][0], self.boundary.normals["h"][0]


@pytest.fixture(scope="module")
def smile(tmp_path_factory) -> Released:
    place = made_place(tmp_path_factory.mktemp("edit"))
    files, out = pickled_boundaries(place.root), place.root / "smile.safetensors"
    spaces = ["--x", str(files["x"]), "--h", str(files["h"])]
    assert convert.main([*spaces, str(out), "--backbone", place.backbone, "--t", "400"]) == 0
    boundary = Boundary.load(out)
    assert isinstance(boundary, Boundary)
    return Released(place, str(out), boundary, Editor(place.backbone, steps=6, device="cpu"))


@pytest.fixture(scope="module")
def borders(smile: Released) -> dict[str, str]:
    """Two boundaries that hsl fitted, one in h alone, and one without a mixing step."""
    paths = made_borders(smile.place)
    h = smile.boundary.at(spaces=["h"])
    return paths | {"h": str(h.save(smile.place.root / "borders" / "h.safetensors"))}


def shown(backbone: Backbone, x_0: torch.Tensor) -> torch.Tensor:
    """Images of x_0 ``[V, B, C, s, s]``, ``[B, V, 3, S, S]``."""
    return torch.stack([backbone.image(x).clamp(-1, 1) for x in x_0]).transpose(0, 1)


@torch.no_grad()
@pytest.mark.parametrize("eta", [1.0, 0.0])
def test_an_edit_of_an_image_is_the_released_one(smile: Released, eta: float) -> None:
    """To the bit; its noise is the image's own, the same for all coordinates."""
    images, _ = load_images(smile.place.root / "a.png", 8)
    noise = SeededNoise(torch.zeros(3, dtype=torch.int64))
    x_0 = edit_as_released(smile.backbone, smile.backbone.x_0(images), *smile.normals, COORDINATES,
                           400, 6, 6, eta, noise)  # fmt: skip
    inverted = smile.editor.invert(smile.place.root / "a.png")
    edited = smile.editor.edit_as_released(inverted, smile.file, COORDINATES, eta)
    assert torch.equal(edited.images, shown(smile.backbone, x_0))
    assert len({image.numpy().tobytes() for image in edited.images[0]}) == 3
    assert edited.about["as_released"] and edited.about["strengths"] == {"smile": COORDINATES}


@torch.no_grad()
def test_a_sample_is_the_released_one(smile: Released) -> None:
    """In h along the coefficients, as long as they are."""
    noise = SeededNoise(torch.full((3,), 7))
    x_T = SeededNoise(torch.tensor([7])).x_T(torch.zeros(1, *smile.backbone.x_shape))
    x_normal, h_normal = smile.normals
    coef = h_normal / h_normal.norm() * smile.boundary.about["lengths"]["h"]
    x_0 = sample_as_released(smile.backbone, x_T, x_normal, coef, COORDINATES, 400, 6, noise=noise)
    edited = smile.editor.edit_as_released(smile.editor.sample(7), smile.file, COORDINATES)
    assert torch.equal(edited.images, shown(smile.backbone, x_0))


@torch.no_grad()
def test_images_in_batches_are_each_their_own(smile: Released) -> None:
    images, _ = load_images(smile.place.root / "faces", 8)
    editor = Editor(smile.backbone, steps=6, invert_steps=9, batch=2)
    edited = editor.edit_as_released(editor.invert(images), smile.boundary, COORDINATES)
    assert edited.images.shape == (3, 3, 3, 8, 8)
    for i, image in enumerate(images):
        noise = SeededNoise(torch.full((3,), i))
        x_0 = edit_as_released(smile.backbone, smile.backbone.x_0(image[None]), *smile.normals,
                               COORDINATES, 400, 9, 6, noise=noise)  # fmt: skip
        assert torch.allclose(edited.images[i], shown(smile.backbone, x_0)[0], atol=1e-4)


def test_the_command_writes_the_editors_files(smile: Released, tmp_path: Path, capsys) -> None:
    place, faces = smile.place, smile.place.root / "faces"
    assert place.call(faces, "--boundary", smile.file, *SWEPT, out="command") == 0
    printed = capsys.readouterr().out
    assert "crossed as released, 6 steps from t = 400" in printed and "coordinate" in printed
    inverted = smile.editor.invert(faces)
    smile.editor.edit_as_released(inverted, smile.file, COORDINATES).save(tmp_path)
    for name in place.written("command"):
        assert (tmp_path / name).read_bytes() == (place.root / "command" / name).read_bytes(), name
    assert len(place.written("command")) == 3 * 3 + 1


def test_its_noise_is_released_too_unless_told_otherwise(smile: Released) -> None:
    given = [smile.place.root / "a.png", "--boundary", f"{smile.file}=6", "--as-released"]
    for out, more in (("usual", []), ("one", ["--eta", "1"]), ("none", ["--eta", "0"])):
        assert smile.place.call(*given, *more, out=out) == 0
    usual, one, none = (smile.place.pixels(out, "a.png") for out in ("usual", "one", "none"))
    assert torch.equal(usual, one) and not torch.allclose(usual, none, atol=0.05)


def test_a_record_makes_them_again(smile: Released, tmp_path: Path) -> None:
    place, record = smile.place, tmp_path / "record.safetensors"
    faces = place.root / "faces"
    assert place.call(faces, "--boundary", smile.file, *SWEPT, "--batch", "4", "--record", record,
                      out="first") == 0  # fmt: skip
    assert place.call("--replay", record, out="again") == 0
    names = place.written("again")
    assert names == [name for name in place.written("first") if name != "strip.png"]
    assert torch.equal(place.pixels("again", *names), place.pixels("first", *names))
    loaded = SampleRecord.load(record)
    assert loaded.edit is not None and isinstance(loaded.edit.direction, Carried)
    assert len(loaded.edit.direction.h) == 9


def test_a_record_of_fewer_maps_than_images_is_refused(smile: Released, tmp_path: Path) -> None:
    inverted = smile.editor.invert(smile.place.root / "faces")
    edited = smile.editor.edit_as_released(inverted, smile.file, 3.0)
    edit = edited.record.edit
    assert edit is not None and isinstance(edit.direction, Carried)
    edit.direction.h = edit.direction.h[:1]
    with pytest.raises(HslError, match="h of 1 images, not 3"):
        SampleRecord.load(edited.record.save(tmp_path / "record.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--boundary", "{smile}"], "--as-released goes to a coordinate, which no file says"),
        (["--boundary", "{smile}=1", "--boundary", "{smile}=2"], "one boundary at a time"),
        (["--boundary", "{h}=1"], "has no hyperplane in x, and --as-released moves both"),
        (["--boundary", "{open}=1"], "no hyperplane at t=None"),
        (["--boundary", "{smile}=1", "--keep", "{A}"], "--as-released goes without --keep"),
        (["--boundary", "{smile}=1", "--t-edit", "300"], "--as-released goes without --t-edit"),
        (["--boundary", "{smile}=1", "--t-boost", "30"], "--as-released goes without --t-boost"),
        (["--boundary", "{smile}=1", "--mask", "0:1,0:1"], "--mask goes with --direction"),
        (["--boundary", "{smile}=1", "--eta", "2"], "--eta 2"),
        (["--boundary", "{smile}=1", "--steps", "600"], "--steps 600: too many up to t=400"),
        (["--boundary", "{smile}=1", "--invert-steps", "402"], "--invert-steps 402: too many"),
        (["--direction", "{direction}"], "--as-released goes with --boundary"),
    ],
)
def test_what_the_release_has_no_edit_for_is_refused(
    arguments, message, smile: Released, borders, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(released, "begun", None)  # before anything is computed
    where = borders | {"smile": smile.file, "direction": smile.place.smile}
    given = [argument.format(**where) for argument in arguments]
    image = smile.place.root / "a.png"
    assert smile.place.call(image, "--as-released", *given, out="refused") == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0] and err[0].startswith("hsl.edit: "), err
    assert not (smile.place.root / "refused").exists()


def test_samples_want_the_length_of_the_coefficients(smile: Released, borders, capsys) -> None:
    given = ["--boundary", f"{borders['A']}=1", "--as-released"]
    assert smile.place.call("--seeds", "0", *given, out="refused") == 2
    assert "does not say how long its coefficients are" in capsys.readouterr().err
    assert smile.place.call(smile.place.root / "a.png", *given, out="fitted") == 0


def test_a_direction_is_no_boundary(smile: Released) -> None:
    with pytest.raises(HslError, match="no direction 'Smile'"):
        smile.editor.edit_as_released(smile.editor.sample(0), "Smile", 1.0)
    with pytest.raises(HslError, match="is no boundary"):
        smile.editor.edit_as_released(smile.editor.sample(0), smile.place.smile, 1.0)
