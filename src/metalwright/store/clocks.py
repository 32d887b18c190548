"""What becomes of unfinished operations that were written by a clock that was far ahead.

Their last touch would lie in the future, so nothing that is seen would come after it, and their
deadlines and pauses would end on a day that is long in coming: they would hold their slots until
then. All their instants are moved back together, so their order and the spans between them stay.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from metalwright.model.operation import Operation
from metalwright.store.ledger import Ledger
from metalwright.store.recall import read_unfinished

_PAST: Final = (
    "created_at",
    "admitted_at",
    "entered_at",
    "seen_at",
    "intent_at",
    "acknowledged_at",
)
"""The instants of an operation that had come when they were written."""

_TO_COME: Final = ("stage_deadline_at", "not_before")


def bring_back(ledger: Ledger, at: datetime) -> tuple[str, ...]:
    """Let no unfinished operation have happened after `at`; the nodes whose had."""
    ledger.must_drive()
    moved = []
    for operation in read_unfinished(ledger.connection):
        ahead = max(_instants(operation, _PAST).values()) - at
        if ahead > timedelta(0):
            instants = _instants(operation, (*_PAST, *_TO_COME))
            earlier: dict[str, Any] = {name: when - ahead for name, when in instants.items()}
            changed = replace(operation, **earlier)
            ledger.write_operation(changed)
            detail = f"written {ahead} ahead of the clock, and moved back by that"
            ledger.note(changed, "stage", at, detail)
            moved.append(operation.node)
    return tuple(sorted(moved))


def _instants(operation: Operation, names: tuple[str, ...]) -> dict[str, datetime]:
    """Those of these fields that are set."""
    found = {name: getattr(operation, name) for name in names}
    return {name: at for name, at in found.items() if at is not None}
