"""What Ironic's history of a node proves about a wipe. Pure.

That a node is `manageable` once more proves nothing: Ironic gives it back also when it had no
worker for the cleaning, and people can. Ironic 31.0 and newer write an entry where a cleaning has
come to its end (`[conductor] node_history` and `record_step_flows_in_history`, both on by default),
and one of each error. Source: `log_step_flow_history` in ironic/conductor/utils.py, 39.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from metalwright.model.frozen import FrozenDict

ENTRIES_MAX: Final = 200
"""Entries that are asked for, the newest ones."""

QUESTION: Final[Mapping[str, str]] = FrozenDict(
    {"detail": "true", "sort_dir": "desc", "limit": str(ENTRIES_MAX)}
)
UNPROVEN: Final = (
    "Ironic's history of the node has no entry of a cleaning that was completed since it was asked"
    " for, so it does not count as wiped: that takes Ironic 31.0 or newer, and node_history and"
    " record_step_flows_in_history in its [conductor]"
)

_BEGAN: Final = "manual_cleaning_start"
_ENDED: Final = "manual_cleaning_end"
_WELL: Final = "completed successfully"


class Proof(StrEnum):
    """What is known of a wipe that Ironic is not at any more."""

    WIPED = "wiped"
    FAILED = "failed"
    NONE = "none"


def proof_of(history: object, since: str, step: str) -> Proof:
    """Whether a manual cleaning was completed after the instant `since`, without an error from then
    on. One whose beginning Ironic has written down has to have been for `step`; those that wait for
    an agent have no such entry. `history` is the answer to `QUESTION`, the newest entry first.
    """
    entries = history.get("history") if isinstance(history, Mapping) else None
    try:
        begun = datetime.fromisoformat(since)
        # An entry of the same instant may be of the cleaning before: some databases keep seconds.
        found = [(datetime.fromisoformat(each["created_at"]), each) for each in entries or ()]
        if any(each["severity"] == "ERROR" for at, each in found if at >= begun):
            return Proof.FAILED
        later = [each for at, each in reversed(found) if at > begun]
        return Proof.WIPED if _completed(later, step) else Proof.NONE
    except (ValueError, TypeError, KeyError, AttributeError):
        return Proof.NONE


def _completed(entries: list[Mapping[str, Any]], step: str) -> bool:
    """Whether one of these, the oldest first, is of the end of such a cleaning."""
    ours = True
    for entry in entries:
        kind, said = entry["event_type"], entry["event"]
        if kind == _BEGAN:
            ours = f"'step': '{step}'" in said
        elif kind == _ENDED:
            if ours and _WELL in said:
                return True
            ours = True
    return False
