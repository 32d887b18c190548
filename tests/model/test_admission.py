"""The order of admission: a table of cases, and properties against the plain definition of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalwright.model.admission import Queue
from metalwright.model.natural import natural
from metalwright.model.policy import Ageing
from metalwright.model.waiting import (
    Answer,
    Room,
    Waiting,
    claimants,
    effective_priority,
    narrow_first,
    overdue_after,
)

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
AGEING = Ageing(interval=600, step=50)


def waits(
    node: str,
    *scopes: str,
    pool: str = "ci",
    priority: int = 500,
    waited_s: float = 0,
    retry: bool = False,
) -> Waiting:
    return Waiting(
        key=f"op-{node}",
        node=node,
        pool=pool,
        priority=priority,
        since=NOW - timedelta(seconds=waited_s),
        scopes=("fleet", *scopes),
        retry=retry,
    )


def granted(
    waiting: Iterable[Waiting],
    limits: dict[str, int],
    held: dict[str, int] | None = None,
    pool_held: dict[str, int] | None = None,
    weights: dict[str, int] | None = None,
) -> list[str]:
    """The nodes that one pass grants slots to, in order."""
    room = Room(limits=limits, held=held or {}, pool_held=pool_held or {}, weights=weights or {})
    found = Queue(waiting).admit(room, AGEING, NOW, lambda _: Answer.GRANTED)
    return [each.node for each in found]


def test_the_higher_priority_comes_first_then_the_longest_wait_then_the_name() -> None:
    queue = [
        waits("n10"),
        waits("n9"),
        waits("n3", waited_s=30),
        waits("n2", priority=700),
    ]
    assert granted(queue, {"fleet": 9}) == ["n2", "n3", "n9", "n10"]


@pytest.mark.parametrize(
    ("priority", "waited_s", "effective"),
    [
        (500, 0, 500),
        (500, 599, 500),
        (500, 600, 550),
        (500, 6_000, 1_000),
        (500, 60_000, 1_000),
        (990, 600, 1_000),
        (0, -50, 0),
    ],
)
def test_waiting_raises_the_priority_by_steps(
    priority: int, waited_s: float, effective: int
) -> None:
    waiting = waits("n1", priority=priority, waited_s=waited_s)
    assert effective_priority(waiting, AGEING, NOW) == effective


@pytest.mark.parametrize(
    ("priority", "minutes"), [(0, 200), (500, 100), (501, 100), (950, 10), (1_000, 10)]
)
def test_every_priority_is_overdue_some_time(priority: int, minutes: int) -> None:
    assert overdue_after(priority, AGEING) == timedelta(minutes=minutes)


def test_one_that_has_waited_comes_before_a_younger_one_of_higher_priority() -> None:
    queue = [waits("old", waited_s=1_800), waits("new", priority=640)]
    assert granted(queue, {"fleet": 1}) == ["old"]


def test_an_overdue_one_comes_before_the_highest_priority() -> None:
    queue = [waits("old", priority=0, waited_s=12_000), waits("new", priority=1_000)]
    assert granted(queue, {"fleet": 1}) == ["old"]


def test_what_does_not_fit_is_passed_over() -> None:
    queue = [waits("n1", "rack", priority=900), waits("n2", priority=100)]
    assert granted(queue, {"fleet": 2, "rack": 1}, {"fleet": 1, "rack": 1}) == ["n2"]


def test_a_retry_does_not_stand_before_first_attempts_of_its_priority() -> None:
    queue = [waits("n1", "lane/retry", waited_s=500, retry=True), waits("n2")]
    limits = {"fleet": 9, "lane/retry": 1}
    assert granted(queue, limits) == ["n2", "n1"]
    assert granted(queue, limits, {"lane/retry": 1}) == ["n2"]


def test_before_its_back_off_has_passed_a_retry_gets_nothing() -> None:
    queue = [waits("n1", waited_s=-1, retry=True)]
    assert granted(queue, {"fleet": 9}) == []


def test_pools_share_by_their_weight() -> None:
    queue = [waits(f"a{number}", pool="a", waited_s=9) for number in range(9)]
    queue += [waits(f"b{number}", pool="b") for number in range(9)]
    order = granted(queue, {"fleet": 8}, weights={"b": 3})
    assert order == ["b0", "b1", "a0", "b2", "b3", "b4", "a1", "b5"]


def test_what_a_pool_holds_already_counts() -> None:
    queue = [waits("a0", pool="a", waited_s=9), waits("b0", pool="b")]
    assert granted(queue, {"fleet": 4}, {"fleet": 3}, {"a": 2, "b": 1}) == ["b0"]


def test_an_overdue_one_claims_what_it_cannot_have_yet() -> None:
    old = waits("old", "pdu", "rack", waited_s=6_000)
    young = waits("young", "pdu", priority=1_000)
    limits = {"fleet": 100, "pdu": 1, "rack": 1}
    assert granted([old, young], limits, {"fleet": 1, "rack": 1}) == []
    assert granted([waits("old", "pdu", "rack"), young], limits, {"fleet": 1, "rack": 1}) == [
        "young"
    ]


def test_only_the_oldest_claim_what_is_wide_while_they_wait_for_what_is_narrow() -> None:
    crowd = [waits(f"n{number}", "pool", "rack", waited_s=6_000) for number in range(40)]
    others = [waits(f"o{number}", "pool") for number in range(40)]
    limits = {"fleet": 100, "pool": 20, "rack": 2}
    assert len(granted(crowd + others, limits, {"fleet": 2, "rack": 2, "pool": 2})) == 17


def test_an_overdue_one_that_waits_for_what_is_wide_claims_what_is_narrow() -> None:
    oldest = waits("oldest", "rack", waited_s=7_000)  # the one that claims in every scope
    old = waits("old", "pdu", "rack", waited_s=6_000)
    young = waits("young", "pdu", priority=1_000)
    limits, held = {"fleet": 100, "pdu": 1, "rack": 2}, {"fleet": 2, "rack": 2}
    assert granted([oldest, old, young], limits, held) == []
    assert granted([oldest, young], limits, held) == ["young"]


def test_an_overdue_one_claims_nothing_while_it_could_not_be_started() -> None:
    old, young = waits("old", "rack", waited_s=6_000), waits("young", "rack")
    queue = Queue([old, young])
    room = Room(limits={"fleet": 2, "rack": 1})

    def silent(waiting: Waiting) -> Answer:
        return Answer.NOT_NOW if waiting is old else Answer.GRANTED

    assert queue.admit(room, AGEING, NOW, silent) == [young]
    assert list(queue) == [old]


def test_enough_ends_the_pass() -> None:
    queue = Queue([waits("n1", waited_s=9_000), waits("n2"), waits("n3")])
    asked: list[str] = []

    def once(waiting: Waiting) -> Answer:
        asked.append(waiting.node)
        return Answer.ENOUGH if len(asked) == 2 else Answer.GRANTED

    queue.admit(Room(limits={"fleet": 9}), AGEING, NOW, once)
    assert asked == ["n1", "n2"]


def test_the_queue_may_be_changed_while_it_is_admitted_from() -> None:
    first, second, third = waits("n1"), waits("n2"), waits("n3")
    queue = Queue([first, second])

    def fails_at_once(waiting: Waiting) -> Answer:
        queue.discard(waiting.key)
        queue.add(waiting)
        queue.discard(second.key)
        queue.add(third)
        return Answer.GRANTED

    room = Room(limits={"fleet": 1})
    assert queue.admit(room, AGEING, NOW, fails_at_once) == [first]
    assert {each.node for each in queue} == {"n1", "n3"}
    assert "op-n1" in queue
    assert "op-n2" not in queue


def test_one_that_is_added_again_replaces_itself() -> None:
    queue = Queue([waits("n1", "rack")])
    queue.add(waits("n1"))
    queue.discard("op-unknown")
    assert len(queue) == 1
    assert [each.scopes for each in queue] == [("fleet",)]


SCOPES = ("lane", "pool", "pdu", "rack")


@st.composite
def queues(draw: st.DrawFn) -> tuple[list[Waiting], Room]:
    """Anything that may wait, and any room, also one over its limits."""
    limits = {"fleet": draw(st.integers(1, 8))}
    limits |= {scope: draw(st.integers(1, 4)) for scope in SCOPES}
    held = {scope: draw(st.integers(0, limit + 1)) for scope, limit in limits.items()}
    held["fleet"] = draw(st.integers(0, limits["fleet"]))
    kinds = [
        (
            tuple(sorted(draw(st.sets(st.sampled_from(SCOPES), max_size=3)))),
            draw(st.sampled_from("abc")),
            draw(st.sampled_from((0, 480, 500, 950, 1_000))),
            draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 5)))
    ]
    waited_s = draw(
        st.lists(st.sampled_from((-60, 0, 1, 700, 3_000, 6_500, 20_000)), min_size=1, max_size=4)
    )
    waiting = []
    for number in range(draw(st.integers(0, 14))):
        scopes, pool, priority, retry = draw(st.sampled_from(kinds))
        since_s = draw(st.sampled_from(waited_s))
        node = f"n{number}"
        made = waits(node, *scopes, pool=pool, priority=priority, waited_s=since_s, retry=retry)
        waiting.append(made)
    weights = {"a": draw(st.integers(1, 4)), "b": 2}
    pool_held = {pool: draw(st.integers(0, 3)) for pool in "ab"}
    return waiting, Room(limits=limits, held=held, pool_held=pool_held, weights=weights)


def plainly(  # noqa: C901  the whole definition in one place
    waiting: list[Waiting], room: Room, silent: frozenset[str]
) -> list[Waiting]:
    """The definition, word for word, without a thought of speed."""
    free = Counter({scope: limit - room.held.get(scope, 0) for scope, limit in room.limits.items()})
    loads = Counter(room.pool_held)
    found: list[Waiting] = []
    served: list[Waiting] = []
    fitted: list[Waiting] = []

    def fits(each: Waiting) -> bool:
        return all(free[scope] > 0 for scope in each.scopes)

    def grant(each: Waiting) -> None:
        if each.node not in silent:
            found.append(each)
            free.subtract(each.scopes)
            loads[each.pool] += 1

    def serve(each: Waiting, line: list[Waiting]) -> None:
        line.remove(each)
        served.append(each)
        if fits(each):
            fitted.append(each)
            grant(each)

    def alike(each: Waiting) -> tuple[object, ...]:
        return each.pool, each.scopes, each.priority, each.retry

    def by_age(each: Waiting) -> tuple[object, ...]:
        # Overdue or not, all that wait for the very same count.
        behind = sum(alike(other) == alike(each) for other in waiting if other not in served)
        return each.since, -behind, natural(each.node)

    eligible = [each for each in waiting if each.since <= NOW]
    overdue = [
        each for each in eligible if NOW - each.since >= overdue_after(each.priority, AGEING)
    ]
    claiming = claimants(room.limits)
    while overdue and claiming > 0:
        each = min(overdue, key=lambda each: (each.since, natural(each.node)))
        if free["fleet"] <= 0:
            break
        serve(each, overdue)
        if each not in fitted:
            claiming -= 1
            free.subtract(scope for scope in each.scopes if scope != "fleet")
    while overdue:
        each = min(overdue, key=by_age)
        serve(each, overdue)
        if each not in fitted:
            for scope in narrow_first(each.scopes, room.limits):
                if free[scope] <= 0:
                    break
                free[scope] -= 1
    others = [each for each in eligible if each not in served]
    while candidates := [each for each in others if fits(each)]:
        best = min(
            candidates,
            key=lambda each: (
                -effective_priority(each, AGEING, NOW),
                each.retry,
                (loads[each.pool] + 1) / room.weights.get(each.pool, 1),
                by_age(each),
            ),
        )
        serve(best, others)
    return found


@given(queues(), st.frozensets(st.sampled_from([f"n{number}" for number in range(14)])))
def test_it_grants_what_the_plain_definition_grants(
    given_: tuple[list[Waiting], Room], silent: frozenset[str]
) -> None:
    waiting, room = given_

    def answer(each: Waiting) -> Answer:
        return Answer.NOT_NOW if each.node in silent else Answer.GRANTED

    queue = Queue()
    for each in reversed(waiting):
        queue.add(each)
    for each in waiting[::3]:  # kept from pass to pass, it is what a new one would be
        queue.discard(each.key)
        queue.add(each)
    found = queue.admit(room, AGEING, NOW, answer)
    assert found == plainly(waiting, room, silent)
    assert found == Queue(waiting).admit(room, AGEING, NOW, answer)
    assert {each.key for each in queue} == {each.key for each in waiting} - {
        each.key for each in found
    }


@given(queues())
def test_no_pass_goes_over_a_limit(given_: tuple[list[Waiting], Room]) -> None:
    waiting, room = given_
    found = Queue(waiting).admit(room, AGEING, NOW, lambda _: Answer.GRANTED)
    taken = Counter(scope for each in found for scope in each.scopes)
    for scope, count in taken.items():
        assert room.held.get(scope, 0) + count <= room.limits[scope], scope


@given(queues())
def test_nothing_that_fits_waits_unless_an_overdue_one_claims_the_slot(
    given_: tuple[list[Waiting], Room],
) -> None:
    waiting, room = given_
    found = Queue(waiting).admit(room, AGEING, NOW, lambda _: Answer.GRANTED)
    taken = Counter(room.held)
    taken.update(scope for each in found for scope in each.scopes)
    left = [each for each in waiting if each not in found and each.since <= NOW]
    fitting = [
        each for each in left if all(taken[scope] < room.limits[scope] for scope in each.scopes)
    ]
    overdue = [each for each in left if NOW - each.since >= overdue_after(each.priority, AGEING)]
    for each in fitting:
        claims = [other for other in overdue if set(other.scopes) & set(each.scopes) - {"fleet"}]
        assert [other for other in claims if other is not each], each


@given(
    st.lists(st.sampled_from("abc"), max_size=60),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.integers(1, 40),
)
def test_pools_that_have_enough_waiting_share_within_one_slot(
    extra: list[str], weight: tuple[int, int, int], fleet: int
) -> None:
    weights = dict(zip("abc", weight, strict=True))
    pools = [*"abc" * fleet, *extra]
    queue = [waits(f"n{number}", pool=pool) for number, pool in enumerate(pools)]
    room = Room(limits={"fleet": fleet}, weights=weights)
    found = Queue(queue).admit(room, AGEING, NOW, lambda _: Answer.GRANTED)
    assert len(found) == fleet
    counts = Counter(each.pool for each in found)
    for one in "abc":
        for other in "abc":
            # With one slot more, the other would have at least as much of its share as this one.
            assert counts[one] / weights[one] <= (counts[other] + 1) / weights[other]
