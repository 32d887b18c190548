"""The sweep as its owner sees it: who is asked when, and what is known after."""

from __future__ import annotations

import random
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.errors import CredentialsError, PermanentError, SettingsError, TemporaryError
from metalwright.model.documents import Metadata, Node
from metalwright.model.observed import (
    ErrorKind,
    Observation,
    ObservationError,
    Observed,
    Power,
    Reading,
)
from metalwright.observe import Sweeper, SweepSettings

from .parts import Clock, Fleet, HeldExecutor, SerialExecutor, TimedExecutor, node, nodes

IDLE: frozenset[str] = frozenset()
SETTINGS = SweepSettings()
ON, OFF = Reading(power=Power.ON), Reading(power=Power.OFF)


class Bench:
    """A sweeper on a clock of its own."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        executor: Executor | None = None,
        settings: SweepSettings = SETTINGS,
        **more: Any,
    ) -> None:
        self.clock = clock
        self.wakes = 0
        self.sweeper = Sweeper(
            {"fake": fleet},
            clock,
            executor or SerialExecutor(),
            settings,
            self._wake,
            rng=random.Random(1),
            **more,
        )

    def _wake(self) -> None:
        self.wakes += 1

    def live(
        self, fleet: tuple[Node, ...], seconds: float, busy: frozenset[str] = IDLE
    ) -> list[float]:
        """Tick whenever the sweeper says so. Returns the seconds at which it did."""
        began = self.clock.now
        end = began + timedelta(seconds=seconds)
        ticks = []
        while self.clock.now <= end:
            ticks.append((self.clock.now - began).total_seconds())
            self.sweeper.tick(fleet, busy)
            due = self.sweeper.next_due_at()
            assert due is not None
            assert due > self.clock.now, "a tick that is wanted at once again would spin"
            self.clock.now = due
        self.clock.now = end
        return ticks


def test_every_node_is_asked_at_once_and_then_in_its_own_turn(fleet: Fleet, clock: Clock) -> None:
    bench = Bench(fleet, clock)
    bench.sweeper.tick(nodes(100), IDLE)
    assert len(fleet.asked) == 100
    assert set(bench.sweeper.snapshot().nodes) == {each.metadata.name for each in nodes(100)}
    ticks = bench.live(nodes(100), 15)
    assert len(ticks) > 10, "the second round is spread over the interval"
    assert all(2 <= count <= 3 for count in fleet.count().values())


def test_an_hour_of_polling_keeps_every_node_fresh(fleet: Fleet, clock: Clock) -> None:
    bench = Bench(fleet, clock)
    for _ in range(60):
        bench.live(nodes(20), 60)
        for seen in bench.sweeper.snapshot().nodes.values():
            assert seen.age_s(clock.now) <= SETTINGS.interval_s + SETTINGS.tick_gap_s
    assert max(fleet.count().values()) <= 3_600 / (SETTINGS.interval_s * 0.9) + 2


def test_a_node_with_an_operation_is_asked_every_second(fleet: Fleet, clock: Clock) -> None:
    bench = Bench(fleet, clock)
    bench.live(nodes(3), 60, frozenset({"n00002"}))
    assert 55 <= fleet.count()["n00002"] <= 62
    assert fleet.count()["n00001"] <= 6


def test_a_node_that_becomes_busy_does_not_wait_for_its_interval(
    fleet: Fleet, clock: Clock
) -> None:
    bench = Bench(fleet, clock)
    bench.live(nodes(1), 40)
    asked = len(fleet.asked)
    clock.forward(1)
    bench.sweeper.tick(nodes(1), frozenset({"n00001"}))
    assert len(fleet.asked) == asked + 1


def test_an_observation_is_as_old_as_its_asking(clock: Clock) -> None:
    class Slow:
        def observe(self, node: Node, timeout_s: float) -> Reading:
            clock.forward(6)
            return ON

    bench = Bench(Slow(), clock)  # type: ignore[arg-type]
    began = clock.now
    bench.sweeper.tick(nodes(1), IDLE)
    assert bench.sweeper.snapshot().nodes["n00001"].at == began


def test_a_failing_node_backs_off_and_says_when_it_is_asked_again(
    fleet: Fleet, clock: Clock
) -> None:
    fleet.answers["n00001"] = TemporaryError("no answer")
    bench = Bench(fleet, clock)
    gaps = []
    for failures in range(1, 12):
        bench.sweeper.tick(nodes(1), IDLE)
        seen = bench.sweeper.snapshot().nodes["n00001"]
        assert (seen.failures, seen.power) == (failures, Power.UNKNOWN)
        assert seen.error == ObservationError(kind=ErrorKind.TEMPORARY, message="no answer")
        assert seen.next_attempt_at is not None
        gaps.append((seen.next_attempt_at - clock.now).total_seconds())
        clock.now = seen.next_attempt_at - timedelta(microseconds=1)
        bench.sweeper.tick(nodes(1), IDLE)
        assert len(fleet.asked) == failures, "it was asked before its time"
        clock.forward(1)
    assert all(SETTINGS.backoff_min_s <= gap <= SETTINGS.backoff_max_s for gap in gaps)
    assert gaps[0] <= 10
    assert max(gaps) > 100
    fleet.answers.clear()
    bench.sweeper.tick(nodes(1), IDLE)
    seen = bench.sweeper.snapshot().nodes["n00001"]
    assert (seen.failures, seen.error, seen.next_attempt_at) == (0, None, None)


def test_an_old_reading_is_never_carried_along_with_an_error(fleet: Fleet, clock: Clock) -> None:
    bench = Bench(fleet, clock)
    fleet.answers["n00001"] = ON
    bench.sweeper.tick(nodes(1), IDLE)
    fleet.answers["n00001"] = TemporaryError("no answer")
    clock.forward(20)
    bench.sweeper.tick(nodes(1), IDLE)
    assert bench.sweeper.snapshot().nodes["n00001"].reading is None


def test_an_operation_does_not_wait_for_a_long_backoff(fleet: Fleet, clock: Clock) -> None:
    fleet.answers["n00001"] = TemporaryError("the BMC restarts")
    bench = Bench(fleet, clock)
    bench.live(nodes(1), 3_600)
    before = len(fleet.asked)
    bench.live(nodes(1), 150, frozenset({"n00001"}))
    assert len(fleet.asked) - before >= 9


def test_refused_credentials_are_tried_once_per_pause_even_for_an_operation(
    fleet: Fleet, clock: Clock
) -> None:
    fleet.answers["n00001"] = CredentialsError("refused")
    bench = Bench(fleet, clock, credentials_version=lambda _node: "v1")
    bench.live(nodes(1), 299, frozenset({"n00001"}))
    assert len(fleet.asked) == 1
    bench.live(nodes(1), 902, IDLE)
    assert len(fleet.asked) == 5


def test_new_credentials_are_tried_at_once_and_once(fleet: Fleet, clock: Clock) -> None:
    fleet.answers.update(
        n00001=CredentialsError("refused"), n00002=SettingsError("no secret bmc/all")
    )
    version = ["v1"]
    bench = Bench(fleet, clock, credentials_version=lambda _node: version[0])
    bench.sweeper.tick(nodes(2), IDLE)
    clock.forward(1)
    bench.sweeper.tick(nodes(2), IDLE)
    assert len(fleet.asked) == 2
    version[0] = "v2"
    bench.sweeper.tick(nodes(2), IDLE)
    assert sorted(fleet.asked[2:]) == ["n00001", "n00002"]
    clock.forward(1)
    bench.sweeper.tick(nodes(2), IDLE)
    assert len(fleet.asked) == 4


def test_new_credentials_are_not_lost_while_a_node_waits_for_room(
    fleet: Fleet, clock: Clock
) -> None:
    version = ["v1"]
    executor = HeldExecutor()
    settings = SweepSettings(in_flight_max=1)
    bench = Bench(fleet, clock, executor, settings, credentials_version=lambda _node: version[0])
    fleet.answers["n00001"] = CredentialsError("refused")
    bench.sweeper.tick(nodes(2), IDLE)
    executor.release()  # n00001 is refused, n00002 is being asked
    version[0] = "v2"
    for _ in range(3):
        clock.forward(1)
        bench.sweeper.tick(nodes(2), IDLE)
    executor.release()
    executor.release()
    assert fleet.asked == ["n00001", "n00002", "n00001"]


def test_a_secret_that_cannot_be_read_does_not_end_the_sweep(fleet: Fleet, clock: Clock) -> None:
    def version(_node: Node) -> str:
        raise SettingsError("no secret bmc/all")

    fleet.answers["n00001"] = CredentialsError("refused")
    bench = Bench(fleet, clock, credentials_version=version)
    bench.live(nodes(2), 60)
    assert fleet.count()["n00001"] == 1
    assert fleet.count()["n00002"] >= 4


@pytest.mark.parametrize(
    "surprise", [ValueError("hunter2"), KeyError("x"), RecursionError(), SystemExit(1)]
)
def test_a_mistake_in_a_driver_is_one_nodes_trouble(
    fleet: Fleet, clock: Clock, surprise: BaseException
) -> None:
    fleet.answers["n00001"] = surprise
    bench = Bench(fleet, clock)
    bench.sweeper.tick(nodes(3), IDLE)
    seen = bench.sweeper.snapshot().nodes
    error = seen["n00001"].error
    assert error is not None
    assert error.kind is ErrorKind.PERMANENT
    assert type(surprise).__name__ in error.message
    assert "hunter2" not in error.message
    assert seen["n00002"].reading == seen["n00003"].reading == OFF


def test_a_node_of_a_driver_that_is_not_set_up_says_so(clock: Clock) -> None:
    sweeper = Sweeper({}, clock, SerialExecutor(), SETTINGS, lambda: None)
    sweeper.tick(nodes(1), IDLE)
    error = sweeper.snapshot().nodes["n00001"].error
    assert error is not None
    assert error.message == "no driver 'fake' is set up here"


def test_a_node_that_left_git_is_dropped_and_its_late_answer_too(
    fleet: Fleet, clock: Clock
) -> None:
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor)
    bench.sweeper.tick(nodes(2), IDLE)
    executor.release()
    assert set(bench.sweeper.snapshot().nodes) == {"n00001"}
    bench.sweeper.tick((), IDLE)
    assert bench.sweeper.snapshot() == Observed()
    executor.release()
    assert bench.sweeper.snapshot() == Observed()


def test_what_the_old_bmc_says_is_not_about_the_new_one(fleet: Fleet, clock: Clock) -> None:
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor)
    old, new = node("n1", address="192.0.2.1"), node("n1", address="192.0.2.2")
    bench.sweeper.tick((old,), IDLE)
    executor.release()
    clock.forward(20)
    bench.sweeper.tick((old,), IDLE)
    bench.sweeper.tick((new,), IDLE)
    assert bench.sweeper.snapshot() == Observed()
    assert len(executor.held) == 1, "one node is never asked twice at once"
    executor.release()
    assert bench.sweeper.snapshot() == Observed(), "the old BMC's answer came after the change"
    bench.sweeper.tick((new,), IDLE)
    executor.release()
    assert set(bench.sweeper.snapshot().nodes) == {"n1"}


def test_what_was_asked_by_another_annotation_is_not_about_this_one(
    fleet: Fleet, clock: Clock
) -> None:
    """A driver of somebody's own finds its machine by an annotation (docs/drivers.md)."""
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor)
    boards = [
        replace(
            node("n1"), metadata=Metadata(name="n1", annotations={"boards.example.net/n": number})
        )
        for number in "35"
    ]
    bench.sweeper.tick(boards[:1], IDLE)
    executor.release()
    assert set(bench.sweeper.snapshot().nodes) == {"n1"}
    bench.sweeper.tick(boards[1:], IDLE)
    assert bench.sweeper.snapshot() == Observed()


