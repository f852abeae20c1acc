"""What the repository says about itself is true, and names nobody's machine."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|#)", re.IGNORECASE)
# Spelt so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.\-/}~])/(?:work|root|opt|home/[a-z]\w*)(?=[/\s\"'`:;,)]|$)")
REGISTRY = re.compile(
    r"(?:index|find|trusted)-(?:url|links|host)|pythonhosted[.]|\b[p]ypi[.]|[a]rtifactory|[d]evpi",
    re.IGNORECASE,
)


def tracked() -> list[Path]:
    """The repository's files as git knows them; without git, all outside hidden folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        return [p for name in listed.stdout.split("\0") if name and (p := ROOT / name).is_file()]
    hidden = (p for p in ROOT.rglob("*") if p.is_file())
    return [p for p in hidden if not {".git", ".venv", "runs"} & set(p.relative_to(ROOT).parts)]


FILES = tracked()
MARKDOWN = [p for p in FILES if p.suffix == ".md"]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str | None:
    """The text of a file; None for what is no text."""
    raw = path.read_bytes()
    try:
        return None if b"\0" in raw else raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def broken_links(markdown: str, folder: Path) -> list[str]:
    """Links to local files that are not there. Code is no link."""
    prose = re.sub(r"^(```|~~~).*?^\1|`[^`\n]*`", "", markdown, flags=re.MULTILINE | re.DOTALL)
    local = [target for target in LINK.findall(prose) if not ELSEWHERE.match(target)]
    return [target for target in local if not (folder / target.partition("#")[0]).exists()]


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix in {".yaml", ".yml"}], ids=name)
def test_yaml_parses(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "trainer").glob("*.yaml")), ids=name)
def test_trainer_config_has_no_misspelt_option(path: Path) -> None:
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(Trainer, "trainer")
    config = parser.parse_path(str(path))
    assert isinstance(config.trainer, Namespace)


def test_slurm_job_and_trainer_agree() -> None:
    config = yaml.safe_load((ROOT / "configs/trainer/slurm.yaml").read_text())["trainer"]
    asked = dict(
        re.findall(
            r"^#SBATCH --([\w-]+)=(\S+)",
            (ROOT / "experiments/slurm/train.sbatch").read_text(),
            re.MULTILINE,
        )
    )
    assert int(asked["nodes"]) == config["num_nodes"]
    assert int(asked["ntasks-per-node"]) == int(asked["gpus-per-node"]) == config["devices"]


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_links_to_files_hold(path: Path) -> None:
    assert not broken_links(path.read_text(encoding="utf-8"), path.parent)


def test_a_broken_link_is_caught() -> None:
    text = "[a](pyproject.toml#x) [b](gone.md) `[c](code.md)` [d](https://example.org/e)"
    assert broken_links(text, ROOT) == ["gone.md"]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{name(path)}:{number}: {line.strip()[:100]}"
        for path in FILES
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1)
        if MACHINE_PATH.search(line) or REGISTRY.search(line)
    ]
    assert not found


def test_a_machine_path_and_a_registry_are_caught() -> None:
    for folder in ("work", "root", "opt", "home/ann"):
        assert MACHINE_PATH.search(f"path = '/{folder}/hsl'")
    assert not MACHINE_PATH.search("https://example.org/work/x  ./opt/x  and/opt  ~/work")
    assert REGISTRY.search("--" + "index" + "-url x") and REGISTRY.search("https://py" + "pi.org")


def test_version_is_the_changelogs_newest() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\]", changes, re.MULTILINE)
    assert next(h for h in headings if h.lower() != "unreleased") == version


def test_constraints_pin_every_requirement_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[requirement.name.lower()]), text


def test_ci_script_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
