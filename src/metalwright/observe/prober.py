"""Makes the checks of machines that are being validated, again and again, a bounded number at once.

Each check of each machine has its own pace: a failed one is made again soon, then ever later, a
passed one seldom. The latest verdict counts; those of an operation that is over are dropped. It
decides nothing, keeps nothing on disk, and looks at no machine but those that it is told to follow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from typing import Protocol, runtime_checkable

from metalwright.model.checks import Check, Verdict
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.report import Report
from metalwright.model.validation import MESSAGE_MAX, Validation, judge
from metalwright.observe.probes import probe


@runtime_checkable
class Checker(Protocol):
    """A driver that answers for its machines itself: they are not on any network."""

    def check(self, node: Node, check: Check, timeout_s: float) -> str:
        """Why the machine does not pass now, empty when it does. From many threads at once.

        Raises:
            DriverError: it cannot be told.
        """


class Reports(Protocol):
    """Where the latest reports of the machines are."""

    def __call__(self, nodes: Iterable[str]) -> Mapping[str, Report]:
        """The latest report of each of these nodes that has one.

        Raises:
            StoreError: they cannot be read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How many checks are made at once, and the pauses between two tries of one."""

    in_flight_max: int = 16
    pause_min_s: float = 1.0
    pause_max_s: float = 30.0


@dataclass(slots=True, eq=False)
class _Try:
    """One check of one machine: when it is due again, how often in a row it failed."""

    check: Check
    validation: Validation
    due: datetime
    by_report: bool
    gone: bool = False
    failures: int = 0
    verdict: Verdict | None = None


class Prober:
    """Keeps the latest verdict of every check of the machines that it follows. Any thread may call.

    `executor` is the caller's. `checkers` are drivers by name that answer for their machines.
    `wake` is called, from any thread, when a verdict is another than before.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        executor: Executor,
        wake: Callable[[], None],
        *,
        checkers: Mapping[str, Checker] = FrozenDict(),
        reports: Reports | None = None,
        settings: ProbeSettings | None = None,
    ) -> None:
        self._clock, self._executor, self._wake = clock, executor, wake
        self._checkers, self._reports = checkers, reports
        self._settings = settings or ProbeSettings()
        self._lock = threading.Lock()  # guards all below
        self._tries: dict[str, dict[str, _Try]] = {}
        self._snapshot: Mapping[str, Mapping[str, Verdict]] | None = FrozenDict()
        self._due: list[tuple[datetime, int, _Try]] = []  # a heap; those that are gone stay in it
        self._queued = 0
        self._in_flight = 0
        self._pumping = self._closed = False

    def follow(self, validations: Mapping[str, Validation]) -> None:
        """Validate these machines and no others from now on; start what is due, and return.

        Raises:
            StoreError: the reports cannot be read; what is made from outside goes on.
        """
        with self._lock:
            if not validations and not self._tries:
                return
            self._take_over(validations)
        try:
            self._read_reports()
        finally:
            self._pump()

    def snapshot(self) -> Mapping[str, Mapping[str, Verdict]]:
        """The verdicts by node and name of the check; the same value until one is another."""
        with self._lock:
            if self._snapshot is None:
                self._snapshot = FrozenDict(
                    {node: _verdicts(tries) for node, tries in self._tries.items()}
                )
            return self._snapshot

    def next_due_at(self) -> datetime | None:
        """When `follow` is worth while again; `None` while nothing is to be checked."""
        with self._lock:
            soonest = self._soonest()
            return soonest.due if soonest is not None else None

    def close(self) -> None:
        """Make no more checks. Does not wait for those under way, nor end the executor."""
        with self._lock:
            self._closed = True

    def _take_over(self, validations: Mapping[str, Validation]) -> None:
        """Drop what is over; what an edited check said before is over too."""
        now = self._clock()
        tries: dict[str, dict[str, _Try]] = {}
        for name, validation in validations.items():
            former = self._tries.get(name, {})
            tries[name] = {
                check.name: self._kept(former.get(check.name), check, validation)
                or self._begin(check, validation, now)
                for check in validation.checks
            }
        if tries == self._tries:
            return
        kept = {id(each) for inner in tries.values() for each in inner.values()}
        for each in self._every():
            each.gone = id(each) not in kept
        self._tries, self._snapshot = tries, None

    def _begin(self, check: Check, validation: Validation, now: datetime) -> _Try:
        by_report = check.probe is None and validation.node.spec.driver not in self._checkers
        begun = _Try(check, validation, now, by_report)
        self._queue(begun)
        return begun

    def _queue(self, this: _Try) -> None:
        self._queued += 1
        heappush(self._due, (this.due, self._queued, this))

    def _soonest(self) -> _Try | None:
        """The one that is due next."""
        while self._due and self._due[0][2].gone:
            heappop(self._due)
        return self._due[0][2] if self._due else None

    def _kept(self, former: _Try | None, check: Check, validation: Validation) -> _Try | None:
        """The try of the same check in the same attempt, on the machine at the same address."""
        if former is None or former.check != check:
            return None
        before, now = former.validation, validation
        if (before.operation_id, before.attempt, before.since, before.node.spec) != (
            now.operation_id,
            now.attempt,
            now.since,
            now.node.spec,
        ):
            return None
        former.validation = now
        return former

    def _every(self) -> Iterator[_Try]:
        for tries in self._tries.values():
            yield from tries.values()

    def _read_reports(self) -> None:
        """Judge what follows from the machines' own reports."""
        with self._lock:
            mine = [each for each in self._every() if each.by_report]
        if not mine:
            return
        nodes = {each.validation.node.metadata.name for each in mine}
        found = self._reports(sorted(nodes)) if self._reports is not None else {}
        news = False
        with self._lock:
            for each in mine:
                report = found.get(each.validation.node.metadata.name)
                verdict = judge(each.check, each.validation, report)
                if verdict is not None:
                    news = self._note(each, verdict) or news
        if news:
            self._wake()

    def _note(self, this: _Try, verdict: Verdict) -> bool:
        """Keep a verdict; whether it is another than before."""
        before, this.verdict = this.verdict, verdict
        self._snapshot = None
        this.failures = 0 if verdict.passed else this.failures + 1
        if before is None:
            return True
        return (before.passed, before.message) != (verdict.passed, verdict.message)

    def _pump(self) -> None:
        """Start what is due while there is room. One thread at a time: an executor that runs the
        work inside `submit` answers from in here; whoever comes meanwhile leaves it to that one.
        """
        with self._lock:
            if self._pumping:
                return
            self._pumping = True
        while True:
            with self._lock:
                this = self._next()
                if this is None:
                    self._pumping = False
                    return
                self._in_flight += 1
            try:
                future = self._executor.submit(self._make, this.check, this.validation.node)
            except RuntimeError:  # shut down: the daemon is ending
                with self._lock:
                    self._pumping = False
                    self._in_flight -= 1
                return
            future.add_done_callback(partial(self._made, this))

    def _next(self) -> _Try | None:
        """The one that is due longest, if there is room."""
        now = self._clock()
        while not self._closed and self._in_flight < self._settings.in_flight_max:
            this = self._soonest()
            if this is None or this.due > now:
                return None
            heappop(self._due)
            if not this.by_report:
                return this
            # Judged whenever `follow` is called; from time to time that is its turn, too.
            this.due = now + timedelta(seconds=self._settings.pause_max_s)
            self._queue(this)
        return None

    def _make(self, check: Check, node: Node) -> Verdict:
        at = self._clock()
        checker = self._checkers.get(node.spec.driver)
        try:
            if checker is not None:
                said = checker.check(node, check, float(check.timeout))
            else:
                said = probe(check, node.spec.address or node.metadata.name)
        except Exception as error:  # noqa: BLE001  one machine's surprise must not end the others
            said = str(error) or type(error).__name__
        return Verdict(at=at, passed=not said, message=said[:MESSAGE_MAX])

    def _made(self, this: _Try, future: Future[Verdict]) -> None:
        with self._lock:
            self._in_flight -= 1
            news = False
            if not future.cancelled() and not this.gone:
                news = self._note(this, future.result())
            this.due = self._clock() + timedelta(seconds=self._pause_s(this))
            self._queue(this)
        self._pump()
        if news:
            self._wake()

    def _pause_s(self, this: _Try) -> float:
        low, high = self._settings.pause_min_s, self._settings.pause_max_s
        if this.failures == 0:
            return high
        return min(high, low * 2.0 ** min(this.failures - 1, 30))


def _verdicts(tries: Mapping[str, _Try]) -> Mapping[str, Verdict]:
    return FrozenDict(
        {name: each.verdict for name, each in tries.items() if each.verdict is not None}
    )
