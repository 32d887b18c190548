"""Asking every node what it is: all of them, bounded, none kept waiting by a dead one."""

from metalwright.observe.pace import SweepSettings
from metalwright.observe.prober import Checker, Prober, ProbeSettings, Reports
from metalwright.observe.sweep import Observer, Sweeper

__all__ = [
    "Checker",
    "Observer",
    "ProbeSettings",
    "Prober",
    "Reports",
    "SweepSettings",
    "Sweeper",
]
