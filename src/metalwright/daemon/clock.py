"""The one wall clock. What decides by time is given this function, or a simulated one."""

from __future__ import annotations

from datetime import UTC, datetime


def system_clock() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC)
