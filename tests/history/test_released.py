"""Since when an assignment was released, from the operations of its nodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from metalwright.history import Released, released
from metalwright.model.desired import Holder, Target
from metalwright.model.inventory import Commit, Source
from metalwright.model.operation import Operation, OperationState, Verb
from metalwright.model.tenancy import PowerState

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
ASSIGNED = {"bench": frozenset({"n1", "n2", "n3"})}


def an_operation(node: str, minutes: float | None, **changes: Any) -> Operation:
    ended_at = START + timedelta(minutes=minutes) if minutes is not None else None
    values: dict[str, Any] = {
        "id": f"{node}-{minutes}",
        "node": node,
        "verb": Verb.DEPLOY,
        "state": OperationState.ACTIVE,
        "target": Target(power=PowerState.ON, digest="d" * 64),
        "holder": Holder(kind="Assignment", name="bench", owner="Ada"),
        "pool": "lab",
        "priority": 500,
        "stages": (),
        "commit": Commit(id="c" * 40, author="A <a@b>", subject="s", at=START),
        "source": Source(path="a.yaml", line=1),
        "created_at": START,
        "ended_at": ended_at,
    }
    return Operation(**(values | changes))


def test_it_is_released_when_as_many_as_needed_are_ready_for_the_first_time() -> None:
    done = [
        an_operation("n1", 50),  # made anew later
        an_operation("n3", 9),
        an_operation("n1", 5),
        an_operation("n2", 7, state=OperationState.FAILED),
    ]
    two = Released(assignment="bench", at=START + timedelta(minutes=9), ready=2)
    assert released(done, ASSIGNED, {"bench": 2}) == (two,)
    assert released(done, ASSIGNED, {"bench": 3}) == ()
    late = [*done, an_operation("n2", 70)]
    three = Released(assignment="bench", at=START + timedelta(minutes=70), ready=3)
    assert released(late, ASSIGNED, {"bench": 3}) == (three,)


def test_what_others_did_does_not_count() -> None:
    pool = Holder(kind="Pool", name="bench", owner="Ada")
    gone = Holder(kind="Assignment", name="former", owner="Ada")
    done = [
        an_operation("n1", 1, holder=pool),
        an_operation("n2", 2, holder=gone),
        an_operation("n9", 3),
        an_operation("n3", None, state=OperationState.RUNNING),
    ]
    assert released(done, ASSIGNED, {"bench": 1}) == ()


def test_each_window_of_a_schedule_counts_by_itself() -> None:
    windows = [START, START + timedelta(days=7)]
    holders = [
        Holder(kind="Assignment", name="bench", owner="Ada", since=since) for since in windows
    ]
    done = [
        an_operation("n1", 5, holder=holders[0]),
        an_operation("n2", 6, holder=holders[0]),
        an_operation("n1", 10_100, holder=holders[1]),
        an_operation("n2", 10_090, holder=holders[1]),
    ]
    found = released(done, ASSIGNED, {"bench": 2})
    assert [each.at for each in found] == [
        START + timedelta(minutes=10_100),
        START + timedelta(minutes=6),
    ]
