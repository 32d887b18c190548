"""Virtual time: tasks in greenlets, a heap of instants, ties broken by the seed. Nothing waits.

A task gives the processor back only in `sleep_s`, so every interleaving is one that the heap chose,
and one seed chooses it again. A group of tasks is a process: `kill` ends all of it between two
steps, as kill -9 would.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from typing import Any

import greenlet

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


class Killed(BaseException):
    """The process of this task was killed. Nobody but the scheduler catches it."""


class Group:
    """The tasks of one process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stalled_until_s = 0.0  # stopped, as by SIGSTOP; everything goes on afterwards
        self.tasks: dict[greenlet.greenlet, None] = {}  # in the order of their beginning


class Scheduler:
    """Runs what is due, in the order of its time; `now_s` counts from the start, never back."""

    def __init__(self, seed: int) -> None:
        self.now_s = 0.0
        self.steps = 0
        self.ended = False
        self._dice = random.Random(f"{seed}/ties")
        self._heap: list[tuple[float, float, int, Any]] = []
        self._sequence = 0
        self._groups: dict[greenlet.greenlet, Group] = {}
        self._hub = greenlet.getcurrent()

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        """Call `act` outside any task at an instant."""
        self._push(when_s, act)

    def spawn(self, group: Group, run: Callable[[], None], after_s: float = 0.0) -> None:
        """Begin a task of a process, later."""
        task = greenlet.greenlet(lambda: self._whole(group, run), parent=self._hub)
        group.tasks[task] = None
        self._groups[task] = group
        self._push(self.now_s + after_s, task)

    def sleep_s(self, seconds: float) -> None:
        """Let virtual time pass in the task that calls, or nothing outside of any."""
        task = greenlet.getcurrent()
        if task is self._hub or task not in self._groups:
            return
        self._push(self.now_s + max(0.0, seconds), task)
        self._hub.switch()
        if self._groups[task].dead:
            raise Killed

    def pause(self, until_s: float) -> Callable[[], None]:
        """Plan for the calling task to go on at an instant; what is returned lets it go on now.

        To be followed by `park`.
        """
        task = greenlet.getcurrent()
        fired = False

        def go_on() -> None:
            nonlocal fired
            if not fired:
                fired = True
                self._push(self.now_s, task)

        self.at(until_s, go_on)
        return go_on

    def park(self) -> None:
        """Give the processor back until the pause is over."""
        task = greenlet.getcurrent()
        self._hub.switch()
        if self._groups[task].dead:
            raise Killed

    def kill(self, group: Group) -> None:
        """End every task of a process, where it stands. Not to be called from one of them."""
        group.dead = True
        for task in list(group.tasks):
            if task is not greenlet.getcurrent() and not task.dead:
                if task:
                    task.throw(Killed)
                else:
                    self._forget(task)
        group.tasks.clear()

    def run(self, until_s: float, done: Callable[[], bool]) -> None:
        """Run until there is nothing left, the time has come, or `done` says so."""
        while self._heap and not done():
            when_s, _tie, _number, what = heapq.heappop(self._heap)
            if when_s > until_s:
                break
            self.now_s = max(self.now_s, when_s)
            self.steps += 1
            if isinstance(what, greenlet.greenlet):
                group = self._groups.get(what)
                if group is None or what.dead or group.dead:
                    self._forget(what)
                    continue
                if group.stalled_until_s > self.now_s:
                    self._push(group.stalled_until_s, what)
                    continue
                what.switch()
            else:
                what()
        self.ended = True

    def _push(self, when_s: float, what: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when_s, self._dice.random(), self._sequence, what))

    def _whole(self, group: Group, run: Callable[[], None]) -> None:
        try:
            if not group.dead:
                run()
        except Killed:
            pass
        finally:
            self._forget(greenlet.getcurrent())

    def _forget(self, task: greenlet.greenlet) -> None:
        group = self._groups.pop(task, None)
        if group is not None:
            group.tasks.pop(task, None)


class Alarm:
    """What wakes a daemon: set by anybody, waited for by one task."""

    def __init__(self, time: Scheduler) -> None:
        self._time = time
        self._is_set = False
        self._go_on: Callable[[], None] | None = None

    def set(self) -> None:
        """Wake whoever waits, or let the next wait return at once."""
        self._is_set = True
        if self._go_on is not None:
            self._go_on()

    def clear(self) -> None:
        """Forget that it was set."""
        self._is_set = False

    def wait(self, timeout_s: float) -> None:
        """Wait until it is set, or the time has passed."""
        if not self._is_set:
            self._go_on = self._time.pause(self._time.now_s + timeout_s)
            self._time.park()
            self._go_on = None


class VirtualExecutor(Executor):
    """Every call in a task of its own, begun after a short drawn time; `workers_max` at once."""

    def __init__(
        self, time: Scheduler, group: Group, dice: random.Random, workers_max: int
    ) -> None:
        self._time, self._group, self._dice = time, group, dice
        self._free = workers_max
        self._queue: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                result = fn(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  it is the future's
                future.set_exception(error)
            else:
                future.set_result(result)
            self._next()

        if self._free:
            self._begin(run)
        else:
            self._queue.append(run)
        return future

    def _begin(self, run: Callable[[], None]) -> None:
        self._free -= 1
        self._time.spawn(self._group, run, self._dice.uniform(0.0, 0.05))

    def _next(self) -> None:
        self._free += 1
        if self._queue:
            self._begin(self._queue.pop(0))


class VirtualClock:
    """The wall clock of the simulated machine room: virtual time, and whatever somebody set."""

    def __init__(self, time: Scheduler) -> None:
        self._time = time
        self.offset_s = 0.0

    def wall(self) -> datetime:
        """What the wall clock says."""
        return START + timedelta(seconds=self._time.now_s + self.offset_s)

    def monotonic(self) -> float:
        """Seconds that truly passed."""
        return self._time.now_s
