"""Empty arguments, in every command."""

import contextlib
import io

import pytest

from hsl import convert
from hsl.data import __main__ as data
from hsl.edit import main as edit
from hsl.errors import HslError
from hsl.options.arguments import given
from hsl.store import __main__ as store
from hsl.study import command as study
from hsl.train import command as train


def test_arguments_come_through() -> None:
    arguments = ["fit", "--a", "1", "--b=2", "--c", "--d=x=", "-1:1:5", "a=b="]
    assert given(arguments) == arguments


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--mask", ""], "--mask"),
        (["--mask="], "--mask"),
        (["--mask", "  "], "--mask"),
        (["--where.a= ", "x"], "--where.a"),
        (["fit", ""], "an argument"),
        (["--a=1", ""], "--a"),
    ],
)
def test_an_empty_one_is_named(arguments: list[str], named: str) -> None:
    with pytest.raises(HslError, match=f"^{named} is empty"):
        given(arguments)


def test_two_dashes_are_no_value() -> None:
    """Of which argparse makes an empty list."""
    with pytest.raises(HslError, match=r"^--cosine: -- is no value"):
        given(["profile", "--cosine=--"])
    assert given(["--", "a"]) == ["--", "a"]


COMMANDS = {
    "train": (train.main, ["fit", "--name", ""]),
    "train =": (train.main, ["fit", "--data.init_args.source="]),
    "edit mask": (edit, ["a.png", "--direction", "Smiling", "--mask", ""]),
    "edit image": (edit, ["", "--direction", "Smiling"]),
    "study": (study.main, ["latents", "--out", ""]),
    "convert": (convert.main, ["", "out"]),
    "store": (store.main, ["list", ""]),
    "data": (data.main, ["describe", "--data.init_args.source", ""]),
}


@pytest.mark.parametrize("which", COMMANDS)
def test_every_command_refuses_them(which: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    main, arguments = COMMANDS[which]
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        assert main(arguments) == 2
    (line,) = err.getvalue().splitlines()
    assert "is empty" in line and not list(tmp_path.iterdir())
