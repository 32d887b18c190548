"""One pass of granting over everything that waits: the order that `admission` describes, at work.

Only `metalwright.model.admission.Queue` uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush

from metalwright.model.natural import NaturalKey
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

Entry = tuple[datetime, NaturalKey, str, Waiting]


@dataclass(slots=True)
class Bucket:
    """What waits for the same slots in the same line, longest first. `narrow` has the scopes in the
    order in which they are claimed, once that was needed.
    """

    scopes: tuple[str, ...]
    entries: list[Entry] = field(default_factory=list)
    narrow: tuple[str, ...] = ()


Item = tuple[datetime, int, NaturalKey, str, Bucket, int]
"""An entry of a bucket: since when it waits, less how many it has behind it, name and key, the
bucket and its number in it.
"""


@dataclass(slots=True)
class Line:
    """The buckets of one pool, priority and attempt. `heads` has the first of each in the order in
    which they are served, `oldest` in that of age and name alone.
    """

    pool: str
    priority: int
    retry: bool
    buckets: dict[tuple[str, ...], Bucket] = field(default_factory=dict)
    heads: list[Item] = field(default_factory=list)
    oldest: list[tuple[datetime, NaturalKey, str, Bucket]] = field(default_factory=list)


def item_of(bucket: Bucket, number: int) -> Item:
    """An entry of a bucket with what it is compared by."""
    since, name, key, _ = bucket.entries[number]
    return since, number - len(bucket.entries), name, key, bucket, number


class Stream:
    """What is left of one line in one pass, longest first."""

    def __init__(self, line: Line) -> None:
        self.pool, self.priority, self.retry = line.pool, line.priority, line.retry
        self._heads, self._at = line.heads, 0
        self._next: list[Item] = []  # of buckets whose first had its turn
        self._served: dict[tuple[str, ...], int] = {}  # how many of a bucket had theirs before
        self.oldest = line.oldest

    def served(self, bucket: Bucket, count: int) -> None:
        """The first of a bucket had their turn; told before anything is looked at."""
        self._served[bucket.scopes] = count

    def peek(self) -> Item | None:
        """The one that waits longest."""
        while self._at < len(self._heads) and self._heads[self._at][4].scopes in self._served:
            bucket = self._heads[self._at][4]
            self._at += 1
            if self._served[bucket.scopes] < len(bucket.entries):
                heappush(self._next, item_of(bucket, self._served[bucket.scopes]))
        head = self._heads[self._at] if self._at < len(self._heads) else None
        if self._next and (head is None or self._next[0] < head):
            return self._next[0]
        return head

    def first_fit(self, full: AbstractSet[str]) -> Item | None:
        """The one that waits longest of those with no full scope; the others are dropped, for what
        is full stays so.
        """
        heads, at = self._heads, self._at
        while at < len(heads):
            bucket = heads[at][4]
            count = self._served.get(bucket.scopes, 0)
            if not count and full.isdisjoint(bucket.scopes):
                break
            at += 1
            if 0 < count < len(bucket.entries):
                heappush(self._next, item_of(bucket, count))
        self._at = at
        while self._next and not full.isdisjoint(self._next[0][4].scopes):
            heappop(self._next)
        return self.peek()

    def drop(self) -> None:
        """Go on to the bucket after that of `peek`."""
        if self._next and self.peek() is self._next[0]:
            heappop(self._next)
        else:
            self._at += 1

    def follow(self, item: Item) -> None:
        """Let the one behind this one in its bucket have a turn."""
        bucket, number = item[4], item[5] + 1
        if number < len(bucket.entries):
            heappush(self._next, item_of(bucket, number))


class Pass:
    """One pass over the lines, which do not change meanwhile."""

    def __init__(self, lines: Iterable[Line], room: Room, ageing: Ageing, now: datetime) -> None:
        self.granted: list[Waiting] = []
        self._streams = [Stream(line) for line in lines]
        self._room, self._ageing, self._now = room, ageing, now
        self._limits = room.limits
        self._held = held = dict(room.held)  # as it is now: whoever grants counts on by himself
        self._full = {scope for scope, limit in room.limits.items() if held.get(scope, 0) >= limit}
        self._pool_granted: Counter[str] = Counter()
        self._claiming = claimants(room.limits)
        self._enough = False

    def run(self, grant: Grant) -> None:
        """Grant what there is to grant."""
        for phase in (self._oldest, self._overdue, self._others):
            if not self._is_over():
                phase(grant)

    def _is_over(self) -> bool:
        return self._enough or FLEET in self._full

    def _oldest(self, grant: Grant) -> None:
        """Serve the overdue strictly by age and name, until as many as may claim all their scopes
        do so.
        """
        turns: list[tuple[datetime, NaturalKey, str, int, int, int]] = []

        def queue_up(number: int, at: int, index: int) -> None:
            stream = self._streams[number]
            if at < len(stream.oldest):
                bucket = stream.oldest[at][3]
                if index < len(bucket.entries):
                    since, name, key, _ = bucket.entries[index]
                    if since <= self._overdue_since(stream):
                        heappush(turns, (since, name, key, number, at, index))

        for number in range(len(self._streams)):
            queue_up(number, 0, 0)
        while turns and self._claiming > 0 and not self._is_over():
            *_, number, at, index = heappop(turns)
            stream = self._streams[number]
            bucket = stream.oldest[at][3]
            self._serve_overdue(item_of(bucket, index), grant)
            stream.served(bucket, index + 1)
            queue_up(number, at, index + 1)
            if index == 0:
                queue_up(number, at + 1, 0)
        self._claiming = 0

    def _overdue_since(self, stream: Stream) -> datetime:
        """What waits in this line since then or longer is overdue."""
        return self._now - overdue_after(stream.priority, self._ageing)

    def _overdue(self, grant: Grant) -> None:
        turns: list[tuple[Item, int, datetime]] = []
        for number, stream in enumerate(self._streams):
            by = self._overdue_since(stream)
            item = stream.peek()
            if item is not None and item[0] <= by:
                turns.append((item, number, by))
        heapify(turns)
        while turns and not self._is_over():
            item, number, by = heappop(turns)
            stream = self._streams[number]
            stream.drop()
            if self._serve_overdue(item, grant):
                stream.follow(item)
            following = stream.peek()
            while following is not None and self._is_idle(following[4]):
                stream.drop()
                following = stream.peek()
            if following is not None and following[0] <= by:
                heappush(turns, (following, number, by))

    def _is_idle(self, bucket: Bucket) -> bool:
        """Whether nobody in the bucket can get or claim anything any more."""
        return self._narrow(bucket)[0] in self._full

    def _narrow(self, bucket: Bucket) -> tuple[str, ...]:
        if not bucket.narrow:
            bucket.narrow = narrow_first(bucket.scopes, self._room.limits)
        return bucket.narrow

    def _serve_overdue(self, item: Item, grant: Grant) -> bool:
        """Offer or claim; whether the one behind it can have any use of that."""
        bucket, narrow = item[4], self._narrow(item[4])
        full = next((at for at, scope in enumerate(narrow) if scope in self._full), None)
        if full is None:
            self._offer(item, grant)
        elif self._claiming > 0:
            self._claiming -= 1
            self._take(scope for scope in bucket.scopes if scope != FLEET)
        elif full == 0:
            return False
        else:
            self._take(narrow[:full])
        return True

    def _others(self, grant: Grant) -> None:
        turns = {
            number: turn
            for number, stream in enumerate(self._streams)
            if (turn := self._turn(stream)) is not None
        }
        while turns and not self._is_over():
            number = min(turns, key=lambda number: self._rank(number, turns[number]))
            stream, item = self._streams[number], turns[number][1]
            if self._full.isdisjoint(item[4].scopes):
                stream.drop()
                self._offer(item, grant)
                stream.follow(item)
            turn = self._turn(stream)
            if turn is not None:
                turns[number] = turn
            else:
                del turns[number]

    def _turn(self, stream: Stream) -> tuple[int, Item] | None:
        """The effective priority of the first of a line that fits, and itself."""
        item = stream.first_fit(self._full)
        if item is None or item[0] > self._now:
            return None
        waiting = item[4].entries[item[5]][3]
        return effective_priority(waiting, self._ageing, self._now), item

    def _rank(self, number: int, turn: tuple[int, Item]) -> tuple[int, bool, float, Item]:
        stream = self._streams[number]
        return -turn[0], stream.retry, self._load(stream.pool), turn[1]

    def _load(self, pool: str) -> float:
        """How much of its share a pool would have with one slot more."""
        held = self._room.pool_held.get(pool, 0) + self._pool_granted[pool]
        return (held + 1) / self._room.weights.get(pool, 1)

    def _offer(self, item: Item, grant: Grant) -> None:
        bucket, number = item[4], item[5]
        waiting = bucket.entries[number][3]
        answer = grant(waiting)
        if answer is Answer.GRANTED:
            self.granted.append(waiting)
            self._take(bucket.scopes)
            self._pool_granted[waiting.pool] += 1
        self._enough = answer is Answer.ENOUGH

    def _take(self, scopes: Iterable[str]) -> None:
        for scope in scopes:
            self._held[scope] = held = self._held.get(scope, 0) + 1
            if held >= self._limits[scope]:
                self._full.add(scope)
