"""``python -m hsl.train``."""

import sys

from hsl.train.command import main

if __name__ == "__main__":
    sys.exit(main())
