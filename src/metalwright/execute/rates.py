"""Start rates: how many machines may be powered on within a time, in each power domain.

Every bucket is one instant, as in the generic cell rate algorithm (ITU-T I.371, "virtual
scheduling"): the time at which it would be full again. It holds `starts` tokens, one comes back
every `per / starts`. The instants are the store's; a token is taken in the transaction that
journals the power-on. Pure: it knows no clock, and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate as spans of time: one token comes back every `token`, all of them in `span`."""

    token: timedelta
    span: timedelta


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
    mended: dict[str, datetime] = {}
    taken: dict[str, datetime] = {}
    last = WaitUntil(at=now, bucket="")
    for key, rate in buckets(rates, labels):
        full_at = starts.get(key, now)
        if full_at > now + rate.span:
            full_at = mended[key] = now + rate.span
        next_at = full_at + rate.token - rate.span
        if next_at > last.at:
            last = WaitUntil(at=next_at, bucket=key)
        taken[key] = max(full_at, now) + rate.token
    if last.bucket:
        return replace(last, starts=FrozenDict(mended))
    return Granted(starts=FrozenDict(taken))


def buckets(rates: Sequence[StartRate], labels: Mapping[str, str]) -> Iterator[tuple[str, Rate]]:
    """The buckets that a node with these labels takes tokens from, by key; of one domain the
    shortest span first, however the policy orders them.
    """
    seen: dict[str, int] = {}
    for rate in sorted(rates, key=lambda rate: rate.per) if len(rates) > 1 else rates:
        if rate.label is None:
            key = f"start/{WHOLE_FLEET}"
        elif rate.label in labels:
            key = f"start/{rate.label}={labels[rate.label]}"
        else:
            continue
        # Two rates may be given for one domain: five in a minute, and no more than 50 in an hour.
        number = seen[key] = seen.get(key, 0) + 1
        span = timedelta(seconds=rate.per)
        yield key if number == 1 else f"{key}#{number}", Rate(span / rate.starts, span)
