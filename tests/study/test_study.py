"""``python -m hsl.study``: latents, the same statistics at every timestep for all three ways; and
the job that writes a perceptual profile."""

import csv
import math
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from hsl import intervals
from hsl.backbones import load
from hsl.encoders.perceptual import PerceptualDistance
from hsl.intervals import Curves
from hsl.intervals.profile import Profile, measure, read_tables, write_tables
from hsl.process import SeededNoise, invert, last, reverse
from hsl.study.command import main
from hsl.study.gaussian import class_distances, summary
from hsl.study.latents import accuracy_curve, diffused, inverted, sampled
from runs import faces, saved_backbone, saved_latent_backbone

pytestmark = pytest.mark.usefixtures("quiet")

GRID = [0, 199, 399, 599, 799, 999]
SMALL = {"data.init_args.size": 8, "data.init_args.train": 12, "images": 10, "steps": 6,
         "device": "cpu"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved_backbone(tmp_path_factory.mktemp("backbone"))


def arguments(folder: str, out: Path, **changed: object) -> list[str]:
    options = SMALL | {"backbone": folder, "out": out} | changed
    return ["latents", *(f"--{key}={value}" for key, value in options.items())]


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def accuracies(path: Path, text: str = "x,199,.8\nx,999,.5\nh,199,1\nh,999,.6\n") -> Path:
    path.write_text("space,t,balanced_accuracy\n" + text)
    return path


def test_latents_at_every_timestep(folder: str) -> None:
    backbone = load(folder)
    x_0, pieces = faces(5).faces("train").images, [slice(0, 2), slice(2, 5)]
    with torch.no_grad():
        ways = (
            sampled(backbone, x_0, GRID, pieces, 3),
            inverted(backbone, x_0, GRID, pieces, 1),
            diffused(backbone, x_0, GRID, 4),
        )
        x_T = SeededNoise(torch.arange(5), 3).x_T(x_0)
        chain = {step.t: step.x for step in reverse(backbone, x_T, GRID)}
    assert all(sorted(way) == GRID[1:] for way in ways)
    for t, x in ways[0].items():
        assert torch.allclose(x, chain[t], atol=1e-5)
    assert torch.equal(ways[0][999], x_T)
    assert torch.allclose(ways[1][599], last(invert(backbone, x_0, GRID[:4], 1)), atol=1e-5)
    papers = inverted(backbone, x_0, GRID, pieces, 0)
    assert not torch.allclose(papers[999], ways[1][999], atol=1e-3)
    a = backbone.schedule.alpha_bar(599)
    noise = (ways[2][599] - a**0.5 * x_0) / (1 - a) ** 0.5
    assert torch.allclose(noise, SeededNoise(torch.arange(5), 4)(599, x_0), atol=1e-5)


def test_the_job(folder: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    accuracy = accuracies(tmp_path / "accuracy.csv")
    assert main(arguments(folder, out, accuracy=accuracy, tolerance=0.2, batch=4)) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(out) and any("10 latents of 192 dimensions" in s for s in printed)
    rows = table(out / "latents.csv")
    assert [(r["latents"], int(r["t"])) for r in rows] == [
        (kind, t) for kind in ("sampled", "inverted", "diffused") for t in GRID[1:]
    ]
    x_0 = faces(12).faces("train").images[:10]
    direct = summary(last(invert(load(folder), x_0, GRID, 1)))
    row = next(r for r in rows if r["latents"] == "inverted" and r["t"] == "999")
    for name, value in direct.items():
        if name.endswith("_ci"):
            found = [float(row[name.removesuffix("ci") + end]) for end in ("low", "high")]
            assert found == pytest.approx(value, abs=1e-4), name
        else:
            assert float(row[name]) == pytest.approx(value, abs=1e-4), name
    # what is sampled begins as noise; inverted by an untrained network, an image stays an image
    last_rows = {r["latents"]: float(r["norm"]) for r in rows if r["t"] == "999"}
    assert last_rows["sampled"] == pytest.approx(1, abs=0.1) and last_rows["inverted"] < 0.3
    with Image.open(out / "latents.png") as picture:
        assert picture.width > 800
    assert (out / "latents.png").stat().st_size < 200_000


def test_the_mixing_steps(folder: str, tmp_path: Path) -> None:
    accuracy = accuracies(tmp_path / "accuracy.csv")
    main(arguments(folder, tmp_path, accuracy=accuracy, tv=0.5, radius=0.05, tolerance=0.35))
    rows = table(tmp_path / "mixing.csv")
    source = faces(12)
    x_0, labels = source.faces("train").images[:10], source.faces("train").labels[:10]
    a = load(folder).schedule.alphas_cumprod
    distances = class_distances(x_0, labels).tolist()
    expected = {
        name: (d, intervals.mixing_step_tv(a, d, 0.5))
        for name, d in zip(source.names, distances, strict=True)
        if not math.isnan(d)
    }
    found = {r["attribute"]: (float(r["distance"]), int(r["t"])) for r in rows if r["distance"]}
    assert found.keys() == expected.keys() and len(found) > 3
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair, rel=1e-6)
    second = float(x_0.double().square().sum((1, 2, 3)).mean())
    radius, by_accuracy = rows[-2:]
    assert int(radius["t"]) == intervals.mixing_step_radius(a, second, 192, 0.05)
    assert radius["criterion"] == "radius within 0.05 of sqrt(d)" and not radius["attribute"]
    assert by_accuracy["t"] == "999" and "0.35" in by_accuracy["criterion"]


def test_a_step_that_is_not_reached_is_left_open(folder: str, tmp_path: Path) -> None:
    assert main(arguments(folder, tmp_path, tv=1e-9, radius=1e-9)) == 0
    rows = table(tmp_path / "mixing.csv")
    assert len(rows) > 3 and all(row["t"] == "" for row in rows)


def test_latent_diffusion(tmp_path: Path, capsys) -> None:
    backbone = saved_latent_backbone(tmp_path / "latent")
    assert main(arguments(backbone, tmp_path / "out", **{"data.init_args.size": 16})) == 0
    assert "10 latents of 192 dimensions" in capsys.readouterr().out


def test_data_of_a_configuration_without_labels(folder: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(10):
        pixels = faces(10).faces("train").images[i].permute(1, 2, 0) * 127.5 + 127.5
        Image.fromarray(pixels.byte().numpy()).save(images / f"{i}.png")
    config = tmp_path / "data.yaml"
    config.write_text(
        "data:\n  class_path: hsl.data.folder.ImagesDataModule\n"
        f"  init_args: {{source: {images}, validation: 0, test: 0, train: 10}}\n"
    )
    assert main(["latents", f"--backbone={folder}", f"--config={config}", "--images=6",
                 "--steps=6", "--data.init_args.size=8", f"--out={tmp_path}"]) == 0  # fmt: skip
    assert [row["criterion"].split()[0] for row in table(tmp_path / "mixing.csv")] == ["radius"]


def test_the_accuracy_curve(tmp_path: Path) -> None:
    path = accuracies(tmp_path / "a.csv")
    assert accuracy_curve(path) == pytest.approx({199: 0.9, 999: 0.55})
    path = accuracies(tmp_path / "b.csv", "x,199,0.8\nx,199,nan\n")
    assert accuracy_curve(path) == {199: 0.8}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": 1}, "--images of 2 or more"),
        ({"images": 13}, "there are 12 training images"),
        ({"batch": 0}, "--batch of 1 or more"),
        ({"refine": -1}, "refine is -1"),
        ({"refine": 1000000}, "refine is 1000000"),
        ({"steps": 1}, "--steps: "),
        ({"steps": "many"}, "invalid int value"),
        ({"tv": 1}, "--tv between 0 and 1"),
        ({"radius": 0}, "--radius above 0"),
        ({"radius": "nan"}, "--radius above 0"),
        ({"tolerance": -1}, "--tolerance not negative"),
        ({"data.init_args.size": 16}, "size is 16, and the backbone takes images of 8"),
        ({"data.init_args.sized": 16}, "sized"),
        ({"config": "absent.yaml"}, "absent.yaml"),
        ({"backbone": "absent/model"}, "absent/model"),
        ({"device": "nowhere"}, "--device nowhere: cannot be used"),
        ({"accuracy": "absent.csv"}, "absent.csv: no such file"),
        ({"image": 5}, "image"),
    ],
    ids=str,
)
def test_bad_input_is_refused_in_one_line(folder, tmp_path, capsys, changed, message) -> None:
    assert main(arguments(folder, tmp_path / "out", **changed)) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and err[0].startswith("hsl.study: ") and message in err[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text", ["x,two,0.8\n", "x,199,good\n", "x\n", "", "x,199,nan\n", "\xff\n"], ids=repr
)
def test_another_table_is_refused(folder: str, tmp_path: Path, capsys, text: str) -> None:
    path = tmp_path / "accuracy.csv"
    path.write_bytes(b"space,t,balanced_accuracy\n" + text.encode("latin-1"))
    assert main(arguments(folder, tmp_path / "out", accuracy=path)) == 2
    err = capsys.readouterr().err
    assert str(path) in err and "accuracy" in err and err.count("\n") == 1


