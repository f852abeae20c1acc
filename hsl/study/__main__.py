"""``python -m hsl.study``."""

import sys

from hsl.study.command import main

if __name__ == "__main__":
    sys.exit(main())
