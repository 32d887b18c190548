"""Hold, cancel, resume, quarantine: what operators put on nodes beside a running daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from store_samples import NOW, admitted, after, an_applied, an_operation, ended, pending_again

from metalwright.model.operation import (
    JournalEntry,
    LocalHold,
    NodeMemory,
    Operation,
    OperationState,
    Quarantined,
)
from metalwright.store import Store

FLEET = {"fleet": 9}


def adopt(store: Store, *nodes: str) -> None:
    store.adopt({node: an_applied() for node in nodes}, "ada", NOW)


def node(store: Store, name: str = "n1") -> NodeMemory:
    return store.memory().nodes[name]


def newest(store: Store, name: str = "n1") -> JournalEntry:
    return store.journal(name, 1)[0]


def fail(store: Store, key: str, name: str = "n1") -> Operation:
    """An operation that fails without having begun."""
    operation = an_operation(key, name)
    assert store.create([operation], NOW, None)
    failed = ended(operation, OperationState.FAILED)
    assert store.finish(failed, None, NOW)
    return failed


def test_only_adopted_nodes_are_held_and_a_new_reason_replaces_the_old(
    opened: Callable[[], Store],
) -> None:
    store = opened()
    adopt(store, "n1", "n2")
    assert store.hold(["n2", "n1", "nobody", "n1"], "fan", "ada", NOW) == ("n1", "n2")
    assert node(store).hold == LocalHold(reason="fan", by="ada", at=NOW)
    assert (newest(store).event, newest(store).detail) == ("hold", "by ada: fan")
    assert store.hold(["n1"], "", "bob", after(1)) == ("n1",)
    assert node(opened()).hold == LocalHold(reason="", by="bob", at=after(1))
    assert store.journal("nobody", 9) == ()


def test_nothing_begins_on_a_held_node_and_what_runs_goes_on(opened: Callable[[], Store]) -> None:
    drives, beside = opened(), opened()
    drives.claim("daemon", NOW)
    adopt(drives, "n1", "n2")
    waits, runs = an_operation("o1", "n1"), admitted(an_operation("o2", "n2"))
    drives.create([waits, an_operation("o2", "n2")], NOW, None)
    assert drives.admit(runs, FLEET, NOW)
    beside.hold(["n1", "n2"], "fan", "ada", NOW)
    assert not drives.admit(admitted(waits), FLEET, NOW)
    assert drives.save(replace(runs, effects=1), "outcome", NOW)
    again = pending_again(runs)
    assert drives.retry(again, NOW)
    assert not drives.admit(admitted(again), FLEET, NOW)
    beside.resume(["n1"], "ada", NOW)
    assert drives.admit(admitted(waits), FLEET, NOW)
    beside.drop_holds(["n2"], NOW, "git holds it")
    assert drives.admit(admitted(again), FLEET, NOW)


def test_a_hold_that_git_has_too_is_dropped_and_recorded(store: Store) -> None:
    adopt(store, "n1", "n2")
    store.hold(["n1"], "fan", "ada", NOW)
    before = store.journal("n2", 9)
    store.drop_holds(["n1", "n2", "nobody"], after(1), "git holds it since c0ffee")
    assert node(store).hold is None
    assert (newest(store).event, newest(store).detail) == ("hold", "git holds it since c0ffee")
    assert store.journal("n2", 9) == before


def test_a_quarantine_stays_as_it_began(store: Store) -> None:
    adopt(store, "n1")
    store.quarantine("n1", "3 failed in a row", NOW)
    store.quarantine("n1", "another", after(1))
    store.quarantine("nobody", "no such node", NOW)
    assert node(store).quarantine == Quarantined(reason="3 failed in a row", at=NOW)
    assert [line.event for line in store.journal(None, 9)] == ["quarantined", "adopted"]


def test_failures_are_counted_until_a_success_or_an_operator(store: Store) -> None:
    adopt(store, "n1", "n2")
    for turn in range(3):
        fail(store, f"o{turn}")
        assert node(store).failures == turn + 1
    assert node(store, "n2").failures == 0
    superseded = an_operation("s1", "n1")
    store.create([superseded], NOW, None)
    store.finish(ended(superseded, OperationState.SUPERSEDED), None, NOW)
    assert store.retry_failed(["n1"], "ada", NOW) == ("n1",)
    store.adopt({"n1": None}, "ada", NOW)
    assert node(store).failures == 3, "neither is a success"
    done = an_operation("d1", "n1")
    store.create([done], NOW, None)
    store.finish(ended(done, OperationState.ACTIVE), an_applied(), NOW)
    assert node(store).failures == 0
    fail(store, "f1")
    assert store.resume(["n1", "n2"], "ada", NOW) == (), "it had no brake"
    assert (node(store).failures, newest(store).event) == (0, "resumed")
    fail(store, "f2")
    assert node(store).failures == 1


def test_resume_lifts_both_brakes_and_nothing_else(store: Store) -> None:
    adopt(store, "n1", "n2", "n3")
    failed = fail(store, "o1")
    store.hold(["n1"], "fan", "ada", NOW)
    store.quarantine("n1", "failed", NOW)
    store.quarantine("n2", "failed", NOW)
    assert store.resume(["n1", "n2", "n3", "nobody"], "bob", after(1)) == ("n1", "n2")
    assert (node(store).hold, node(store).quarantine, node(store).failures) == (None, None, 0)
    assert node(store).failed == failed, "that is for retry"
    assert newest(store).detail == "hold and quarantine lifted by bob"
    assert newest(store, "n3").event == "adopted"
    assert store.resume(["n1"], "bob", after(2)) == ()


def test_a_mark_to_cancel_survives_all_that_the_engine_writes(opened: Callable[[], Store]) -> None:
    drives, beside = opened(), opened()
    drives.claim("daemon", NOW)
    adopt(drives, "n1", "n2")
    drives.create([an_operation("o1", "n1")], NOW, None)
    running = admitted(an_operation("o1", "n1"))
    assert drives.admit(running, FLEET, NOW)
    assert beside.cancel(["n1", "n2", "nobody"], "ada", after(1)) == ("n1",)
    assert beside.cancel(["n1"], "bob", after(2)) == ()
    assert (newest(beside).event, newest(beside).operation_id) == ("cancel", "o1")
    stepped = replace(running, effects=1)
    assert drives.save(stepped, "outcome", after(3)), "the daemon has not seen it yet"
    assert node(drives).operation == replace(stepped, cancelled_by="ada")
    assert drives.save(replace(stepped, effects=2, cancelled_by="x"), "outcome", after(4))
    assert node(drives).operation == replace(stepped, effects=2, cancelled_by="ada")
    again = pending_again(stepped)
    assert drives.retry(again, after(5))
    assert not drives.admit(admitted(again), FLEET, after(6)), "its end was asked for"
    done = ended(again, OperationState.CANCELLED)
    assert drives.finish(done, None, after(7))
    for store in (drives, beside):
        assert node(store).operation is None
        assert node(store).failed == replace(done, cancelled_by="ada")
        assert node(store).failures == 0
    assert drives.operation("o1") == replace(done, cancelled_by="ada")
    assert beside.retry_failed(["n1"], "ada", after(8)) == ("n1",)
    assert node(drives).failed is None


def test_an_end_that_nobody_asked_for_blocks_nothing(store: Store) -> None:
    adopt(store, "n1")
    operation = an_operation("o1", "n1")
    store.create([operation], NOW, None)
    store.finish(ended(operation, OperationState.CANCELLED), None, NOW)
    assert node(store).failed is None


@pytest.mark.parametrize("state", [OperationState.ACTIVE, OperationState.SUPERSEDED])
def test_a_mark_that_came_too_late_blocks_nothing(store: Store, state: OperationState) -> None:
    adopt(store, "n1")
    operation = an_operation("o1", "n1")
    store.create([operation], NOW, None)
    store.cancel(["n1"], "ada", NOW)
    store.finish(ended(operation, state), an_applied(), NOW)
    assert (node(store).failed, node(store).failures) == (None, 0)
    assert store.cancel(["n1"], "ada", NOW) == ()


def test_a_node_that_is_let_go_keeps_no_brake(store: Store) -> None:
    adopt(store, "n1")
    fail(store, "o1")
    store.hold(["n1"], "fan", "ada", NOW)
    store.quarantine("n1", "failed", NOW)
    assert store.forget("n1", "ada", NOW)
    adopt(store, "n1")
    assert node(store) == NodeMemory(
        node="n1", adopted_at=NOW, adopted_by="ada", applied=an_applied()
    )
    fail(store, "o2")
    assert node(store).failures == 1


def test_within_a_batch_each_sees_what_was_done_before(store: Store) -> None:
    adopt(store, "n1")
    operation = an_operation("o1", "n1")
    with store.batch():
        store.create([operation], NOW, None)
        store.hold(["n1"], "fan", "ada", NOW)
        assert not store.admit(admitted(operation), FLEET, NOW)
        store.resume(["n1"], "ada", NOW)
        running = admitted(operation)
        assert store.admit(running, FLEET, NOW)
        store.cancel(["n1"], "ada", NOW)
        failed = ended(running, OperationState.FAILED)
        assert store.finish(failed, None, NOW)
        assert store.retry_failed(["n1"], "ada", NOW) == ("n1",)
        assert store.slots() == {}
        fail(store, "o2")
    assert node(store).failures == 2
    assert node(store).failed is not None
