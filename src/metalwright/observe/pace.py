"""How often a node is asked: decisions only, with the time and the dice as arguments.

It reads no clock and asks nobody.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from metalwright.errors import (
    CredentialsError,
    MetalwrightError,
    SettingsError,
    TemporaryError,
    mistake_of,
)
from metalwright.model.observed import ErrorKind, ObservationError

_DOUBLINGS_MAX = 32  # 2**32 times any pause is past every maximum; more would overflow a float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """The limits of a sweep; times in seconds.

    A healthy node is asked every `interval_s` or somewhat sooner (`jitter` is the share that is
    drawn), one with an operation every `busy_interval_s`. A failing one waits a drawn pause that
    grows from `backoff_min_s` to `backoff_max_s`, or to `busy_backoff_max_s` while an operation
    waits for it. Refused credentials are presented again after `credentials_retry_s` only: many
    BMCs lock the account after three to five wrong passwords.

    Of the `in_flight_max` nodes asked at once, at most half are busy ones and at most a quarter
    other failing ones, so that neither keeps the fleet from being seen. Nodes that come due are
    gathered for `tick_gap_s`, so that a large fleet does not want a tick every millisecond.
    """

    interval_s: float = 15.0
    busy_interval_s: float = 1.0
    timeout_s: float = 8.0
    backoff_min_s: float = 5.0
    backoff_max_s: float = 300.0
    busy_backoff_max_s: float = 15.0
    credentials_retry_s: float = 300.0
    tick_gap_s: float = 1.0
    in_flight_max: int = 32
    jitter: float = 0.1

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value <= 0 and each.name != "jitter":
                raise SettingsError(f"{each.name} should be more than 0, not {value}")
        if not 0 <= self.jitter < 1:
            raise SettingsError(f"jitter should be from 0 to below 1, not {self.jitter}")
        if self.backoff_min_s > self.backoff_max_s:
            raise SettingsError("backoff_min_s should be no more than backoff_max_s")

    @property
    def failing_in_flight_max(self) -> int:
        """How many failing nodes without an operation are asked at once."""
        return max(1, self.in_flight_max // 4)

    @property
    def busy_in_flight_max(self) -> int:
        """How many busy nodes are asked at once."""
        return max(1, self.in_flight_max // 2)


def pause_s(settings: SweepSettings, failures: int, kind: ErrorKind | None, dice: float) -> float:
    """Seconds from an answer to the next asking, `dice` drawn from [0, 1).

    Full jitter above a floor: from `backoff_min_s` up to a bound that doubles with every failure in
    a row, so that a rack that lost its switch does not come back in lock-step.
    """
    if kind is None:
        return settings.interval_s * (1 - settings.jitter * dice)
    if kind is ErrorKind.CREDENTIALS:
        return settings.credentials_retry_s
    low = settings.backoff_min_s
    high = min(settings.backoff_max_s, low * 2.0 ** min(failures, _DOUBLINGS_MAX))
    return low + (high - low) * dice


def first_pause_s(settings: SweepSettings, node: str) -> float:
    """Seconds from a node's first good answer to the second asking: spread over the interval.

    The first sweep asks everybody at once; from then on each node has its own place in the round.
    """
    return settings.interval_s * (zlib.crc32(node.encode()) + 1) / 2**32


def due_at(
    settings: SweepSettings, answered_at: datetime, pause: float, kind: ErrorKind | None, busy: bool
) -> datetime:
    """When a node is to be asked again. Being busy shortens every pause but that of a lock-out."""
    if busy and kind is None:
        pause = min(pause, settings.busy_interval_s)
    elif busy and kind is not ErrorKind.CREDENTIALS:
        pause = min(pause, settings.busy_backoff_max_s)
    return answered_at + timedelta(seconds=pause)


def error_of(error: BaseException) -> ObservationError:
    """What an observer's exception says about the node.

    Anything but an error of ours is a mistake in a driver: its type and place are told, and it
    counts as permanent, so that one node's surprise does not end the sweep.
    """
    if not isinstance(error, MetalwrightError):
        message = f"a mistake in the driver: {mistake_of(error)}"
        return ObservationError(kind=ErrorKind.PERMANENT, message=message)
    kind = ErrorKind.PERMANENT
    if isinstance(error, CredentialsError):
        kind = ErrorKind.CREDENTIALS
    elif isinstance(error, TemporaryError):
        timed_out = isinstance(error.__cause__, TimeoutError)
        kind = ErrorKind.TIMEOUT if timed_out else ErrorKind.TEMPORARY
    return ObservationError(kind=kind, message=str(error))
