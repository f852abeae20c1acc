"""Which rank a process is, without Lightning; what the first one alone says."""

import subprocess
import sys
import warnings

import pytest
import torch.distributed as dist

from hsl import ranks

VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


@pytest.fixture
def alone(monkeypatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("given", [(), (1,), (0, 2), (None, None, 3, 1), (None, None, None, 4)])
def test_it_is_lightnings(given: tuple[int | None, ...], monkeypatch) -> None:
    """The launchers' variables, in the same order."""
    from lightning.fabric.utilities.rank_zero import _get_rank

    for name, value in zip(VARIABLES, given, strict=False):
        if value is not None:
            monkeypatch.setenv(name, str(value))
    assert ranks.rank() == (_get_rank() or 0)


@pytest.mark.usefixtures("alone")
def test_a_process_group_knows_better_than_the_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "7")
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        assert (ranks.rank(), ranks.world(), ranks.everyones("a")) == (0, (0, 1), ["a"])
    finally:
        dist.destroy_process_group()
    assert (ranks.rank(), ranks.world()) == (7, (0, 1))


@pytest.mark.usefixtures("alone")
def test_the_first_rank_alone_warns_and_names_the_line(monkeypatch) -> None:
    with pytest.warns(UserWarning, match="^broken$") as said:
        ranks.warn("broken")
    assert said[0].filename == __file__
    monkeypatch.setenv("RANK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranks.warn("broken")


def test_it_imports_neither_torch_nor_lightning() -> None:
    code = (
        "import sys; from hsl.progress import track; from hsl.ranks import world\n"
        "from hsl.files import locks\n"
        "print(list(track([1], 'x')), world(), {'torch', 'lightning'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[1] (0, 1) set()\n")
