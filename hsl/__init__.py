"""Semantic directions in the h-space of diffusion models."""

import sys

from hsl.commands.starting import start

if sys.argv[:1] == ["-m"]:  # a module is being looked up, which may be a command of ours
    start(sys.orig_argv)
