"""The sweep: every node is asked in its turn, a bounded number at once, and nobody waits for a BMC.

A fleet always has dead BMCs, and each holds a worker for the whole of its time-out. So failing
nodes have a lane of their own, busy ones (with an operation) another, and the rest of the room is
left to the healthy. The sweeper owns no thread: `tick` and the answers move it.

It decides nothing about the fleet and keeps nothing on disk. It cannot end a call that a driver
does not end: such a call keeps its place in the lane, and the node's last observation grows old.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from datetime import datetime
from functools import partial
from typing import Protocol

from metalwright.errors import PermanentError
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import ErrorKind, ObservationError, Observed, Reading
from metalwright.observe.entry import Answer, Ask
from metalwright.observe.pace import SweepSettings, error_of
from metalwright.observe.round import CredentialsVersion, Round

_ASK_TIMEOUT_MIN_S = 0.1


class Observer(Protocol):
    """The reading half of a driver: who holds one cannot change anything."""

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the node answers within `timeout_s`. Called from many threads at once.

        Raises:
            DriverError: no reading; which one says whether to ask again, and how soon.
        """


class Sweeper:
    """Keeps the latest observation of every node. Every method may be called from any thread.

    `observers` are by driver name. `executor` is the caller's, who shuts it down; it should have
    `settings.in_flight_max` workers. `wake` is called, from any thread, when an answer is news or
    an operation waits for it: once, until the next `snapshot`. With `credentials_version`, a node
    whose credentials were refused is asked again as soon as they change.
    """

    def __init__(
        self,
        observers: Mapping[str, Observer],
        clock: Callable[[], datetime],
        executor: Executor,
        settings: SweepSettings,
        wake: Callable[[], None],
        *,
        rng: random.Random | None = None,
        credentials_version: CredentialsVersion | None = None,
    ) -> None:
        self._observers = dict(observers)
        self._clock = clock
        self._executor = executor
        self._settings = settings
        self._wake = wake
        dice = rng if rng is not None else random.Random()  # noqa: S311  jitter, not a secret
        self._round = Round(settings, dice, credentials_version)
        self._changed = threading.Condition()  # its lock guards everything below and the round
        self._pumping = False
        self._woken = False
        self._closed = False
        self._waiting: set[str] = set()
        self._ends: float | None = None

    def tick(self, nodes: Iterable[Node], busy: frozenset[str]) -> None:
        """Start asking the nodes that are due, as many as there is room for, and return.

        The answers start the rest. Nodes that are not among `nodes` are dropped.
        """
        with self._changed:
            if self._closed:
                return
            now = self._clock()
            self._round.reconcile(nodes, busy, now)
            self._round.enqueue(now)
        self._pump()

    def follow(self, nodes: Iterable[Node]) -> None:
        """Take over the nodes of git and ask nobody: what is not about them is dropped.

        To be called before a `snapshot` that is acted on: after two BMC addresses were swapped in
        git, what the old BMC said must not let anything be done through the new one.
        """
        with self._changed:
            if not self._closed:
                self._round.follow(nodes, self._clock())

    def run(self, nodes: Iterable[Node], deadline_s: float) -> Observed:
        """Ask each node once, and wait for the answers: for commands that look once.

        A node that has not answered by the deadline gets a time-out. One whose refused credentials
        are known (`preload`) is not asked before its time. Not to be mixed with `tick`.
        """
        wanted = {node.metadata.name: node for node in nodes}
        ends = time.monotonic() + deadline_s
        with self._changed:
            began = self._clock()
            self._round.reconcile(wanted.values(), frozenset(), began)
            self._waiting = set(self._round.enqueue(began, everyone=True))
            self._ends = ends
        self._pump()
        with self._changed:
            while self._waiting and self._round.outstanding and not self._closed:
                left_s = ends - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    break
            self._round.drop_queue()
            error = ObservationError(
                kind=ErrorKind.TIMEOUT,
                message=f"no answer within the {deadline_s:g} s given to all nodes",
            )
            answer = Answer(at=began, error=error)
            self._round.give_up(self._waiting, answer, self._clock())
            self._waiting, self._ends = set(), None
            known = self._round.snapshot().nodes
            return Observed(nodes=FrozenDict({n: known[n] for n in wanted if n in known}))

    def snapshot(self) -> Observed:
        """The latest observation of every node that was asked; cheap when nothing changed."""
        with self._changed:
            self._woken = False
            return self._round.snapshot()

    def next_due_at(self) -> datetime | None:
        """When a tick is worth while again; `None` when there is nobody to ask."""
        with self._changed:
            return None if self._closed else self._round.next_due_at(self._clock())

    def configure(self, settings: SweepSettings) -> None:
        """Take over other limits; they hold from the next question on.

        More `in_flight_max` than the executor has workers asks no more nodes at once.
        """
        with self._changed:
            self._settings = settings
            self._round.configure(settings)

    def forget(self, node: str) -> None:
        """Drop what is known of a node. It is asked anew; an answer under way does not count."""
        with self._changed:
            self._round.forget(node)

    def preload(self, observed: Observed) -> None:
        """Begin with what an earlier process saw: its age shows, and its pauses are kept."""
        with self._changed:
            self._round.preload(observed)

    def close(self) -> None:
        """Ask nobody any more. Does not wait for what is under way, nor end the executor."""
        with self._changed:
            self._closed = True
            self._round.drop_queue()
            self._changed.notify_all()

    def _pump(self) -> None:
        """Start asking while there is room.

        One thread at a time: an executor that runs the work inside `submit` answers from in here,
        and would go one call deeper for every node. Whoever comes meanwhile may leave at once,
        because the pumping thread looks again, under the lock, before it stops. It stops early
        after a laneful, when an answer is sure to come and pump again: `tick` must return.
        """
        with self._changed:
            if self._pumping:
                return
            self._pumping = True
        started = 0
        while True:
            with self._changed:
                full = started >= self._settings.in_flight_max and self._round.asking > 0
                late = self._ends is not None and time.monotonic() >= self._ends
                ask = None if full or late or self._closed else self._round.next_ask()
                if ask is None:
                    self._pumping = False
                    return
            self._start(ask)
            started += 1

    def _start(self, ask: Ask) -> None:
        timeout_s = self._settings.timeout_s
        if self._ends is not None:
            left_s = self._ends - time.monotonic()
            timeout_s = min(timeout_s, max(_ASK_TIMEOUT_MIN_S, left_s))
        try:
            future = self._executor.submit(self._ask, ask.entry.node, timeout_s)
        except RuntimeError:  # shut down, or no thread to be had: the next tick tries again
            with self._changed:
                self._round.withdraw(ask)
                self._round.drop_queue()
                self._changed.notify_all()
            return
        future.add_done_callback(partial(self._answered, ask))

    def _ask(self, node: Node, timeout_s: float) -> Answer:
        at = self._clock()
        try:
            observer = self._observers.get(node.spec.driver)
            if observer is None:
                raise PermanentError(f"no driver {node.spec.driver!r} is set up here")
            reading = observer.observe(node, timeout_s)
            asked_at = reading.asked_at or at
            return Answer(at=min(at, asked_at), reading=reading)
        except Exception as error:  # noqa: BLE001  one BMC's surprise must not end the sweep
            return Answer(at=at, error=error_of(error))

    def _answered(self, ask: Ask, future: Future[Answer]) -> None:
        with self._changed:
            self._round.withdraw(ask)
            news = False
            if not future.cancelled() and not self._closed:
                now = self._clock()
                fatal = future.exception()  # what even `except Exception` let through
                answer = future.result() if fatal is None else Answer(at=now, error=error_of(fatal))
                news = self._round.record(ask, answer, now)
                self._waiting.discard(ask.entry.node.metadata.name)
            if not self._waiting or not self._round.outstanding:
                self._changed.notify_all()
            wakes = news and not self._woken
            self._woken = self._woken or news
        self._pump()
        if wakes:
            self._wake()
