"""Asking every node what it is: all of them, bounded, none kept waiting by a dead one."""

from metalwright.observe.pace import SweepSettings
from metalwright.observe.sweep import Observer, Sweeper

__all__ = ["Observer", "SweepSettings", "Sweeper"]
