"""Who gets the next slot: the order of everything that waits, and one pass of granting.

The one implementation for the engine, which grants, and for the planner and the forecast, which
only tell what would be granted. It never takes a slot away, and it is not what holds the limits:
the ledger does that by itself. This only decides who comes next.

The order. An operation ages: its effective priority is its own plus `step` for each whole
`interval` that it has waited, 1,000 at most. One that has reached 1,000 by age is *overdue*.

1. Overdue ones, the one that waits longest first. One that does not fit claims slots, which nobody
   behind it may take in this pass: from its smallest limit to its largest, one slot in each scope
   up to the first that is full. So nothing wide stands idle for somebody who waits for something
   narrow. The few oldest (`claimants`) claim one slot in every scope but `fleet`: these get their
   turn whatever the others do, which bounds how long anybody waits.
2. The others: higher effective priority first; within one first attempts before retries; then the
   pool with the least (slots held + 1) / weight; within a pool the one that waits longest; then the
   name in natural order. What does not fit is passed over.

What waits is kept in buckets of equal pool, scopes, priority and attempt. Only the head of a bucket
can be next, and a bucket with a full scope is left out by one look at it: a pass costs as much as
there are buckets and grants, not as there are operations.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush

from metalwright.model.natural import NaturalKey, natural
from metalwright.model.policy import Ageing
from metalwright.model.waiting import (
    FLEET,
    Answer,
    Room,
    Waiting,
    claimants,
    effective_priority,
    narrow_first,
    overdue_after,
)

Grant = Callable[[Waiting], Answer]

_Entry = tuple[datetime, NaturalKey, str, Waiting]


@dataclass(slots=True)
class _Bucket:
    """What waits for the same slots of the same pool with the same priority, longest first."""

    pool: str
    scopes: tuple[str, ...]
    priority: int
    retry: bool
    entries: list[_Entry] = field(default_factory=list)


_BucketKey = tuple[str, tuple[str, ...], int, bool]


class Queue:
    """Everything that waits, kept from pass to pass.

    It may be changed from within `grant` too: such a change counts from the next pass on.
    """

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        self._buckets: dict[_BucketKey, _Bucket] = {}
        self._where: dict[str, _Entry] = {}
        self._later: list[Callable[[], None]] | None = None
        for each in waiting:
            entry = _entry(each)
            self._where[each.key] = entry
            self._bucket(each).entries.append(entry)
        for bucket in self._buckets.values():
            bucket.entries.sort()

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, key: object) -> bool:
        return key in self._where

    def __iter__(self) -> Iterator[Waiting]:
        return (entry[3] for entry in self._where.values())

    def add(self, waiting: Waiting) -> None:
        """Let one more wait; one of the same key is replaced."""
        if self._later is not None:
            self._later.append(lambda: self.add(waiting))
            return
        self.discard(waiting.key)
        entry = self._where[waiting.key] = _entry(waiting)
        insort(self._bucket(waiting).entries, entry)

    def discard(self, key: str) -> None:
        """Forget one; a key that does not wait is no error."""
        if key not in self._where:
            return
        if self._later is not None:
            self._later.append(lambda: self.discard(key))
            return
        self._remove(self._where.pop(key))

    def admit(self, room: Room, ageing: Ageing, now: datetime, grant: Grant) -> list[Waiting]:
        """One pass: offer every slot that is free, in order; those granted wait no longer."""
        granting = _Pass(self._buckets.values(), room, ageing, now)
        later: list[Callable[[], None]] = []
        self._later = later
        try:
            granting.run(grant)
        finally:
            self._later = None
            for entry in granting.granted:
                del self._where[entry[2]]
                self._remove(entry)
            for change in later:
                change()
        return [entry[3] for entry in granting.granted]

    def _bucket(self, waiting: Waiting) -> _Bucket:
        key = (waiting.pool, waiting.scopes, waiting.priority, waiting.retry)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(*key)
        return bucket

    def _remove(self, entry: _Entry) -> None:
        bucket = self._bucket(entry[3])
        del bucket.entries[bisect_left(bucket.entries, entry)]
        if not bucket.entries:
            del self._buckets[bucket.pool, bucket.scopes, bucket.priority, bucket.retry]


def _entry(waiting: Waiting) -> _Entry:
    return (waiting.since, natural(waiting.node), waiting.key, waiting)


_Head = tuple[datetime, NaturalKey, str, int, int]  # of a bucket: its number, and the entry's
_Band = tuple[int, bool]


class _Pass:
    """One pass over the buckets, which do not change meanwhile."""

    def __init__(
        self, buckets: Iterable[_Bucket], room: Room, ageing: Ageing, now: datetime
    ) -> None:
        self.granted: list[_Entry] = []
        self._buckets = list(buckets)
        self._room, self._ageing, self._now = room, ageing, now
        held = room.held
        self._free = {scope: limit - held.get(scope, 0) for scope, limit in room.limits.items()}
        self._pool_held = dict(room.pool_held)
        self._enough = False
        self._bands: defaultdict[_Band, defaultdict[str, list[_Head]]] = defaultdict(
            lambda: defaultdict(list)
        )

    def run(self, grant: Grant) -> None:
        """Grant what there is to grant."""
        self._overdue(grant)
        if not self._is_over():
            self._others(grant)

    def _is_over(self) -> bool:
        return self._enough or self._free[FLEET] <= 0

    def _overdue_by(self, bucket: _Bucket) -> datetime:
        """What waits in this bucket since then or longer is overdue."""
        return self._now - overdue_after(bucket.priority, self._ageing)

    def _overdue(self, grant: Grant) -> None:
        if self._is_over():
            return
        heads: list[_Head] = [
            (*bucket.entries[0][:3], number, 0)
            for number, bucket in enumerate(self._buckets)
            if bucket.entries[0][0] <= self._overdue_by(bucket)
        ]
        heapify(heads)
        claiming = claimants(self._room.limits)
        while heads and not self._is_over():
            *_, number, index = heappop(heads)
            bucket = self._buckets[number]
            narrow = narrow_first(bucket.scopes, self._room.limits)
            full = next((at for at, scope in enumerate(narrow) if self._free[scope] <= 0), None)
            if full is None:
                self._offer(bucket, index, grant)
            elif claiming > 0:
                claiming -= 1
                self._take(scope for scope in narrow if scope != FLEET)
            elif full == 0:
                continue  # nor does anybody behind it in the bucket claim anything
            else:
                self._take(narrow[:full])
            if index + 1 < len(bucket.entries):
                entry = bucket.entries[index + 1]
                if entry[0] <= self._overdue_by(bucket):
                    heappush(heads, (*entry[:3], number, index + 1))

    def _others(self, grant: Grant) -> None:
        full = {scope for scope, free in self._free.items() if free <= 0}
        for number, bucket in enumerate(self._buckets):
            if full.isdisjoint(bucket.scopes):
                first, by = 0, self._overdue_by(bucket)
                if bucket.entries[0][0] <= by:
                    first = bisect_right(bucket.entries, by, key=lambda entry: entry[0])
                self._queue_up(number, first)
        while self._bands and not self._is_over():
            band = min(self._bands)
            self._share(self._bands[band], grant)
            del self._bands[band]

    def _queue_up(self, number: int, index: int) -> None:
        """Let an entry of a bucket stand in the line of its band and pool, if it may start yet."""
        bucket = self._buckets[number]
        if index == len(bucket.entries) or bucket.entries[index][0] > self._now:
            return
        entry = bucket.entries[index]
        band = (-effective_priority(entry[3], self._ageing, self._now), bucket.retry)
        heappush(self._bands[band][bucket.pool], (*entry[:3], number, index))

    def _share(self, pools: defaultdict[str, list[_Head]], grant: Grant) -> None:
        """Grant to the pools of one band in turn, each as its weight says."""
        turns = [(self._load(pool), heads[0], pool) for pool, heads in pools.items()]
        heapify(turns)
        while turns and not self._is_over():
            *_, pool = heappop(turns)
            *_, number, index = heappop(pools[pool])
            if all(self._free[scope] > 0 for scope in self._buckets[number].scopes):
                self._offer(self._buckets[number], index, grant)
                self._queue_up(number, index + 1)  # maybe into this very line again
            if pools[pool]:
                heappush(turns, (self._load(pool), pools[pool][0], pool))

    def _load(self, pool: str) -> float:
        """How much of its share a pool would have with one slot more."""
        return (self._pool_held.get(pool, 0) + 1) / self._room.weights.get(pool, 1)

    def _offer(self, bucket: _Bucket, index: int, grant: Grant) -> None:
        entry = bucket.entries[index]
        answer = grant(entry[3])
        if answer is Answer.GRANTED:
            self.granted.append(entry)
            self._take(bucket.scopes)
            self._pool_held[bucket.pool] = self._pool_held.get(bucket.pool, 0) + 1
        self._enough = answer is Answer.ENOUGH

    def _take(self, scopes: Iterable[str]) -> None:
        for scope in scopes:
            self._free[scope] -= 1