def test_another_label_does_not_make_another_machine(fleet: Fleet, clock: Clock) -> None:
    bench = Bench(fleet, clock)
    bench.sweeper.tick(nodes(1), IDLE)
    before = bench.sweeper.snapshot()
    bench.sweeper.tick(nodes(1), IDLE)  # equal documents of a newer revision
    assert bench.sweeper.snapshot() is before
    assert len(fleet.asked) == 1


def test_forget_discards_the_answer_under_way_and_asks_anew(fleet: Fleet, clock: Clock) -> None:
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor)
    bench.sweeper.tick(nodes(1), IDLE)
    bench.sweeper.forget("n00001")
    bench.sweeper.tick(nodes(1), IDLE)
    assert len(executor.held) == 1
    executor.release()
    assert bench.sweeper.snapshot() == Observed()
    assert bench.wakes == 1, "somebody has to tick for the second asking"
    began = clock.forward(3)
    bench.sweeper.tick(nodes(1), IDLE)
    executor.release()
    assert bench.sweeper.snapshot().nodes["n00001"].at == began


def test_answers_may_come_in_any_order(fleet: Fleet, clock: Clock) -> None:
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=3))
    bench.sweeper.tick(nodes(5), IDLE)
    dice = random.Random(3)
    while executor.held:
        executor.release(dice.randrange(len(executor.held)))
        clock.forward(0.1)
    assert len(bench.sweeper.snapshot().nodes) == 5
    assert executor.most == 3
    assert len(fleet.asked) == 5


