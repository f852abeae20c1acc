"""Directions that tests of several modules use."""

import torch

from hsl.directions import Direction, ImplicitFunction
from tiny import backbone


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pass_through(direction: Direction, net=None) -> torch.Tensor:
    net = net or backbone()
    x = randn(3, 3, 8, 8, seed=5)
    return direction(net.encode(x, 400), x, 400)


def implicit(seed: int = 0, **arguments) -> ImplicitFunction:
    torch.manual_seed(seed)
    return ImplicitFunction.for_backbone(backbone(), **arguments)
