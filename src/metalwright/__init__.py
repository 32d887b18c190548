"""Metalwright keeps a fleet of physical machines equal to a git repository."""

from importlib.metadata import version

__version__ = version("metalwright")
