"""Commits and operations together: what each commit did to which machines, and why one is as it is.

Everything here is derived from the git log and the journal at the moment of asking, nothing stored.
"""

from metalwright.history.explain import Explanation, explain
from metalwright.history.released import Released, released
from metalwright.history.timeline import CommitEffect, OperationGroup, timeline

__all__ = [
    "CommitEffect",
    "Explanation",
    "OperationGroup",
    "Released",
    "explain",
    "released",
    "timeline",
]
