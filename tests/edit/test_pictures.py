"""The pictures that ``python -m hsl.edit`` draws of what it did."""

import pytest
import torch

from edits import Place, made_borders, made_place
from hsl.data.images import load_images, save_image
from hsl.edit import pictures

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return made_place(tmp_path_factory.mktemp("edit"))


@pytest.fixture
def figures(monkeypatch) -> list:
    """The figures that are drawn."""
    drawn = []
    draw = pictures.draw

    def watched(*given):
        for figure in draw(*given):
            drawn.append(figure)
            yield figure

    monkeypatch.setattr(pictures, "draw", watched)
    return drawn


def titles(figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def rows(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def pixels(axis) -> torch.Tensor:
    """What a cell shows, ``[3, S, S]`` in [-1, 1]."""
    return torch.from_numpy(axis.images[0].get_array().data).permute(2, 0, 1).float() * 2 - 1


def test_a_strip_has_a_column_for_each_strength(place: Place, figures) -> None:
    given = [place.root / "faces", "--direction", place.smile, "--interpolate", "-1:1:3"]
    assert place.call(*given, out="strip") == 0
    (figure,) = figures
    assert titles(figure) == ["source", "reconstruction", "-1.00", "+0.00", "+1.00"]
    assert len(figure.axes) == 3 * 5
    assert figure.get_suptitle() == "Smile\nboosting below t = 100"
    assert rows(figure) == ["2.png", "10.png", "deep/3.png"]
    shown = pixels(figure.axes[2 * 5 + 4])  # the last row and column
    want = place.pixels("strip", "deep/3_3_+1.00.png")[0]
    assert torch.allclose(shown, want, atol=1.1 / 127.5)


def test_a_grid_has_rows_of_the_first_and_columns_of_the_second(place: Place, figures) -> None:
    given = [place.root / "a.png", "--direction", place.smile, "--direction", place.hat]
    axes = ["--interpolate", "Hat=0:3:2", "--interpolate", "Smile=-2:2:3"]
    assert place.call(*given, *axes, out="grid") == 0
    (figure,) = figures
    assert titles(figure) == ["-2.00", "+0.00", "+2.00"]
    assert rows(figure) == ["+0.00", "+3.00"]
    title = "a.png: Hat (down), Smile (across)\nboosting below t = 100"
    assert figure.get_suptitle() == title
    for i, cell in ((1, "2_+0.00_+0.00"), (3, "4_+3.00_-2.00"), (5, "6_+3.00_+2.00")):
        want = place.pixels("grid", f"a_{cell}.png")[0]
        assert torch.allclose(pixels(figure.axes[i]), want, atol=1.1 / 127.5)


def test_content_stands_beside_what_it_went_into(place: Place, figures) -> None:
    content = place.root / "faces" / "2.png"
    assert place.call(place.root / "a.png", "--content", content, out="content") == 0
    (figure,) = figures
    assert titles(figure) == ["content", "source", "reconstruction", "edited"]
    assert torch.allclose(pixels(figure.axes[0]), load_images(content, 8)[0][0], atol=1e-5)
    assert figure.get_suptitle() == "content, gamma 0.7\nboosting below t = 200"


def test_a_large_folder_is_edited_whole_and_shown_in_part(place: Place, tmp_path, figures) -> None:
    for i in range(pictures.ROWS + 2):
        save_image(tmp_path / f"{i}.png", torch.zeros(3, 8, 8))
    given = [tmp_path, "--steps", "3", "--batch", "64", "--direction", place.smile]
    assert place.call(*given, out="large") == 0
    assert len(place.written("large")) == pictures.ROWS + 2 + 1
    (figure,) = figures
    assert len(figure.axes) == 3 * pictures.ROWS
    first = f"Smile 0.5 (the first {pictures.ROWS} of {pictures.ROWS + 2})"
    assert figure.get_suptitle().startswith(f"{first}\n") and len(rows(figure)) == pictures.ROWS


def test_rows_are_called_by_seeds_or_files(place: Place, figures, tmp_path) -> None:
    assert place.call("--seeds", "3,7", "--direction", place.smile, "--t-boost", "0") == 0
    assert rows(figures[0]) == ["seed 3", "seed 7"] and figures[0].get_suptitle() == "Smile 0.5"
    name = f"{'long' * 9}_$x$.png"
    save_image(tmp_path / name, torch.zeros(3, 8, 8))
    assert place.call(tmp_path / name, "--direction", place.smile) == 0
    (label,) = rows(figures[1])
    assert len(label) < 25 and label.startswith("…") and label.endswith(r"_\$x\$.png")


def test_what_is_kept_is_said(place: Place, figures, capsys) -> None:
    borders = made_borders(place)
    given = ["--seeds", "0", "--boundary", borders["A"], "--keep", borders["B"]]
    assert place.call(*given) == 0
    assert figures[0].get_suptitle() == "A 2\nkeeping B"
    assert "keeping B" in " ".join(capsys.readouterr().out.split())


def test_a_long_title_stays_inside(place: Place, figures) -> None:
    many = [part for _ in range(12) for part in ("--direction", f"{place.smile}=0.1")]
    assert place.call("--seeds", "0", *many, out="many") == 0
    (figure,) = figures
    box = figure._suptitle.get_window_extent()  # in pixels
    assert box.x0 > 0 and box.x1 < figure.get_figwidth() * figure.dpi
    assert figure.get_suptitle().split("\n")[0].endswith("…")
