"""Who is to be asked next, and what was answered: the sweep's bookkeeping, one thread at a time.

Three queues: busy nodes (an operation waits for them, failing or not), other failing ones, and the
rest. It reads no clock, asks nobody and holds no lock; `sweep` does. Everything is bounded by the
number of nodes.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from metalwright.errors import MetalwrightError
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import ErrorKind, Observation, Observed
from metalwright.observe.entry import Answer, Ask, Entry, Lane, same
from metalwright.observe.pace import SweepSettings, due_at, first_pause_s, pause_s

CredentialsVersion = Callable[[Node], str | None]

_MENDED_BY_CREDENTIALS = frozenset({ErrorKind.CREDENTIALS, ErrorKind.PERMANENT})


_Queued = tuple[datetime, Entry, str]
"""Since when it is due, who, and the version of the credentials that it is to be asked with."""


def _room(settings: SweepSettings) -> dict[Lane, int]:
    """How many of each lane may be asked at once."""
    return {
        Lane.BUSY: settings.busy_in_flight_max,
        Lane.HEALTHY: settings.in_flight_max,
        Lane.FAILING: settings.failing_in_flight_max,
    }


class Round:
    """Entries, queues and lanes of one fleet."""

    def __init__(
        self,
        settings: SweepSettings,
        rng: random.Random,
        credentials_version: CredentialsVersion | None,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._credentials_version = credentials_version
        self._entries: dict[str, Entry] = {}
        self._latest: dict[str, Observation] = {}
        self._snapshot: Observed | None = Observed()
        self._busy: frozenset[str] = frozenset()
        self._queues: dict[Lane, deque[_Queued]] = {each: deque() for each in Lane}
        self._queued: set[str] = set()
        self._asking: dict[str, Lane] = {}
        self._room = _room(settings)
        self._order = 0
        self._enqueued_at: datetime | None = None

    @property
    def asking(self) -> int:
        """How many nodes are being asked."""
        return len(self._asking)

    @property
    def outstanding(self) -> int:
        """How many nodes are being asked, or wait for their turn."""
        return len(self._asking) + len(self._queued)

    def configure(self, settings: SweepSettings) -> None:
        """Take over other limits, for what comes due from now on; who is being asked, is asked."""
        former, now = _room(self._settings), _room(settings)
        for lane in Lane:
            self._room[lane] += now[lane] - former[lane]
        self._settings = settings

    def preload(self, observed: Observed) -> None:
        """Begin with observations of an earlier process, where there is none of this one."""
        for name, observation in observed.nodes.items():
            self._latest.setdefault(name, observation)
        self._snapshot = None

    def snapshot(self) -> Observed:
        """The latest observation of every node; the same value until something changes."""
        if self._snapshot is None:
            self._snapshot = Observed(nodes=FrozenDict(self._latest))
        return self._snapshot

    def reconcile(self, nodes: Iterable[Node], busy: frozenset[str], now: datetime) -> None:
        """Take over the nodes of git, and which of them are busy."""
        self._busy = busy
        self.follow(nodes, now)

    def follow(self, nodes: Iterable[Node], now: datetime) -> None:
        """Take over the nodes of git: new ones are due, gone ones are dropped.

        A node that got another driver or BMC is a new one: what the old BMC said is not about it.
        """
        seen: dict[str, Node] = {node.metadata.name: node for node in nodes}
        for name, node in seen.items():
            entry = self._entries.get(name)
            if entry is None:
                self._entries[name] = self._entry(node, now)
            elif entry.node is not node:
                if entry.is_about(node):
                    entry.node = node
                    continue
                self.forget(name)
                self._entries[name] = self._entry(node, now)
        for name in [name for name in self._latest if name not in seen]:
            self.forget(name)
        for name in [name for name in self._entries if name not in seen]:
            del self._entries[name]

    def forget(self, name: str) -> None:
        """Drop what is known of a node; an answer that is under way will not count."""
        self._entries.pop(name, None)
        if self._latest.pop(name, None) is not None:
            self._snapshot = None

    def enqueue(self, now: datetime, *, everyone: bool = False) -> frozenset[str]:
        """Queue every node that is due, oldest first; returns the names that are queued.

        With `everyone`, all are due but those whose refused credentials are not to be presented
        again yet.
        """
        self._enqueued_at = now
        self.drop_queue()
        due: dict[Lane, list[tuple[datetime, str, Entry, str]]] = {lane: [] for lane in Lane}
        versions: dict[object, str] = {}
        busy_nodes = self._busy
        for name, entry in self._entries.items():
            busy = name in busy_nodes
            when = entry.busy_due if busy else entry.due
            if when > now and not self._early(entry, now, versions, everyone):
                continue
            if name in self._asking:
                continue
            lane = Lane.BUSY if busy else Lane.FAILING if entry.failures else Lane.HEALTHY
            version = self._version(entry.node, versions)
            due[lane].append((when, name, entry, version))
            self._queued.add(name)
        for lane, rows in due.items():
            rows.sort(key=lambda row: row[:2])
            self._queues[lane].extend((when, entry, version) for when, _, entry, version in rows)
        return frozenset(self._queued)

    def drop_queue(self) -> None:
        """Ask nobody who is not being asked already."""
        self._queued.clear()
        for queue in self._queues.values():
            queue.clear()

    def next_ask(self) -> Ask | None:
        """The node to be asked now, if there is one and there is room."""
        while len(self._asking) < self._settings.in_flight_max:
            lane = self._next_lane()
            if lane is None:
                return None
            _when, entry, version = self._queues[lane].popleft()
            name = entry.node.metadata.name
            self._queued.discard(name)
            if self._entries.get(name) is not entry or name in self._asking:
                continue  # forgotten, or taken up again, since it was queued
            entry.version = version
            self._order += 1
            self._asking[name] = lane
            self._room[lane] -= 1
            return Ask(entry=entry, lane=lane, order=self._order)
        return None

    def withdraw(self, ask: Ask) -> None:
        """The asking is over, or never began; the node is as due as it was."""
        del self._asking[ask.entry.node.metadata.name]
        self._room[ask.lane] += 1

    def record(self, ask: Ask, answer: Answer, now: datetime) -> bool:
        """Keep an answer, unless it is older than what is known or about a machine of the past.

        Returns whether it is news, or an operation waits for it.
        """
        entry, name = ask.entry, ask.entry.node.metadata.name
        if self._entries.get(name) is not entry:
            return True  # forgotten while it was asked: whoever forgot it wants it asked again
        if ask.order < entry.order:
            return False
        before, kind = entry.observation, answer.error.kind if answer.error is not None else None
        failures = 0 if kind is None else entry.failures + 1
        first = entry.order == 0
        if first and kind is None:
            pause = first_pause_s(self._settings, name)
        else:
            pause = pause_s(self._settings, failures, kind, self._rng.random())
        entry.order = ask.order
        entry.answered_at = now
        entry.due = due_at(self._settings, now, pause, kind, busy=False)
        entry.busy_due = due_at(self._settings, now, pause, kind, busy=True)
        busy = name in self._busy
        entry.observation = Observation(
            node=name,
            at=answer.at,
            reading=answer.reading,
            error=answer.error,
            failures=failures,
            next_attempt_at=None if kind is None else entry.busy_due if busy else entry.due,
        )
        self._latest[name] = entry.observation
        self._snapshot = None
        return busy or first or before is None or not same(before, entry.observation)

    def give_up(self, names: Iterable[str], answer: Answer, now: datetime) -> None:
        """Answer for nodes that did not; what they answer later still replaces it."""
        for name in sorted(names):
            entry = self._entries.get(name)
            if entry is not None:
                lane = self._asking.get(name, Lane.HEALTHY)
                self.record(Ask(entry=entry, lane=lane, order=entry.order), answer, now)

    def next_due_at(self, now: datetime) -> datetime | None:
        """When a tick is worth while again; `None` when there is nobody to ask.

        Nodes that are being asked, or wait for room, are taken to be due again shortly.
        """
        soonest: datetime | None = None
        if self._asking or self._queued:
            soonest = now + timedelta(seconds=self._settings.busy_interval_s)
        for name, entry in self._entries.items():
            when = entry.busy_due if name in self._busy else entry.due
            if (soonest is None or when < soonest) and not (
                name in self._queued or name in self._asking
            ):
                soonest = when
        if soonest is None or self._enqueued_at is None or self._enqueued_at > now:
            return soonest
        return max(soonest, self._enqueued_at + timedelta(seconds=self._settings.tick_gap_s))

    def _next_lane(self) -> Lane | None:
        if self._queues[Lane.BUSY] and self._room[Lane.BUSY] > 0:
            return Lane.BUSY
        open_lanes = [
            lane
            for lane in (Lane.HEALTHY, Lane.FAILING)
            if self._queues[lane] and self._room[lane] > 0
        ]
        return min(open_lanes, key=lambda lane: self._queues[lane][0][0], default=None)

    def _entry(self, node: Node, now: datetime) -> Entry:
        """A node of this process: due at once, but for a pause that an earlier one had begun."""
        known = self._latest.get(node.metadata.name)
        due = now
        if known is not None and known.error is not None and known.next_attempt_at is not None:
            longest = max(self._settings.backoff_max_s, self._settings.credentials_retry_s)
            due = min(known.next_attempt_at, now + timedelta(seconds=longest))
        return Entry(node=node, due=due, busy_due=due, observation=known)

    def _early(
        self, entry: Entry, now: datetime, versions: dict[object, str], everyone: bool
    ) -> bool:
        """Whether a node is asked before its pause is over."""
        if entry.answered_at is not None and entry.answered_at > now:
            return True  # the clock was set back; else it would not be asked until then
        kind = entry.kind
        if kind in _MENDED_BY_CREDENTIALS:
            version = self._version(entry.node, versions)
            if entry.version is None:
                entry.version = version
            elif version != entry.version:
                return True
        return everyone and kind is not ErrorKind.CREDENTIALS

    def _version(self, node: Node, versions: dict[object, str]) -> str:
        """Which credentials the node would be asked with; nodes with one reference share them."""
        bmc = node.spec.bmc
        reference = (node.spec.driver, bmc.credentials if bmc is not None else None)
        if self._credentials_version is None:
            return ""
        if reference not in versions:
            try:
                versions[reference] = self._credentials_version(node) or ""
            except (MetalwrightError, OSError):
                versions[reference] = ""  # no such secret now; the driver says so when it asks
        return versions[reference]
