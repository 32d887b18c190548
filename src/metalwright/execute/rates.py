"""Start rates: how many machines may be powered on within a time, in each power domain.

Every bucket is one instant, as in the generic cell rate algorithm (ITU-T I.371, "virtual
scheduling"): the time at which it would be full again. It holds `starts` tokens, one comes back
every `per / starts`. The instants are the store's; a token is taken in the transaction that
journals the power-on. Pure: it knows no clock, and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from metalwright.model.frozen import FrozenDict
from metalwright.model.policy import StartRate

WHOLE_FLEET = "fleet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A token was there in every bucket. `starts` has the new instants, to be stored."""

    starts: Mapping[str, datetime] = field(default_factory=FrozenDict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """A bucket is empty until `at`, and no token was taken from any.

    `starts` has instants to be stored all the same: of buckets that were further ahead than they
    can be.
    """

    at: datetime
    bucket: str
    starts: Mapping[str, datetime] = field(default_factory=FrozenDict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    """One rate in one power domain, and when it would be full again."""

    key: str
    rate: StartRate
    full_at: datetime

    @property
    def token(self) -> timedelta:
        """How long one token takes to come back."""
        return timedelta(seconds=self.rate.per) / self.rate.starts

    @property
    def next_at(self) -> datetime:
        """When it has a token."""
        return self.full_at + self.token - timedelta(seconds=self.rate.per)


def take(
    rates: Sequence[StartRate],
    labels: Mapping[str, str],
    starts: Mapping[str, datetime],
    now: datetime,
) -> Granted | WaitUntil:
    """A token of every bucket that a node with these labels needs, or none and how long to wait.

    A bucket whose instant lies further ahead than it could get by itself (the clock was set back,
    or the policy now says a shorter time) counts as empty now, and is stored as such: it neither
    blocks until the old time comes round, nor gives its tokens twice.
    """
    buckets = list(_buckets(rates, labels, starts, now))
    mended = {
        bucket.key: bucket.full_at
        for bucket in buckets
        if bucket.full_at < starts.get(bucket.key, now)
    }
    last = max(buckets, key=lambda bucket: bucket.next_at, default=None)
    if last is not None and last.next_at > now:
        return WaitUntil(at=last.next_at, bucket=last.key, starts=FrozenDict(mended))
    taken = {bucket.key: max(bucket.full_at, now) + bucket.token for bucket in buckets}
    return Granted(starts=FrozenDict(taken))


def _buckets(
    rates: Sequence[StartRate],
    labels: Mapping[str, str],
    starts: Mapping[str, datetime],
    now: datetime,
) -> Iterator[_Bucket]:
    seen: dict[str, int] = {}
    for rate in rates:
        if rate.label is None:
            key = f"start/{WHOLE_FLEET}"
        elif rate.label in labels:
            key = f"start/{rate.label}={labels[rate.label]}"
        else:
            continue
        # Two rates may be given for one domain: five in a minute, and no more than 50 in an hour.
        number = seen[key] = seen.get(key, 0) + 1
        key = key if number == 1 else f"{key}#{number}"
        latest = now + timedelta(seconds=rate.per)
        yield _Bucket(key=key, rate=rate, full_at=min(starts.get(key, now), latest))
