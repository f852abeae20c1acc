"""What all command lines share: exit statuses, one line for what is wrong, signals."""

from hsl.commands.running import LONGEST, mendable, run
from hsl.commands.signals import importing

__all__ = ["LONGEST", "importing", "mendable", "run"]
