"""Carries plans out: operations, their stages and effects, within limits that hold.

It never decides what a node should be, and never speaks to hardware but through a driver.
"""

from metalwright.execute.engine import Engine, EngineSettings
from metalwright.execute.report import CycleReport

__all__ = ["CycleReport", "Engine", "EngineSettings"]
