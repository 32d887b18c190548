"""The bound on waiting is kept, second by second: any slots, holds up to the longest, retries."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.execute.bound import LATE_S, admitted_by, attempt_s, hold_s
from metalwright.model.admission import Queue
from metalwright.model.frozen import FrozenDict
from metalwright.model.operation import Stage
from metalwright.model.policy import Ageing, FleetLimits, PolicySpec, StageTimeouts, StartRate
from metalwright.model.template import Method, Timeouts
from metalwright.model.waiting import Answer, Room, Waiting, claimants

from .execute_rig import RULES, a_node, a_target, an_inventory

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
AGEING = Ageing(interval=10, step=500)
STEP = timedelta(seconds=1)


class Steps:
    """A fleet of slots in which a second passes at a time."""

    def __init__(self, seed: int, limits: dict[str, int], hold: int, single: bool) -> None:
        self.random = random.Random(seed)
        self.limits, self.hold, self.single = limits, hold, single
        self.now = NOW
        self.queue = Queue()
        self.running: list[tuple[datetime, Waiting]] = []
        self.by: dict[str, datetime] = {}
        self.number = 0
        self.most: Counter[str] = Counter()

    def arrive(self, retry: bool = False, scopes: tuple[str, ...] | None = None) -> None:
        self.number += 1
        others = [scope for scope in self.limits if scope not in ("fleet", "lane/retry")]
        if scopes is None:
            some = 1 if self.single else self.random.randint(0, 3)
            scopes = tuple(self.random.sample(others, some))
        waiting = Waiting(
            key=str(self.number),
            node=f"n{self.number}",
            pool=self.random.choice("ab"),
            priority=self.random.choice((0, 500, 1_000)),
            since=self.now + STEP * (self.random.randint(0, 9) if retry else 0),
            scopes=("fleet", *sorted(scopes), *(("lane/retry",) if retry else ())),
            retry=retry,
        )
        self.queue.add(waiting)

    def held(self) -> Counter[str]:
        return Counter(scope for _, each in self.running for scope in each.scopes)

    def hold_s(self) -> int:
        """Often as long as can be: that is the worst."""
        return self.hold if self.random.random() < 0.5 else self.random.randint(1, self.hold)

    def promise(self) -> None:
        """Note the bound of each, as it is told when it begins to wait: after its back-off."""
        fresh = [each for each in self.queue if each.since <= self.now and each.key not in self.by]
        if fresh:
            hold = timedelta(seconds=self.hold)
            found = admitted_by(self.queue, self.limits, AGEING, self.now, hold)
            self.by |= {each.key: found[each.key] for each in fresh}

    def step(self) -> None:
        over = [each for until, each in self.running if until <= self.now]
        self.running = [each for each in self.running if each[0] > self.now]
        for _ in over:
            if self.random.random() < 0.2:
                self.arrive(retry=True)
        self.promise()

        def grant(each: Waiting) -> Answer:
            assert self.now <= self.by[each.key], (self.now - NOW, each)
            self.running.append((self.now + timedelta(seconds=self.hold_s()), each))
            return Answer.GRANTED

        room = Room(limits=self.limits, held=self.held())
        self.queue.admit(room, AGEING, self.now, grant)
        for scope, count in self.held().items():
            assert count <= self.limits[scope], scope
        self.most |= self.held()
        self.now += STEP


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.tuples(*[st.integers(1, 3)] * 4),
    st.integers(1, 12),
    st.booleans(),
)
def test_everything_that_waits_is_admitted_within_its_bound(
    seed: int, fleet: int, narrow: tuple[int, ...], hold: int, single: bool
) -> None:
    limits = {"fleet": fleet, "lane/retry": 1}
    limits |= dict(zip(("rack/a", "rack/b", "pdu", "pool"), narrow, strict=True))
    steps = Steps(seed, limits, hold, single)
    for _ in range(120):
        for _ in range(steps.random.choice((0, 0, 0, 1, 4))):
            steps.arrive()
        steps.step()
    for _ in range(4_000):  # no more arrive, but for what fails: nothing is left waiting for ever
        if not len(steps.queue):
            break
        steps.step()
    assert not len(steps.queue)
    assert steps.most["lane/retry"] <= 1


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_is_kept_where_several_claim_at_a_time(seed: int) -> None:
    limits = {"fleet": 300, "lane/retry": 9, "rack/a": 3, "rack/b": 4, "pdu": 5, "pool": 290}
    assert claimants(limits) == 3
    steps = Steps(seed, limits, hold=12, single=False)
    for _ in range(40):
        for _ in range(steps.random.randint(0, 3)):
            steps.arrive()
        for _ in range(60):
            steps.arrive(scopes=())
        steps.step()
    while len(steps.queue):
        steps.step()
    assert steps.most["fleet"] == 300


def waiting(number: int, *scopes: str, priority: int = 500) -> Waiting:
    return Waiting(
        key=str(number),
        node=f"n{number}",
        pool="ci",
        priority=priority,
        since=NOW,
        scopes=("fleet", *scopes),
    )


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("count", "scopes", "limits", "hours"),
    [
        (1, (), {"fleet": 1}, 1),  # the last: one hold
        (5, (), {"fleet": 1}, 5),
        (9, (), {"fleet": 4}, 3),  # one hold, and as many as eight others take four at a time
        (8, ("rack",), {"fleet": 4, "rack": 1}, 8),
        (9, ("rack",), {"fleet": 400, "rack": 3}, 3),  # three claim at a time
        (40, ("rack",), {"fleet": 100, "rack": 3}, 40),
        (6, ("rack", "pdu"), {"fleet": 300, "rack": 3, "pdu": 9}, 2),
    ],
)
def test_the_bound_of_the_last_in_line(
    count: int, scopes: tuple[str, ...], limits: dict[str, int], hours: int
) -> None:
    line = [waiting(number, *scopes) for number in range(count)]
    found = admitted_by(line, limits, Ageing(), NOW, HOUR)
    assert found[str(count - 1)] == NOW + timedelta(minutes=100) + hours * HOUR


def test_a_whole_fleet_behind_limits_per_rack_is_bounded_by_lines() -> None:
    limits = {"fleet": 100} | {f"rack{rack}": 4 for rack in range(100)}
    line = [waiting(number, f"rack{number % 100}") for number in range(2_001)]
    found = admitted_by(line, limits, Ageing(), NOW, HOUR)
    # Its rack: one hold, nineteen others four at a time, and twenty times behind them in the fleet.
    assert found["2000"] == NOW + timedelta(minutes=100) + HOUR * (1 + 20 / 4 + 21 + 2_000 / 100)
    crossing = [*line, waiting(2_001, "rack0", "rack1")]
    assert admitted_by(crossing, limits, Ageing(), NOW, HOUR)["2000"] > found["2000"]


def test_an_elder_that_ages_slowly_counts_from_when_it_is_overdue() -> None:
    line = [waiting(1, priority=0), waiting(2, priority=950)]
    found = admitted_by(line, {"fleet": 1}, Ageing(), NOW, HOUR)
    assert found["2"] == NOW + timedelta(minutes=200) + 2 * HOUR
    assert found["1"] == NOW + timedelta(minutes=200) + HOUR


def test_what_is_overdue_already_counts_from_now() -> None:
    found = admitted_by([waiting(1)], {"fleet": 1}, Ageing(), NOW + 5 * HOUR, HOUR)
    assert found == {"1": NOW + 6 * HOUR}


def test_one_attempt_is_bounded_by_its_deadlines() -> None:
    timeouts = StageTimeouts(
        soft_power_off=100, power_off=20, wipe=1_000, boot=300, install=2_000, validate=400
    )
    assert attempt_s((Stage.POWER_OFF,), timeouts) == 360 + LATE_S
    assert attempt_s(tuple(Stage), timeouts) == 4_060 + 5 * LATE_S


def test_a_slot_is_held_no_longer_than_the_longest_attempt_and_its_probe() -> None:
    bare = an_inventory([a_node("n1")])
    boots_s = 3 * (120 + 60) + 600 + 2 * LATE_S + 120
    assert hold_s(bare, ()) == boots_s
    netboot, disk = a_target().template, a_target(method=Method.DISK).template
    assert netboot is not None
    assert disk is not None
    assert hold_s(replace(bare, resolved=FrozenDict(x=netboot)), ()) == boots_s
    assert hold_s(replace(bare, resolved=FrozenDict(x=disk)), ()) == boots_s + 1_800 + LATE_S
    slow = replace(netboot, timeouts=Timeouts(boot=6_000))
    assert hold_s(replace(bare, resolved=FrozenDict(x=slow)), ()) == boots_s + 5_400


def test_waiting_for_start_tokens_counts_into_a_hold() -> None:
    limits = FleetLimits(fleet=4, labels={"rack": 2})
    rates = (StartRate(starts=1, per=30), StartRate(label="rack", starts=2, per=60))
    rules = replace(RULES, limits=limits, start_rates=rates)
    node = a_node("n1")
    without = hold_s(an_inventory([node], replace(rules, start_rates=())), ())
    assert hold_s(an_inventory([node], rules), ()) == without + 4 * 30 + 2 * 30
    assert PolicySpec().start_rates == ()