def test_a_clock_that_is_set_back_does_not_stop_the_sweep(fleet: Fleet, clock: Clock) -> None:
    bench = Bench(fleet, clock)
    bench.sweeper.tick(nodes(1), IDLE)
    clock.forward(-7_200)
    fleet.answers["n00001"] = ON
    bench.sweeper.tick(nodes(1), IDLE)
    seen = bench.sweeper.snapshot().nodes["n00001"]
    assert (seen.power, seen.at) == (Power.ON, clock.now)


def live_with_latency(
    bench: Bench,
    executor: TimedExecutor,
    fleet: tuple[Node, ...],
    seconds: float,
    busy: frozenset[str] = IDLE,
) -> None:
    """As `Bench.live`, with answers that take their time."""
    clock, end = bench.clock, bench.clock.now + timedelta(seconds=seconds)
    bench.sweeper.tick(fleet, busy)
    while True:
        due, finished = bench.sweeper.next_due_at(), executor.next_end()
        clock.now = max(clock.now, min(at for at in (due, finished) if at is not None))
        if clock.now > end:
            clock.now = end
            return
        executor.finish()
        if due is not None and due <= clock.now:
            bench.sweeper.tick(fleet, busy)


def test_dead_bmcs_never_starve_the_others(fleet: Fleet, clock: Clock) -> None:
    """Half of 300 are dead: asked as often as their pauses allow, they would fill a room of 8."""
    dead = {each.metadata.name for each in nodes(150)}
    fleet.answers.update({name: TemporaryError("no answer") for name in dead})
    executor = TimedExecutor(clock, lambda name: 8.0 if name in dead else 0.02)
    bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=8))
    live_with_latency(bench, executor, nodes(300), 180)  # the first round
    for _ in range(40):
        live_with_latency(bench, executor, nodes(300), 20)
        for name, seen in bench.sweeper.snapshot().nodes.items():
            if name not in dead:
                assert seen.age_s(clock.now) <= SETTINGS.interval_s + 2, name
    assert executor.most == 8
    assert min(fleet.count()[name] for name in dead) >= 2, "dead nodes are asked too"