# The profile

LOW = {"edit-threshold": 1e-6, "boost-threshold": 1e-6}


def profiled(folder: str, out: Path, **changed: object) -> list[str]:
    return ["profile", *arguments(folder, out, **(LOW | changed))[1:]]


def test_the_profile(folder: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(profiled(folder, out, name="tiny", batch=4)) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == str(out)
    assert "10 images, 6 steps, distance toyfaces/guide" in " ".join(printed.split())
    backbone, distance = load(folder), PerceptualDistance.load("toyfaces/guide", resize=True)
    images = faces(12).faces("train").images[:10]
    found, wanted = read_tables(out / "tiny"), measure(backbone, GRID, images, distance)
    for curve, want in zip((*found.mean, *found.std), (*wanted.mean, *wanted.std), strict=True):
        assert curve == pytest.approx(want, rel=1e-4, abs=1e-6)
    t = {which: intervals.first_crossing(curve, 1e-6, which)
         for which, curve in zip(("t_edit", "t_boost"), wanted.mean, strict=True)}  # fmt: skip
    for words in (*(f"{which:<9}" for which in t), f"editing strength of [999, {t['t_edit']}]",
                  f"quality deficiency at {t['t_boost']}"):  # fmt: skip
        assert words in printed
    with Image.open(out / "tiny.png") as picture:
        assert picture.width > 800
    tables = {f"tiny_LPIPS_distance_{end}.tsv" for end in ("x", "x_std", "x0_t", "x0_t_std")}
    assert {p.name for p in out.iterdir()} == {"tiny.png", *tables}


def test_the_profile_of_tables(folder: str, tmp_path: Path, capsys) -> None:
    assert main(profiled(folder, tmp_path / "a")) == 0
    measured = capsys.readouterr().out
    tables = f"--tables={tmp_path / 'a' / 'profile'}"
    given = [f"--{name}={value}" for name, value in LOW.items()]
    assert main(["profile", tables, f"--out={tmp_path / 'b'}", *given]) == 0
    shown = capsys.readouterr().out
    rows = [line for line in measured.splitlines() if line.startswith("│")]
    assert len(rows) > 8 and rows == [line for line in shown.splitlines() if line.startswith("│")]
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["profile.png"]
    assert main(["profile", tables, f"--out={tmp_path / 'c'}", "--data.init_args.size=8"]) == 2
    assert "not needed with --tables" in capsys.readouterr().err
    assert main(["profile", f"--tables={tmp_path / 'absent'}", f"--out={tmp_path / 'c'}"]) == 2
    assert "absent_LPIPS_distance_x0_t.tsv: no such file" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_thresholds_are_those_of_the_distance(folder: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "a").mkdir()
    curve = {0: 0.0, 100: 0.01, 200: 0.02, 300: 0.32, 400: 0.34, 500: 1.3}
    write_tables(tmp_path / "a" / "x", Profile(Curves(curve, curve), Curves(curve, curve)))
    assert main(["profile", f"--tables={tmp_path / 'a' / 'x'}", f"--out={tmp_path}"]) == 0
    assert {"400", "500"} <= set(capsys.readouterr().out.split())  # 0.33 and 1.2
    assert main(["profile", f"--tables={tmp_path / 'a' / 'x'}", f"--out={tmp_path}",
                 "--cosine=0.9"]) == 0  # fmt: skip
    assert "editing flexibility of [300, 0]" in capsys.readouterr().out


def test_a_profile_that_crosses_nothing_keeps_its_tables(folder, tmp_path, capsys) -> None:
    assert main(profiled(folder, tmp_path, **{"edit-threshold": 1e6})) == 2
    err = capsys.readouterr().err
    assert "t_edit: the curve never reaches" in err and "(0: " in err and err.count("\n") == 1
    assert len(list(tmp_path.glob("*.tsv"))) == 4 and not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cosine": -0.5}, "--cosine -0.5: want"),
        ({"distance": "absent"}, "absent"),
        ({"distance": "lpips/odd"}, "lpips/odd"),
        ({"images": 13}, "there are 12 training images"),
        ({"name": "a/b"}, "--name a/b"),
        ({"edit-threshold": "low"}, "invalid float value"),
        ({"edit-threshold": -5}, "--edit-threshold -5.0: want a positive number"),
        ({"boost-threshold": "inf"}, "--boost-threshold inf: want a positive number"),
        ({"cosine": "inf"}, "--cosine inf: want"),
        ({"device": "meta"}, "--device meta: cannot be used"),
        ({"backbone": "absent/model"}, "absent/model"),
        ({"tv": 1}, "tv"),
    ],
    ids=str,
)
def test_a_bad_profile_is_refused_in_one_line(folder, tmp_path, capsys, changed, message) -> None:
    assert main(profiled(folder, tmp_path / "out", **changed)) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and err[0].startswith("hsl.study: ") and message in err[0]
    assert not (tmp_path / "out").exists()


