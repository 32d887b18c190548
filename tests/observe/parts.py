"""A clock that only moves when told, executors that run work in a known order, and a fleet that
answers what it is told."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from typing import Any

from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Bmc, NodeSpec
from metalwright.model.observed import Power, Reading


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


class SerialExecutor(Executor):
    """Runs the work inside `submit`: one thread, one order, the same every time."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001  as a thread pool does
            future.set_exception(error)
        else:
            future.set_result(result)
        return future


class HeldExecutor(Executor):
    """Keeps the work until the test lets one piece of it run."""

    def __init__(self) -> None:
        self.held: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.most = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.held.append((future, lambda: fn(*args, **kwargs)))
        self.most = max(self.most, len(self.held))
        return future

    def release(self, index: int = 0) -> None:
        future, work = self.held.pop(index)
        if future.set_running_or_notify_cancel():
            future.set_result(work())


class TimedExecutor(Executor):
    """Workers in virtual time: each piece of work ends `takes_s(node)` after it was begun."""

    def __init__(self, clock: Clock, takes_s: Callable[[str], float]) -> None:
        self._clock = clock
        self._takes_s = takes_s
        self._under_way: list[tuple[datetime, int, Future[Any], Any]] = []
        self._number = 0
        self.most = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._number += 1
        ends = self._clock.now + timedelta(seconds=self._takes_s(args[0].metadata.name))
        row = (ends, self._number, future, fn(*args, **kwargs))
        heapq.heappush(self._under_way, row)
        self.most = max(self.most, len(self._under_way))
        return future

    def next_end(self) -> datetime | None:
        return self._under_way[0][0] if self._under_way else None

    def finish(self) -> None:
        """Let everything end that has had its time."""
        while self._under_way and self._under_way[0][0] <= self._clock.now:
            _ends, _number, future, result = heapq.heappop(self._under_way)
            future.set_result(result)


class Fleet:
    """An observer. `answers` maps a node to a reading or to the exception that it raises."""

    def __init__(self) -> None:
        self.answers: dict[str, Reading | BaseException | Callable[[], Reading]] = {}
        self.asked: list[str] = []
        self.timeouts_s: list[float] = []

    def observe(self, node: Node, timeout_s: float) -> Reading:
        self.asked.append(node.metadata.name)
        self.timeouts_s.append(timeout_s)
        answer = self.answers.get(node.metadata.name, Reading(power=Power.OFF))
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Reading) else answer()

    def count(self) -> Counter[str]:
        return Counter(self.asked)


def node(name: str, credentials: str = "bmc/all", address: str = "192.0.2.1") -> Node:
    return Node(
        metadata=Metadata(name=name),
        spec=NodeSpec(driver="fake", bmc=Bmc(address=address, credentials=credentials)),
    )


def nodes(count: int) -> tuple[Node, ...]:
    return tuple(node(f"n{number:05}") for number in range(1, count + 1))