def test_slow_operations_leave_room_for_the_fleet(fleet: Fleet, clock: Clock) -> None:
    """A hundred busy nodes answer after six seconds: more than the whole room could hold."""
    busy = frozenset(each.metadata.name for each in nodes(100))
    executor = TimedExecutor(clock, lambda name: 6.0 if name in busy else 0.02)
    bench = Bench(fleet, clock, executor)
    live_with_latency(bench, executor, nodes(400), 120, busy)
    assert len(bench.sweeper.snapshot().nodes) == 400
    for name, seen in bench.sweeper.snapshot().nodes.items():
        limit_s = 45 if name in busy else SETTINGS.interval_s + 2
        assert seen.age_s(clock.now) <= limit_s, name


@given(seed=st.integers(0, 2**32), room=st.integers(4, 12), sick=st.sets(st.integers(1, 20)))
@settings(max_examples=60, deadline=None)
def test_whatever_the_latencies_the_room_is_kept_and_nobody_is_forgotten(
    seed: int, room: int, sick: set[int]
) -> None:
    clock, fleet, dice = Clock(), Fleet(), random.Random(seed)
    names = {f"n{number:05}" for number in sick}
    fleet.answers.update({name: TemporaryError("no answer") for name in names})
    executor = TimedExecutor(
        clock, lambda name: 8.0 if name in names else dice.choice([0.0, 0.02, 1.0])
    )
    bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=room))
    live_with_latency(bench, executor, nodes(20), 400, frozenset({"n00001", "n00020"}))
    assert executor.most <= room
    for name, count in fleet.count().items():
        assert count >= (2 if name in names else 20), name


