"""What every node should be at one revision and one instant.

A pure function of two values: it reads no clock, asks no hardware and remembers nothing.
"""

from metalwright.schedule.resolve import RESTING_PRIORITY, desired
from metalwright.schedule.windows import Phase

__all__ = ["RESTING_PRIORITY", "Phase", "desired"]
