"""What callbacks share."""

from pathlib import Path

import torch

from hsl.callbacks.common import in_pieces, run_folder
from runs import trainer


def test_the_run_folder_is_made_where_it_is_not_there(tmp_path: Path) -> None:
    run = trainer(tmp_path / "deep" / "run")
    for _ in range(2):
        assert run_folder(run) == tmp_path / "deep" / "run" and run_folder(run).is_dir()


def test_pieces_cover_all_once() -> None:
    for n, size in ((0, 3), (2, 3), (3, 3), (7, 3)):
        pieces = [torch.arange(n)[piece] for piece in in_pieces(n, size)]
        assert all(0 < len(piece) <= size for piece in pieces)
        assert torch.equal(torch.cat([torch.arange(0), *pieces]), torch.arange(n))