def test_the_executor_may_be_shut_down_at_any_time(fleet: Fleet, clock: Clock) -> None:
    with ThreadPoolExecutor(2) as executor:
        bench = Bench(fleet, clock, executor)
        bench.sweeper.tick(nodes(10), IDLE)
    known = len(bench.sweeper.snapshot().nodes)
    clock.forward(60)
    bench.sweeper.tick(nodes(20), IDLE)
    assert len(bench.sweeper.snapshot().nodes) == known
    assert bench.sweeper.run(nodes(3), 5.0).nodes.keys() >= {"n00001", "n00002", "n00003"}


def test_work_that_the_executor_cancels_gives_its_room_back(fleet: Fleet, clock: Clock) -> None:
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=2))
    bench.sweeper.tick(nodes(4), IDLE)
    for future, _work in list(executor.held):
        assert future.cancel()
    executor.held = executor.held[2:]
    while executor.held:
        executor.release()
    assert bench.sweeper.snapshot().nodes.keys() == {"n00003", "n00004"}
    bench.sweeper.tick(nodes(4), IDLE)
    while executor.held:
        executor.release()
    assert len(bench.sweeper.snapshot().nodes) == 4


def test_a_hundred_answers_wake_once_until_somebody_looks(fleet: Fleet, clock: Clock) -> None:
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=200))
    bench.sweeper.tick(nodes(100), IDLE)
    for _ in range(50):
        executor.release()
    assert bench.wakes == 1
    bench.sweeper.snapshot()
    for _ in range(50):
        executor.release()
    assert bench.wakes == 2


def test_only_news_wakes_and_an_operation_always_does(fleet: Fleet, clock: Clock) -> None:
    bench = Bench(fleet, clock)
    bench.sweeper.tick(nodes(1), IDLE)

    def wakes(busy: frozenset[str] = IDLE) -> bool:
        bench.sweeper.snapshot()
        before = bench.wakes
        clock.forward(400)
        bench.sweeper.tick(nodes(1), busy)
        return bench.wakes > before

    assert not wakes(), "the same again"
    assert wakes(frozenset({"n00001"}))
    fleet.answers["n00001"] = ON
    assert wakes()
    assert not wakes()
    fleet.answers["n00001"] = TemporaryError("no answer")
    assert wakes()
    fleet.answers["n00001"] = TemporaryError("still no answer")
    assert not wakes()
    fleet.answers["n00001"] = PermanentError("garbage")
    assert wakes()
    fleet.answers["n00001"] = ON
    assert wakes()


