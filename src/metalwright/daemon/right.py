"""The right to drive a fleet, and how long ago it was confirmed.

A process may be stopped for minutes between two lines of its code, and another one take over
meanwhile. So whoever is about to tell a BMC something asks once more, without a file or a database:
was this confirmed a moment ago? It never takes the right, nor gives it back.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from metalwright.errors import FencedError, StoreError

CONFIRMED_MAX: Final = timedelta(seconds=60)
"""How long a confirmation is good for: longer than any cycle takes, and than a call waits for a
worker."""


class Lock(Protocol):
    """The right to drive the fleet. `metalwright.store` has them: `fleet_lock`."""

    def confirm(self) -> None:
        """Make sure that it still keeps others out. Raises StoreError when it does not."""


class Right:
    """A lock, and when it was confirmed last: by a steady clock, and by the wall's, since the
    steady one may stand still while the machine is suspended.
    """

    def __init__(
        self,
        lock: Lock,
        clock: Callable[[], datetime],
        wall: Callable[[], datetime] | None = None,
    ) -> None:
        self._lock, self._clocks = lock, (clock, wall or clock)
        self._confirmed_at: tuple[datetime, ...] | None = None

    def confirm(self) -> None:
        """Make sure that nobody else may drive. Raises FencedError when the lock is lost.

        What was confirmed before stays good while the lock is asked: a worker that is about to
        call a driver meanwhile is not told no for that.
        """
        asked_at = self._now()
        try:
            self._lock.confirm()
        except BaseException as error:
            self._confirmed_at = None
            if isinstance(error, StoreError):
                raise FencedError(str(error)) from error
            raise
        self._confirmed_at = asked_at

    def is_confirmed(self) -> bool:
        """Whether that was so a moment ago. From any thread, and without waiting."""
        confirmed_at = self._confirmed_at
        return confirmed_at is not None and all(
            abs(now - then) <= CONFIRMED_MAX
            for now, then in zip(self._now(), confirmed_at, strict=True)
        )

    def _now(self) -> tuple[datetime, ...]:
        return tuple(clock() for clock in self._clocks)
