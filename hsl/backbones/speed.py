"""How a backbone computes: what changes its time and memory, but not what it is."""

import os
import shutil
from dataclasses import dataclass

from hsl.errors import HslError


@dataclass(frozen=True)
class Speed:
    """Options of `Backbone.run_with`; measured in experiments/speed.

    Args:
        bfloat16: the U-Net's products and convolutions in bfloat16 (autocast), with its weights
            kept in float32. h, eps and all arithmetic of the schedule stay in float32; eps is off
            by some 0.4% of its size (the bundled U-Net's).
        channels_last: keep the U-Net's weights, and so its activations, with channels innermost.
        compile: each block of the U-Net by torch.compile. The first passes take minutes, and need
            a C++ compiler; so does each new size of batch, until one graph serves all.
        checkpoint: of a decode with gradients, keep what enters each block alone, and compute the
            block once more in the backward pass: less memory for one more decode.
    """

    bfloat16: bool = False
    channels_last: bool = False
    compile: bool = False
    checkpoint: bool = False


#: None of them.
PLAIN = Speed()


def require_compiler() -> None:
    """torch.compile writes C++, on the GPU for its launchers.

    Raises:
        HslError: no compiler is found by ``CXX`` or on the PATH.
    """
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++", "cl"]
    if not any(name and shutil.which(name) for name in names):
        raise HslError("compile needs a C++ compiler: install g++ or clang++, or name one by CXX")
