"""The wiring: settings become parts, parts become cycles, cycles become a daemon.

Nothing is decided here. What to do is `plan`'s, how far to go is `execute`'s; this room only joins
them, in one order, at one instant, over and over.
"""

from metalwright.daemon.fleet import Fleet, driven_by, open_fleet
from metalwright.daemon.reconcile import CycleResult, Reconciler
from metalwright.daemon.service import Service

__all__ = ["CycleResult", "Fleet", "Reconciler", "Service", "driven_by", "open_fleet"]
