"""Semantic directions in the h-space of diffusion models."""

import sys

from hsl.signals import end_while_importing

if sys.argv[:1] == ["-m"]:  # a command is being looked up
    end_while_importing(sys.orig_argv)
