"""Effects in flight: handed to worker threads, their outcomes gathered, never waited for.

A worker touches nothing but the driver and a queue. An effect that was handed over counts as in
flight until its outcome is *recorded*, so a store that fails in between loses nothing.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from metalwright.execute.ports import HardwareEngine, Provisioner
from metalwright.model.documents import Node
from metalwright.model.operation import Operation

OVERDUE_FACTOR: Final = 3.0
"""How many times its time-out a driver may take before somebody is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one effect: its operation, fence and intent, and the error if there was one.

    `sent` is false when the driver was never called, because this process may not drive the fleet
    any more; the intent stays in doubt and is read back, by whoever may.
    """

    node: str
    operation_id: str
    fence: int
    intent_at: datetime | None
    at: datetime
    error: BaseException | None
    sent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One effect to be brought about: the intent of `operation`."""

    operation: Operation
    node: Node
    provisioner: Provisioner


class Effects:
    """The effects in flight, one for a node at most, by the name of the node."""

    def __init__(
        self,
        executor: Executor,
        clock: Callable[[], datetime],
        wake: Callable[[], None],
        still_ours: Callable[[], bool],
        timeout_s: float,
    ) -> None:
        self._executor, self._clock, self._wake = executor, clock, wake
        self._still_ours, self._timeout_s = still_ours, timeout_s
        self._in_flight: dict[str, Operation] = {}
        self._queue: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._gathered: list[Outcome] = []

    def __len__(self) -> int:
        return len(self._in_flight)

    def __contains__(self, node: str) -> bool:
        return node in self._in_flight

    @property
    def overdue_after(self) -> timedelta:
        """A driver that has not answered for so long has broken its promise to."""
        return timedelta(seconds=OVERDUE_FACTOR * self._timeout_s)

    def unanswered(self) -> tuple[Operation, ...]:
        """The operations whose driver is still at work, by name of the node."""
        answered = {outcome.node for outcome in self.gather()}
        going = self._in_flight.items()
        return tuple(operation for name, operation in sorted(going) if name not in answered)

    def gather(self) -> tuple[Outcome, ...]:
        """The outcomes that are not recorded yet, oldest first."""
        while True:
            try:
                self._gathered.append(self._queue.get_nowait())
            except queue.Empty:
                return tuple(self._gathered)

    def recorded(self, outcomes: Iterable[Outcome]) -> None:
        """These outcomes are durable: their nodes are free."""
        done = set(map(id, outcomes))
        for outcome in self._gathered:
            if id(outcome) in done:
                self._in_flight.pop(outcome.node, None)
        self._gathered = [each for each in self._gathered if id(each) not in done]

    def start(self, task: Task) -> bool:
        """Hand an effect over; its intent is durable. False when no worker takes it."""
        name = task.operation.node
        self._in_flight[name] = task.operation
        try:
            self._executor.submit(self._perform, task)
        except RuntimeError:  # shut down: the intent stays without an answer and is read back
            del self._in_flight[name]
            return False
        return True

    def wait(self, timeout_s: float) -> bool:
        """Wait until every effect in flight has come back; false when time ran out."""
        until = time.monotonic() + timeout_s
        while len(self._gathered) < len(self._in_flight):
            try:
                left_s = max(0.0, until - time.monotonic())
                self._gathered.append(self._queue.get(timeout=left_s))
            except queue.Empty:
                return False
        return True

    def _perform(self, task: Task) -> None:
        operation = task.operation
        error: BaseException | None = None
        sent = False
        assert operation.intent is not None
        try:
            sent = self._still_ours()
            if sent and isinstance(task.provisioner, HardwareEngine):
                task.provisioner.carry_out(task.node, operation, self._timeout_s)
            elif sent:
                task.provisioner.apply(task.node, operation.intent, self._timeout_s)
        except BaseException as raised:
            error = raised
            if not isinstance(raised, Exception):
                raise  # none of the loop's business, but without an outcome the node were lost
        finally:
            self._queue.put(
                Outcome(
                    node=operation.node,
                    operation_id=operation.id,
                    fence=operation.fence,
                    intent_at=operation.intent_at,
                    at=self._clock(),
                    error=error,
                    sent=sent,
                )
            )
            self._wake()
