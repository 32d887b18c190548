"""A reason not to act: what each question of `blockers` answers where it does not let pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from metalwright.model.plan import BlockedReason


@dataclass(frozen=True, slots=True, kw_only=True)
class No:
    """A reason not to act, for people to read. Node names are left out, so that equal ones fold."""

    reason: BlockedReason
    message: str
    next_attempt_at: datetime | None = None
