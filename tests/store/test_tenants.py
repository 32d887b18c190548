"""Whose data may be on a node's disks is known until a wipe of them is proven."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from store_samples import NOW, admitted, after, an_applied, an_operation, ended, pending_again

from metalwright.model.desired import Holder
from metalwright.model.operation import Effect, EffectKind, Operation, OperationState, Stage
from metalwright.store import Store, fleet_lock
from metalwright.store.codec import applied_to_text, operation_to_text, target_to_text
from metalwright.store.connect import begin_writing, open_engine
from metalwright.store.migrate import upgrade

FLEET = {"fleet": 2}
ALICE = Holder(kind="Assignment", name="loan", owner="alice", since=NOW - timedelta(hours=2))
BOB = Holder(kind="Assignment", name="other", owner="bob")
BOOTS = (Stage.POWER_OFF, Stage.BOOT)
WIPES = (Stage.POWER_OFF, Stage.WIPE, Stage.BOOT)
ON = Effect(kind=EffectKind.POWER_ON)


def begun(store: Store, operation: Operation) -> Operation:
    store.create([operation], NOW, None)
    running = admitted(operation)
    assert store.admit(running, FLEET, NOW)
    return running


def at(store: Store, running: Operation, stage: Stage, kind: EffectKind | None) -> Operation:
    """The operation enters a stage, or asks for an effect in it."""
    intent = Effect(kind=kind) if kind is not None else None
    moved = replace(running, stage=stage, intent=intent)
    assert store.save(moved, "stage" if kind is None else "intent", NOW)
    return moved


def tenant(store: Store) -> Holder | None:
    return store.memory().nodes["n1"].tenant


@pytest.fixture
def lent(store: Store) -> Store:
    """Alice's, and now with the pool."""
    store.adopt({"n1": an_applied(holder=ALICE)}, "ada", NOW)
    off = begun(store, an_operation("o0", "n1", stages=(Stage.POWER_OFF,)))
    assert store.finish(ended(off, OperationState.ACTIVE), an_applied(), NOW)
    assert store.memory().nodes["n1"].applied == an_applied()
    return store


@pytest.mark.parametrize("end", ["failed", "superseded", "cancelled", "retry"])
def test_who_has_it_booted_is_remembered_whatever_becomes_of_that(store: Store, end: str) -> None:
    store.adopt({"n1": an_applied()}, "ada", NOW)
    running = begun(store, an_operation("o1", "n1", holder=ALICE, stages=BOOTS))
    at(store, running, Stage.BOOT, EffectKind.SET_BOOT_DEVICE)
    assert tenant(store) is None, "no power yet: nothing has run"
    running = at(store, running, Stage.BOOT, EffectKind.POWER_ON)
    assert tenant(store) == ALICE
    if end == "retry":
        assert store.retry(pending_again(running), NOW)
    else:
        assert store.finish(ended(running, OperationState(end)), None, NOW)
    assert tenant(store) == ALICE


def test_the_pool_an_adoption_and_its_own_system_change_nothing_about_it(lent: Store) -> None:
    assert tenant(lent) == ALICE
    running = begun(lent, an_operation("o1", "n1", stages=BOOTS))
    running = at(lent, running, Stage.BOOT, EffectKind.POWER_ON)
    assert lent.finish(ended(running, OperationState.ACTIVE), an_applied(), NOW)
    assert tenant(lent) == ALICE
    lent.adopt({"n1": None}, "ada", NOW)
    assert tenant(lent) == ALICE
    lent.adopt({"n1": an_applied()}, "ada", NOW)
    assert tenant(lent) == ALICE


def test_a_wipe_is_proven_where_its_stage_is_left_and_not_before(lent: Store) -> None:
    running = begun(lent, an_operation("o1", "n1", holder=BOB, stages=WIPES))
    running = at(lent, running, Stage.WIPE, None)
    running = at(lent, running, Stage.WIPE, EffectKind.WIPE)
    assert tenant(lent) == ALICE, "begun, and nobody knows how far it is"
    running = at(lent, running, Stage.BOOT, None)
    assert tenant(lent) is None
    running = at(lent, running, Stage.BOOT, EffectKind.POWER_ON)
    assert tenant(lent) == BOB
    running = replace(running, stages=(*WIPES, Stage.VALIDATING))
    at(lent, running, Stage.VALIDATING, None)
    assert tenant(lent) == BOB


def test_a_wipe_of_an_earlier_attempt_does_not_count_for_what_that_one_started(lent: Store) -> None:
    """Its evidence is there still, and so is what was booted after it."""
    running = begun(lent, an_operation("o1", "n1", holder=BOB, stages=WIPES))
    running = at(lent, running, Stage.BOOT, EffectKind.POWER_ON)
    again = pending_again(running)
    assert lent.retry(again, NOW)
    running = admitted(again)
    assert lent.admit(running, FLEET, NOW)
    at(lent, running, Stage.BOOT, None)
    assert tenant(lent) == BOB


def test_a_wipe_for_the_pool_leaves_nothing_of_anybody(lent: Store) -> None:
    running = begun(lent, an_operation("o1", "n1", stages=WIPES))
    running = at(lent, running, Stage.BOOT, None)
    running = at(lent, running, Stage.BOOT, EffectKind.POWER_ON)
    assert lent.finish(ended(running, OperationState.ACTIVE), an_applied(), NOW)
    assert tenant(lent) is None


