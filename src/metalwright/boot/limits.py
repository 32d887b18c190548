"""How much the boot service does for whom: rates of requests, and lines in the journal.

Nothing here grows with the number of strangers: what is kept of them has a limit, and what goes
beyond it is counted together.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from metalwright.model.boots import Noted

SOURCES_MAX: Final = 2_048
"""Sources of requests, or nodes, that are told apart; the one silent longest is forgotten first."""

BURST_S: Final = 5.0
"""A rate's worth of requests that may come at once."""

RETRY_AFTER_S: Final = 5
"""Seconds after which who was refused for a limit, or for want of something, is to ask again. iPXE
does so by itself.
"""

HOUR_S: Final = 3_600.0
STRANGERS_FACTOR: Final = 10
"""So many times the lines of one source may all sources together leave in an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootLimits:
    """What one request, one source and all together may use; seconds, bytes, requests."""

    body_bytes_max: int = 262_144
    request_timeout_s: float = 15.0
    connections_max: int = 512
    requests_per_s_max: float = 100.0
    unknown_per_s_max: float = 10.0
    refusals_per_hour_max: int = 20
    token_life_s: float = 86_400.0


class Rate:
    """A token bucket for each key. Safe to call from many threads."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._most = max(1.0, per_s * BURST_S)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Whether one more is within the rate."""
        with self._lock:
            now = self._clock()
            left, at = self._buckets.pop(key, (self._most, now))
            left = min(self._most, left + (now - at) * self._per_s)
            taken = left >= 1.0
            self._buckets[key] = (left - 1.0 if taken else left, now)
            if len(self._buckets) > SOURCES_MAX:
                self._buckets.popitem(last=False)
            return taken


@dataclass(slots=True)
class _Window:
    since: float
    written: int = 0
    dropped: int = 0


class Notes:
    """Lines for the journal: so many for each key in an hour, then one that counts the others.

    `write` puts lines into the journal. A line that cannot be written is gone: the journal of
    requests is not worth a machine that does not boot.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Noted]], None],
        per_hour_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._most, self._clock = write, per_hour_max, clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._all = _Window(clock())
        self._lock = threading.Lock()

    def note(self, key: str, line: Noted) -> None:
        """Write a line, or count it."""
        if self.allows(key):
            self._write([line])

    def allows(self, key: str) -> bool:
        """Whether a line of this key may be written now; one that may not is counted."""
        with self._lock:
            now = self._clock()
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = _Window(now)
            self._windows.move_to_end(key)
            full = window.written >= self._most or self._all.written >= (
                self._most * STRANGERS_FACTOR
            )
            if full:
                window.dropped += 1
                self._all.dropped += 1
            else:
                window.written += 1
                self._all.written += 1
            while len(self._windows) > SOURCES_MAX:
                self._windows.popitem(last=False)
            return not full

    def tick(self) -> None:
        """Begin a new hour for those whose hour is over, and write what was only counted."""
        with self._lock:
            now = self._clock()
            over = [key for key, one in self._windows.items() if now - one.since >= HOUR_S]
            for key in over:
                del self._windows[key]
            dropped = 0
            if now - self._all.since >= HOUR_S:
                dropped, self._all = self._all.dropped, _Window(now)
        if dropped:
            detail = f"{dropped} more in the last hour, not written one by one"
            self._write([Noted(node="", event="refused", detail=detail)])
