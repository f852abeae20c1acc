"""``python -m hsl.edit``."""

import sys

from hsl.edit import main

sys.exit(main())
