"""Which modules commands import: help, refusals and lists none that takes seconds, an edit those
that it needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hsl.convert import command as convert
from hsl.edit import options as edit
from hsl.edit import rules
from hsl.store import __main__ as store
from hsl.study import command as study

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "torch", "torchvision", "lightning", "open_clip", "timm", "wandb", "torchmetrics", "matplotlib",
    "datasets", "diffusers", "transformers", "pandas", "sklearn",
}  # fmt: skip
#: Of the modules that are there after a line of Python, the last line of its output.
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def imported(code: str, tmp_path: Path) -> tuple[set[str], str]:
    """What of `HEAVY` a program imports, and what it prints on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HSL_PROGRESS": "0"}, check=True,
    )  # fmt: skip
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1])), done.stderr


def command(line: str) -> str:
    """A program that runs a command line."""
    words = line.split()
    return (
        f"import contextlib\nfrom hsl.__main__ import main\n"
        f"with contextlib.suppress(SystemExit): main({words!r})"
    )


def test_the_package(tmp_path: Path) -> None:
    code = "import hsl; assert hsl.__version__ and {'load', 'Asyrp'} <= set(dir(hsl))"
    assert imported(code, tmp_path) == (set(), "")


VERBS = ("train", "edit", "study", "data", "store", "convert")
QUICK = [
    "--help", "--version", *(f"{verb} --help" for verb in VERBS),
    *(f"{verb} --version" for verb in VERBS), "study latents --help", "study profile --help",
    *(f"train {verb} --help" for verb in ("fit", "validate", "test", "predict")), "store list .",
]  # fmt: skip


@pytest.mark.parametrize("line", QUICK)
def test_help_and_lists(line: str, tmp_path: Path) -> None:
    assert imported(command(line), tmp_path) == (set(), "")


REFUSED = {
    "edti": "no verb 'edti', did you mean edit?",
    "train fitt": "no verb 'fitt', did you mean fit?",
    "train fit --config none.yaml": "none.yaml: no such file",
    "train fit --config=method/svn": "did you mean method/svm?",
    "edit --seeds 0 --direcion Smiling": "unknown option --direcion, did you mean --direction?",
    "edit --direction Smiling": "give images or --seeds",
    "edit --seeds 0 --direction Smiling --speed fast": "invalid choice: 'fast'",
    "study latent": "no verb 'latent', did you mean latents?",
    "study latents --step 3": "unknown option --step, did you mean --steps?",
    "study latents --images 1": "want --images of 2 or more",
    "data descibe": "no verb 'descibe', did you mean describe?",
    "data describe --config data/toyface": "did you mean data/toyfaces?",
    "data describe --confg a": "unknown option --confg, did you mean --config?",
    "store lst .": "no verb 'lst', did you mean list?",
    "store prune . --day 3": "unknown option --day, did you mean --days?",
    "convert a.pt out --qvk new": "unknown option --qvk, did you mean --qkv?",
}


@pytest.mark.parametrize("line", REFUSED)
def test_refusals_of_options(line: str, tmp_path: Path) -> None:
    heavy, said = imported(command(line), tmp_path)
    assert not heavy and len(said.splitlines()) == 1 and REFUSED[line] in said


def test_an_edit(tmp_path: Path) -> None:
    """torchvision comes with diffusers, matplotlib draws the strip."""
    line = "edit --seeds 0-1 --direction Smiling --steps 8 --out out"
    heavy, _ = imported(command(line), tmp_path)
    assert heavy == {"torch", "torchvision", "diffusers", "matplotlib"}
    assert (tmp_path / "out" / "strip.png").exists()
    code = "import hsl.edit.jobs, sys; assert 'matplotlib' not in sys.modules"
    assert "torch" in imported(code, tmp_path)[0]


def test_python(tmp_path: Path) -> None:
    code = "from hsl import Direction, Edit, SeededNoise, invert, last, load, reverse"
    assert imported(code, tmp_path)[0] == {"torch", "torchvision", "diffusers"}


def examples(text: str) -> list[list[str]]:
    """The words of the command lines that help begins with."""
    assert text.index("examples:") < text.index("options:")
    lines = text.partition("examples:\n")[2].partition("\n\n")[0].replace("\\\n", "").splitlines()
    assert all(line.startswith("  python -m hsl.") for line in lines)
    return [line.split()[3:] for line in lines]


def test_examples_of_help_are_understood() -> None:
    for words in examples(edit.parser().format_help()):
        rules.contradictions(edit.parse(words))
    for words in examples(convert.parser().format_help()):
        assert convert.parser().parse(words).original
    parser, verbs = study.parsers()
    for verb, own in verbs.items():
        assert all(parser.parse(words).verb == verb for words in examples(own.format_help()))
    assert len(examples(parser.format_help())) == 5
    assert all(store.parser().parse(words) for words in examples(store.parser().format_help()))
