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
from itertools import takewhile
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

    def take(self, most: int) -> bool:
        """Whether one more may be written."""
        taken = self.written < most
        self.written += taken
        self.dropped += not taken
        return taken


class Notes:
    """Lines for the journal: so many for each key in an hour, then one that counts the others.

    What anybody may cause, all keys of a kind share: lines of one event, about known nodes or about
    strangers. What a machine reports is counted for it alone: nobody else's flood costs its line.
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
        self._shared: dict[tuple[str, bool], _Window] = {}
        self._reported: dict[tuple[str, str], _Window] = {}
        self._lock = threading.Lock()

    def note(self, key: str, line: Noted) -> None:
        """Write a line, or count it."""
        if self._allows(key, (line.event, bool(line.node))):
            self._write([line])

    def reports(self, node: str, phase: str) -> bool:
        """Whether a line of this report may be written now; one that may not is counted."""
        with self._lock:
            # As many as there are nodes and phases; the oldest come first.
            window = self._reported.setdefault((node, phase), _Window(self._clock()))
            return window.take(self._most)

    def _allows(self, key: str, kind: tuple[str, bool]) -> bool:
        with self._lock:
            now = self._clock()
            window = self._windows.setdefault(key, _Window(now))
            self._windows.move_to_end(key)
            together = self._shared.setdefault(kind, _Window(now))
            if window.written >= self._most:
                together.dropped += 1
                return False
            taken = together.take(self._most * STRANGERS_FACTOR)
            window.written += taken
            while len(self._windows) > SOURCES_MAX:
                self._windows.popitem(last=False)
            return taken

    def tick(self) -> None:
        """Begin a new hour for those whose hour is over, and write what was only counted."""
        lines: list[Noted] = []
        with self._lock:
            before = self._clock() - HOUR_S
            for key in [key for key, one in self._windows.items() if one.since <= before]:
                del self._windows[key]
            for kind in [kind for kind, one in self._shared.items() if one.since <= before]:
                counted = self._shared.pop(kind).dropped
                lines += [_count("", kind[0], f"{counted}")] if counted else []
            over = takewhile(lambda item: item[1].since <= before, self._reported.items())
            for (node, phase), window in list(over):
                del self._reported[node, phase]
                counted = window.dropped
                lines += [_count(node, "reported", f"{phase}: {counted}")] if counted else []
        if lines:
            self._write(lines)


def _count(node: str, event: str, counted: str) -> Noted:
    detail = f"{counted} more in the last hour, not written one by one"
    return Noted(node=node, event=event, detail=detail)
