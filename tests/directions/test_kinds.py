"""What a shift and an implicit function add."""

import pytest
import torch

from hsl.directions import Shift
from some_directions import implicit, pass_through, randn
from tiny import backbone


def test_a_shift_per_step_takes_the_nearest() -> None:
    shift = Shift(randn(2, 32, 4, 4), [100, 500])
    net, x = backbone(), randn(1, 3, 8, 8)
    b = net.encode(x, 0)
    assert torch.equal(shift(b, x, 180)[0], shift.delta[0])
    assert torch.equal(shift(b, x, 999)[0], shift.delta[1])


@pytest.mark.parametrize("family", ["ddpm", "adm"])
def test_zero_init_starts_from_the_identity(family: str) -> None:
    assert not pass_through(implicit(family=family, zero_init=True)).any()
    assert pass_through(implicit(family=family)).any()


def test_ignored_timesteps() -> None:
    net, x = backbone(), randn(1, 3, 8, 8)
    f = implicit(ignore_timesteps=True)
    b = net.encode(x, 100)
    assert torch.equal(f(b, x, 100), f(b._replace(temb=b.temb + 1), x, 100))