def test_a_verb_and_data_are_needed(capsys) -> None:
    for given in ([], ["spaces"], ["latents", "--data=Nothing"]):
        assert main(given) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_file_in_the_place_of_the_folder(folder: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").touch()
    assert main(arguments(folder, tmp_path / "file")) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("verb", ["latents", "profile"])
def test_what_others_wrote_is_not_replaced(folder: str, tmp_path: Path, capsys, verb: str) -> None:
    """Nor what is read, whatever the options say."""
    out = tmp_path / "out"
    make = arguments if verb == "latents" else profiled
    names = ["latents.csv", "latents.png"]
    if verb == "profile":
        names = ["profile_LPIPS_distance_x.tsv", "profile.png"]
    for name in names:
        out.mkdir(exist_ok=True)
        (out / name).write_text("mine")
        assert main(make(folder, out)) == 2
        assert f"{name}: is there already" in capsys.readouterr().err
        assert [p.name for p in out.iterdir()] == [name]
        assert main([*make(folder, out), "--overwrite"]) == 0
        assert (out / name).read_bytes() != b"mine"
        assert main(make(folder, out)) == 0  # they are hsl's own by now
        shutil.rmtree(out)


def test_the_table_that_is_read_is_not_replaced(folder: str, tmp_path: Path, capsys) -> None:
    text = "space,t,balanced_accuracy\nx,999,0.9\n"
    (tmp_path / "latents.csv").write_text(text)
    given = arguments(folder, tmp_path, accuracy=tmp_path / "latents.csv")
    assert main([*given, "--overwrite"]) == 2
    assert "latents.csv: is read by this job" in capsys.readouterr().err
    assert (tmp_path / "latents.csv").read_text() == text


def test_tables_that_are_shown_are_not_replaced(folder: str, tmp_path: Path, capsys) -> None:
    write_tables(tmp_path / "a", Profile(Curves({1: 0.1}, {1: 0.1}), Curves({1: 0.1}, {1: 0.1})))
    table = tmp_path / "a_LPIPS_distance_x.tsv"
    (tmp_path / "profile.png").hardlink_to(table)
    given = ["profile", "--tables", str(tmp_path / "a"), "--out", str(tmp_path), "--overwrite"]
    assert main(given) == 2
    assert "profile.png: is read by this job" in capsys.readouterr().err
    assert table.stat().st_nlink == 2