def test_a_snapshot_is_one_value_until_something_is_answered(fleet: Fleet, clock: Clock) -> None:
    bench = Bench(fleet, clock)
    bench.sweeper.tick(nodes(3), IDLE)
    first = bench.sweeper.snapshot()
    assert bench.sweeper.snapshot() is first
    clock.forward(20)
    bench.sweeper.tick(nodes(3), IDLE)
    assert bench.sweeper.snapshot() is not first
    assert len(first.nodes) == 3
    with pytest.raises(TypeError):
        first.nodes["n00009"] = first.nodes["n00001"]  # type: ignore[index]


def observation(name: str, clock: Clock, **more: Any) -> Observation:
    return Observation(node=name, at=clock.now - timedelta(hours=1), **more)


def test_what_an_earlier_process_saw_is_known_and_asked_again(fleet: Fleet, clock: Clock) -> None:
    old = observation("n00001", clock, reading=OFF)
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor)
    bench.sweeper.preload(Observed(nodes={"n00001": old, "gone": old}))
    bench.sweeper.tick(nodes(1), IDLE)
    assert bench.sweeper.snapshot().nodes == {"n00001": old}
    executor.release()
    assert bench.sweeper.snapshot().nodes["n00001"].at == clock.now
    assert bench.wakes == 1, "the same as an hour ago, but now it may be acted on"


def test_a_restart_does_not_present_refused_credentials_again(fleet: Fleet, clock: Clock) -> None:
    error = ObservationError(kind=ErrorKind.CREDENTIALS, message="refused")
    fleet.answers["n00001"] = CredentialsError("refused")
    version = ["v1"]
    for later_s in (100, 10_000_000):
        bench = Bench(fleet, clock, credentials_version=lambda _node: version[0])
        known = observation(
            "n00001",
            clock,
            error=error,
            failures=1,
            next_attempt_at=clock.now + timedelta(seconds=later_s),
        )
        bench.sweeper.preload(Observed(nodes={"n00001": known}))
        fleet.asked.clear()
        assert bench.sweeper.run(nodes(1), 1.0).nodes == {"n00001": known}
        bench.live(nodes(1), 99)
        assert fleet.asked == []
        bench.live(nodes(1), 202)
        assert len(fleet.asked) == 1, "a time far ahead, of a clock that was wrong, is not believed"


def test_nothing_is_asked_after_close(fleet: Fleet, clock: Clock) -> None:
    executor = HeldExecutor()
    bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=2))
    bench.sweeper.tick(nodes(5), IDLE)
    bench.sweeper.close()
    while executor.held:
        executor.release()
    bench.sweeper.tick(nodes(5), IDLE)
    assert len(fleet.asked) == 2
    assert bench.sweeper.next_due_at() is None
    assert bench.wakes == 0


