"""``python -m hsl.train``."""

import sys

from hsl.train.front import main

if __name__ == "__main__":
    sys.exit(main())
