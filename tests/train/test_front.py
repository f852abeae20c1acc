"""What `hsl.train` says before Lightning is imported is what its parser would say."""

import inspect
import re
import sys

import pytest

from hsl.data.toyfaces import ToyFacesDataModule
from hsl.errors import HslError
from hsl.methods.asyrp import Asyrp
from hsl.methods.base import Method
from hsl.train import front
from hsl.train.command import HslCLI, main
from hsl.train.pages import page

OPTION = re.compile(r"--[a-z][\w.]*")


def test_every_option_of_a_page_is_one_of_the_parser(capsys) -> None:
    """Those of classes are in their signatures."""
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--help"])
    known = set(OPTION.findall(capsys.readouterr().out)) | {"--help", "--help.all", "--version"}
    known |= {"--model", "--data", "--model.help", "--data.help", "--model.speed.bfloat16"}
    classes = {"model": (Asyrp, Method), "data": (ToyFacesDataModule,)}
    for key, several in classes.items():
        names = {name for each in several for name in inspect.signature(each).parameters}
        known |= {f"--{key}.{name}" for name in names}
    for text in map(page, (None, *front.VERBS)):
        assert set(OPTION.findall(text)) <= known


def test_there_is_a_page_for_every_verb() -> None:
    assert set(front.VERBS) == set(HslCLI.subcommands())
    for verb in front.VERBS:
        assert front.shown([verb, "--help"]) == front.shown([verb, "-h"]) == page(verb)
        text = page(verb)
        assert text.index("examples:") < text.index("options:")
        assert max(map(len, text.splitlines())) <= 100
        assert f"  python -m hsl.train {verb}" in text
    assert front.shown(["--help"]) == page() and front.shown(["fit"]) is None
    assert front.shown(["fit", "--name", "--help"]) is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "give a verb"),
        (["fitt"], "no verb 'fitt', did you mean fit"),
        (["fit", "-c", "none.yaml"], "none.yaml: no such file"),
        (["fit", "--config=none.yaml"], "none.yaml: no such file"),
        (["--config", "none.yaml", "fit"], "none.yaml: no such file"),
        (["fit", "--config", "method/none"], "no such file, and none of this name comes with hsl"),
    ],
)
def test_refusals(words: list[str], line: str) -> None:
    with pytest.raises(HslError, match=re.escape(line)):
        front.refuse(words)


def test_what_is_no_refusal(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("runs: here\n")
    front.refuse(
        ["fit", "--config", str(tmp_path / "a.yaml"), "--config=method/svm", "--name", "a"]
    )


def test_work_is_that_of_the_parser(monkeypatch, capsys) -> None:
    """With all options of all classes."""
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    with pytest.raises(SystemExit, match="0"):
        front.main(["fit", "--help.all"])
    assert "--trainer.val_check_interval" in capsys.readouterr().out
    assert front.main(["fit", "--runs"]) == 2
    assert capsys.readouterr().err.startswith("hsl.train: ")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--modle.cache", "x"], "--model.cache"),
        (["--trainer.max_epohs", "3"], "--trainer.max_epochs"),
        (["--grids.imags=3"], "--grids.images"),
        (["--overwite"], "--overwrite"),
        (["--model.cach", "x"], "cache"),
        (["--data", "ToyFacesDataModul"], "ToyFacesDataModule"),
        (["--model", "hsl.methods.asyrp.Asyr"], "Asyrp"),
        (["--data.sorce", "x"], None),
        (["--zzz", "x"], None),
    ],
)
def test_what_was_meant(words: list[str], meant: str | None, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["hsl.train"])
    assert front.main(["fit", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.partition(", did you mean ")[2] == (f"{meant}?" if meant else "")
