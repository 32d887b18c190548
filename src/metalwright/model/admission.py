"""Who gets the next slot: the order of everything that waits, and one pass of granting.

The one implementation for the engine, which grants, and for the planner and the forecast, which
only tell what would be granted. It never takes a slot away, and it is not what holds the limits:
the ledger does that by itself. This only decides who comes next.

The order. An operation ages: its effective priority is its own plus `step` for each whole
`interval` that it has waited, 1,000 at most. One that has reached 1,000 by age is *overdue*.

1. Overdue ones, the one that waits longest first. One that does not fit claims slots, which nobody
   behind it may take in this pass: from its smallest limit to its largest, one slot in each scope
   up to the first that is full. So nothing wide stands idle for somebody who waits for something
   narrow. The few oldest (`claimants`), by age and then by name, claim one slot in every scope but
   `fleet`: they get their turn whatever the others do, which bounds how long anybody waits.
2. The others: higher effective priority first; within one first attempts before retries; then the
   pool with the least (slots held + 1) / weight; within a pool the one that waits longest. What
   does not fit is passed over.

Of those that wait equally long the one comes first that most others wait behind for the very same
slots (the fullest rack), then the name in natural order. Racks are so emptied evenly, and at the
end of a rollout the fleet's slots are not idle before the last few full ones.

What waits is kept in buckets of equal pool, scopes, priority and attempt, the buckets in lines of
equal pool, priority and attempt. Only the first of a bucket can be next, a bucket with a full scope
is left out by one look at it, and a pass ends with the last free slot of the fleet: it costs as
much as it has to look at before that, not as there are operations.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from metalwright.model.frozen import FrozenDict
from metalwright.model.granting import Bucket, Entry, Grant, Line, Pass, item_of
from metalwright.model.natural import natural
from metalwright.model.policy import Ageing
from metalwright.model.waiting import (
    Room,
    Waiting,
)


class Queue:
    """Everything that waits, kept from pass to pass.

    It may be changed from within `grant` too: such a change counts from the next pass on.
    """

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        self._lines: dict[tuple[str, int, bool], Line] = {}
        self._where: dict[str, Entry] = {}
        self._later: list[Callable[[], None]] | None = None
        self._limits: Mapping[str, int] = FrozenDict()
        for entry in sorted(map(_entry, waiting)):
            self._insert(entry)

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
        self._insert(_entry(waiting))

    def discard(self, key: str) -> None:
        """Forget one; a key that does not wait is no error."""
        if key not in self._where:
            return
        if self._later is not None:
            self._later.append(lambda: self.discard(key))
            return
        self._remove(self._where.pop(key))

    def admit(self, room: Room, ageing: Ageing, now: datetime, grant: Grant) -> list[Waiting]:
        """One pass: offer every slot that is free, in order; those granted wait no longer.

        The limits are another mapping when they are other limits: none is changed in place.
        """
        if room.limits is not self._limits:
            self._limits = room.limits
            for line in self._lines.values():
                for bucket in line.buckets.values():
                    bucket.narrow = ()
        granting = Pass(self._lines.values(), room, ageing, now)
        later: list[Callable[[], None]] = []
        self._later = later
        try:
            granting.run(grant)
        finally:
            self._later = None
            for waiting in granting.granted:
                self._remove(self._where.pop(waiting.key))
            for change in later:
                change()
        return granting.granted

    def _insert(self, entry: Entry) -> None:
        waiting = entry[3]
        self._where[waiting.key] = entry
        key = (waiting.pool, waiting.priority, waiting.retry)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(*key)
        bucket = line.buckets.get(waiting.scopes)
        if bucket is None:
            bucket = line.buckets[waiting.scopes] = Bucket(waiting.scopes)
        else:
            _forget_head(line, bucket)
        if bucket.entries and entry > bucket.entries[-1]:
            bucket.entries.append(entry)
        else:
            insort(bucket.entries, entry)
        _note_head(line, bucket)

    def _remove(self, entry: Entry) -> None:
        waiting = entry[3]
        key = (waiting.pool, waiting.priority, waiting.retry)
        line = self._lines[key]
        bucket = line.buckets[waiting.scopes]
        _forget_head(line, bucket)
        del bucket.entries[bisect_left(bucket.entries, entry)]
        if bucket.entries:
            _note_head(line, bucket)
            return
        del line.buckets[waiting.scopes]
        if not line.buckets:
            del self._lines[key]


def _entry(waiting: Waiting) -> Entry:
    return (waiting.since, natural(waiting.node), waiting.key, waiting)


def _note_head(line: Line, bucket: Bucket) -> None:
    insort(line.heads, item_of(bucket, 0))
    insort(line.oldest, (*bucket.entries[0][:3], bucket))


def _forget_head(line: Line, bucket: Bucket) -> None:
    """To be called before the bucket changes."""
    del line.heads[bisect_left(line.heads, item_of(bucket, 0))]
    del line.oldest[bisect_left(line.oldest, (*bucket.entries[0][:3], bucket))]
