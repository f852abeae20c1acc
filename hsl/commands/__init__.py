"""What all command lines share: exit statuses, one line for what is wrong, signals."""

from hsl.commands.running import LONGEST, mendable, run

__all__ = ["LONGEST", "mendable", "run"]