def test_a_tenant_whose_owner_was_edited_is_remembered_by_the_new_one(store: Store) -> None:
    store.adopt({"n1": an_applied(holder=ALICE)}, "ada", NOW)
    team = replace(ALICE, owner="alice and bob")
    store.record_unchanged({"n1": an_applied(holder=team)}, NOW)
    assert tenant(store) == team


def test_a_node_that_is_let_go_of_is_taken_over_as_a_new_one(lent: Store) -> None:
    assert lent.forget("n1", "ada", NOW)
    lent.adopt({"n1": None, "n2": an_applied(holder=BOB)}, "ada", NOW)
    assert tenant(lent) is None
    assert lent.memory().nodes["n2"].tenant == BOB


HISTORIES: list[tuple[list[Operation], Holder | None]] = [
    ([], None),
    ([an_operation("a", "n1", holder=ALICE, stages=BOOTS)], None),
    ([ended(admitted(an_operation("a", "n1", holder=ALICE)), OperationState.ACTIVE)], ALICE),
    ([ended(admitted(an_operation("a", "n1", holder=ALICE)), OperationState.FAILED)], ALICE),
    (
        [
            ended(admitted(an_operation("a", "n1", holder=ALICE)), OperationState.ACTIVE),
            ended(
                admitted(an_operation("b", "n1", stages=(Stage.POWER_OFF,), created_at=after(1))),
                OperationState.ACTIVE,
            ),
        ],
        ALICE,
    ),
    (
        [
            ended(admitted(an_operation("a", "n1", holder=ALICE)), OperationState.ACTIVE),
            ended(admitted(an_operation("b", "n1", created_at=after(1))), OperationState.ACTIVE),
        ],
        None,
    ),
    (
        [
            ended(admitted(an_operation("a", "n1", holder=ALICE)), OperationState.ACTIVE),
            ended(admitted(an_operation("b", "n1", created_at=after(1))), OperationState.FAILED),
        ],
        ALICE,
    ),
    (
        [
            ended(admitted(an_operation("a", "n1", holder=ALICE)), OperationState.ACTIVE),
            ended(
                admitted(an_operation("b", "n1", holder=BOB, created_at=after(1))),
                OperationState.SUPERSEDED,
            ),
        ],
        ALICE,
    ),
    (
        [
            ended(admitted(an_operation("a", "n1", holder=ALICE)), OperationState.ACTIVE),
            replace(
                admitted(an_operation("b", "n1", holder=BOB, created_at=after(1))),
                stage=Stage.BOOT,
                intent=ON,
            ),
        ],
        BOB,
    ),
]


@pytest.mark.parametrize(("history", "left"), HISTORIES)
def test_the_upgrade_tells_it_from_what_was_done_before(
    empty_url: str, tmp_path: Path, history: list[Operation], left: Holder | None
) -> None:
    with_older_store(empty_url, history, None)
    with Store.open(empty_url, fleet_lock(empty_url, tmp_path)) as store:
        assert tenant(store) == left
        assert not store.memory().nodes["n1"].overwritten


def test_the_upgrade_takes_who_has_it_for_its_tenant(empty_url: str, tmp_path: Path) -> None:
    with_older_store(empty_url, [], ALICE)
    with Store.open(empty_url, fleet_lock(empty_url, tmp_path)) as store:
        assert tenant(store) == ALICE


def test_the_upgrade_knows_that_an_installation_was_begun(empty_url: str, tmp_path: Path) -> None:
    stages = (*BOOTS, Stage.INSTALLING)
    running = admitted(an_operation("a", "n1", holder=ALICE, stages=stages))
    with_older_store(empty_url, [replace(running, stage=Stage.INSTALLING, intent=None)], None)
    with Store.open(empty_url, fleet_lock(empty_url, tmp_path)) as store:
        assert tenant(store) == ALICE
        assert store.memory().nodes["n1"].overwritten


def with_older_store(url: str, history: list[Operation], holder: Holder | None) -> None:
    """A store of the schema before, with one node and what was done to it."""
    engine = open_engine(url)
    with begin_writing(engine) as connection:
        upgrade(connection, "0004")
        run = connection.exec_driver_sql
        key, body = target_to_text(an_applied().target)
        run(f"INSERT INTO targets (id, body) VALUES ('{key}', '{quoted(body)}')")
        applied = "NULL, NULL"
        if holder is not None:
            applied = f"'{quoted(applied_to_text(an_applied(holder=holder)))}', '{key}'"
        run(
            "INSERT INTO nodes (node, adopted_at, adopted_by, applied, target_id, in_doubt,"
            f" generation) VALUES ('n1', '2026-11-20T08:00:00.000000Z', 'ada', {applied}, 0, 1)"
        )
        for one in history:
            busy = "'n1'" if one.unfinished else "NULL"
            body = operation_to_text(one)
            assert json.loads(body)["id"] == one.id
            run(
                "INSERT INTO operations (id, node, busy_node, state, fence, created_at, target_id,"
                f" body) VALUES ('{one.id}', 'n1', {busy}, '{one.state}', {one.fence},"
                f" '{one.created_at:%Y-%m-%dT%H:%M:%S.%f}Z', '{key}', '{quoted(body)}')"
            )
    engine.dispose()


def quoted(text: str) -> str:
    return text.replace("'", "''").replace("%", "%%")