class TestRun:
    def test_each_node_is_asked_once_and_waited_for(self, fleet: Fleet, clock: Clock) -> None:
        fleet.answers["n00002"] = TemporaryError("no answer")
        with ThreadPoolExecutor(3) as executor:
            bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=3))
            seen = bench.sweeper.run(nodes(200), 30.0).nodes
        assert set(fleet.count().values()) == {1}
        assert len(seen) == 200
        assert seen["n00001"].reading == OFF
        assert seen["n00002"].error is not None

    def test_a_room_of_one_is_enough(self, fleet: Fleet, clock: Clock) -> None:
        with ThreadPoolExecutor(1) as executor:
            bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=1))
            seen = bench.sweeper.run(nodes(500), 30.0).nodes
        assert all(each.reading == OFF for each in seen.values())

    def test_who_is_not_done_by_the_deadline_timed_out(self, fleet: Fleet, clock: Clock) -> None:
        released = threading.Event()

        def hang() -> Reading:
            assert released.wait(30)
            return ON

        fleet.answers["n00001"] = hang
        with ThreadPoolExecutor(1) as executor:
            bench = Bench(fleet, clock, executor, SweepSettings(in_flight_max=1))
            seen = bench.sweeper.run(nodes(3), 0.2).nodes
            released.set()
        for each in seen.values():
            assert each.error is not None
            assert each.error.kind is ErrorKind.TIMEOUT
            assert each.at == clock.now
        assert fleet.asked == ["n00001"], "nobody is asked after the deadline"
        assert fleet.timeouts_s[0] <= 0.2
        late = bench.sweeper.snapshot().nodes["n00001"]
        assert late.power is Power.ON, "a late answer is still better than none"

    def test_no_nodes_is_no_wait(self, fleet: Fleet, clock: Clock) -> None:
        assert Bench(fleet, clock).sweeper.run((), 5.0) == Observed()


def test_ten_thousand_nodes_are_asked_by_a_bounded_number_of_threads(clock: Clock) -> None:
    gate, most, under_way, lock = [0], [0], [0], threading.Lock()

    class Counting:
        def observe(self, node: Node, timeout_s: float) -> Reading:
            with lock:
                gate[0] += 1
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            with lock:
                under_way[0] -= 1
            return OFF

    done = threading.Event()
    with ThreadPoolExecutor(32) as executor:
        bench = Bench(Counting(), clock, executor)  # type: ignore[arg-type]
        fleet = nodes(10_000)
        bench.sweeper.tick(fleet, IDLE)
        for _ in range(600):
            if len(bench.sweeper.snapshot().nodes) == 10_000:
                break
            done.wait(0.05)
    assert gate[0] == len(bench.sweeper.snapshot().nodes) == 10_000
    assert most[0] <= 32
    assert bench.wakes < 1_000


def test_many_threads_may_hold_one_sweeper(clock: Clock) -> None:
    """Ticks, looks and forgetting from several threads at once: no answer is lost, none doubled."""
    lock, under_way, doubled = threading.Lock(), set(), []

    class Strict:
        def observe(self, node: Node, timeout_s: float) -> Reading:
            with lock:
                if node.metadata.name in under_way:
                    doubled.append(node.metadata.name)
                under_way.add(node.metadata.name)
            with lock:
                under_way.discard(node.metadata.name)
            return OFF

    fleet = nodes(200)
    with ThreadPoolExecutor(4) as executor, ThreadPoolExecutor(3) as callers:
        bench = Bench(Strict(), clock, executor)  # type: ignore[arg-type]

        def tick() -> None:
            for _ in range(100):
                bench.sweeper.tick(fleet, IDLE)
                bench.sweeper.forget("n00007")
                bench.sweeper.snapshot()
                bench.sweeper.next_due_at()

        for each in [callers.submit(tick) for _ in range(3)]:
            each.result()
        bench.sweeper.tick(fleet, IDLE)
        waiting = threading.Event()
        for _ in range(200):
            if len(bench.sweeper.snapshot().nodes) == 200:
                break
            waiting.wait(0.05)
            bench.sweeper.tick(fleet, IDLE)
    assert len(bench.sweeper.snapshot().nodes) == 200
    assert doubled == []


def test_the_same_seed_and_answers_give_the_same_sweep() -> None:
    def story() -> tuple[list[str], Observed]:
        clock, fleet = Clock(), Fleet()
        fleet.answers["n00003"] = TemporaryError("no answer")
        bench = Bench(fleet, clock)
        bench.live(nodes(20), 600, frozenset({"n00004"}))
        return fleet.asked, bench.sweeper.snapshot()

    assert story() == story()
