"""``python -m hsl.convert``."""

import sys

from hsl.convert.command import main

sys.exit(main())
