from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from store_samples import (
    COMMIT,
    HOLDER,
    NOW,
    SOURCE,
    a_target,
    admitted,
    after,
    an_applied,
    an_operation,
    ended,
    pending_again,
)

from metalwright.errors import StoreError
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import (
    BootProgress,
    ErrorKind,
    Identity,
    Observation,
    ObservationError,
    Observed,
    Power,
    Reading,
)
from metalwright.model.operation import (
    Applied,
    Effect,
    EffectKind,
    Memory,
    NodeMemory,
    OperationState,
    Stage,
    Verb,
)
from metalwright.store import Store

FLEET = {"fleet": 2}


def adopt(store: Store, *nodes: str) -> None:
    store.adopt({node: an_applied() for node in nodes}, "ada", NOW)


def test_an_empty_store_remembers_nothing(store: Store) -> None:
    assert store.memory() == Memory()
    assert store.operations(None, 10) == ()
    assert store.journal(None, 10) == ()
    assert store.observed() == Observed()
    assert store.fact("cycle") is None
    assert store.slots() == {}


def test_what_a_node_was_before_an_interruption_is_kept_until_something_succeeds(
    opened: Callable[[], Store],
) -> None:
    store = opened()
    adopt(store, "n1")
    for key in ("o1", "o2"):
        operation = an_operation(key, "n1")
        store.create([operation], NOW, COMMIT.id)
        assert store.memory().nodes["n1"].applied == an_applied(), key
        running = admitted(operation)
        assert store.admit(running, FLEET, after(1))
        assert store.finish(replace(running, state=OperationState.SUPERSEDED), None, after(2))
        remembered = opened().memory().nodes["n1"]
        assert (remembered.applied, remembered.former) == (None, an_applied())
        if key == "o1":
            store.adopt({"n1": an_applied()}, "ada", after(3))
    store.record_unchanged({"n1": an_applied()}, after(4))
    assert store.memory().nodes["n1"].applied is None, "a name does not settle a doubt"
    operation = an_operation("o3", "n1")
    store.create([operation], NOW, COMMIT.id)
    running = admitted(operation)
    assert store.admit(running, FLEET, after(5))
    assert store.memory().nodes["n1"].former == an_applied()
    assert store.finish(replace(running, state=OperationState.ACTIVE), an_applied(), after(6))
    remembered = store.memory().nodes["n1"]
    assert (remembered.applied, remembered.former) == (an_applied(), None)
    store.adopt({"n1": None}, "ada", after(7))
    remembered = store.memory().nodes["n1"]
    assert (remembered.applied, remembered.former) == (None, None)


def test_what_is_written_is_read_back_equal_by_another_opening(
    opened: Callable[[], Store],
) -> None:
    store = opened()
    adopt(store, "n1")
    operation = an_operation("o1", "n1", destroys_data=True, seen_at=after(0.5), tries=2)
    assert store.create([operation], NOW, COMMIT.id) == (operation,)
    running = admitted(operation)
    assert store.admit(running, FLEET, after(1))
    memory = opened().memory()
    assert memory == store.memory()
    assert memory == Memory(
        nodes=FrozenDict(
            n1=NodeMemory(
                node="n1",
                adopted_at=NOW,
                adopted_by="ada",
                former=an_applied(),
                operation=running,
            )
        ),
        applied_revision=COMMIT.id,
        slots=FrozenDict(fleet=1),
    )
    assert memory.nodes["n1"].adopted_at.utcoffset() == timedelta(0)
    assert store.operation("o1") == running


def test_an_instant_in_another_zone_is_the_same_instant_in_utc(store: Store) -> None:
    east = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    store.adopt({"n1": an_applied(at=east)}, "ada", east)
    remembered = store.memory().nodes["n1"]
    assert remembered.adopted_at == NOW
    assert remembered.applied == an_applied()
    with pytest.raises(StoreError):
        store.adopt({"n2": None}, "ada", datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_memory_is_the_same_value_until_something_is_written(
    opened: Callable[[], Store],
) -> None:
    mine, other = opened(), opened()
    adopt(mine, "n1", "n2")
    first = mine.memory()
    assert mine.memory() is first
    mine.put_fact("cycle", "{}", NOW)
    mine.save_observed(Observed(nodes=FrozenDict(n1=Observation(node="n1", at=NOW))))
    assert mine.memory() is first, "only the ledger changes the memory"
    other.adopt({"n3": None}, "bob", NOW)
    second = mine.memory()
    assert list(second.nodes) == ["n1", "n2", "n3"]
    assert second.nodes["n1"] is first.nodes["n1"], "what did not change is not read again"


def test_a_thousand_nodes_share_one_target(opened: Callable[[], Store]) -> None:
    store = opened()
    store.adopt({f"n{number:04}": an_applied() for number in range(1_000)}, "ada", NOW)
    memory = opened().memory()
    assert len(memory.nodes) == 1_000
    targets = {id(node.applied.target) for node in memory.nodes.values() if node.applied}
    assert len(targets) == 1


def test_adopting_to_rebuild_remembers_no_applied_state(store: Store) -> None:
    store.adopt({"n1": None}, "ada", NOW)
    assert store.memory().nodes["n1"].applied is None
    adopt(store, "n1")
    assert store.memory().nodes["n1"].applied == an_applied()
    assert [line.detail for line in store.journal("n1", 9)] == [
        "as it is, by ada",
        "to be rebuilt, by ada",
    ]


def test_a_busy_node_is_neither_adopted_again_nor_forgotten(store: Store) -> None:
    adopt(store, "n1")
    store.create([an_operation("o1", "n1")], NOW, None)
    before = store.memory()
    with pytest.raises(StoreError, match="under way on n1"):
        store.adopt({"n1": None, "n2": None}, "bob", NOW)
    with pytest.raises(StoreError, match="under way on n1"):
        store.forget("n1", "bob", NOW)
    assert store.memory() == before


def test_a_forgotten_node_is_not_adopted_and_its_journal_stays(
    opened: Callable[[], Store],
) -> None:
    mine, other = opened(), opened()
    adopt(mine, "n1", "n2")
    assert set(mine.memory().nodes) == {"n1", "n2"}
    assert other.forget("n1", "bob", NOW)
    assert not other.forget("n1", "bob", NOW)
    assert set(mine.memory().nodes) == {"n2"}
    assert [line.event for line in mine.journal("n1", 9)] == ["released", "adopted"]


def test_no_operation_for_a_node_that_is_not_adopted_or_is_busy(store: Store) -> None:
    adopt(store, "n1")
    wanted = [an_operation("o1", "n1"), an_operation("o2", "n1"), an_operation("o3", "n2")]
    assert [made.id for made in store.create(wanted, NOW, COMMIT.id)] == ["o1"]
    assert store.create([an_operation("o4", "n1")], NOW, None) == ()
    assert store.memory().applied_revision == COMMIT.id
    assert [each.id for each in store.operations(None, 9)] == ["o1"]


def test_an_operation_id_is_used_once(store: Store) -> None:
    adopt(store, "n1", "n2")
    store.create([an_operation("o1", "n1")], NOW, None)
    with pytest.raises(StoreError, match="breaks one of its rules") as caught:
        store.create([an_operation("o1", "n2")], NOW, None)
    assert caught.value.__cause__ is not None


def test_admission_takes_a_slot_in_every_scope_or_in_none(store: Store) -> None:
    adopt(store, "n1", "n2", "n3")
    store.create([an_operation(f"o{i}", f"n{i}") for i in (1, 2, 3)], NOW, None)
    operations = {i: admitted(an_operation(f"o{i}", f"n{i}")) for i in (1, 2, 3)}
    assert store.admit(operations[1], {"fleet": 2, "pool/ci": 1}, NOW)
    before = store.memory()
    assert not store.admit(operations[2], {"fleet": 2, "pool/ci": 1}, NOW)
    assert store.memory() == before
    assert store.admit(operations[3], {"fleet": 2, "label/rack=a01": 1}, NOW)
    assert store.slots() == {
        "fleet": {0: "o1", 1: "o3"},
        "label/rack=a01": {0: "o3"},
        "pool/ci": {0: "o1"},
    }
    assert [line.detail for line in store.journal("n3", 1)] == ["fleet#1, label/rack=a01#0"]


def test_time_alone_gives_no_slot_back(store: Store) -> None:
    adopt(store, "n1", "n2")
    store.create([an_operation("o1", "n1"), an_operation("o2", "n2")], NOW, None)
    assert store.admit(admitted(an_operation("o1", "n1")), {"fleet": 1}, NOW)
    for days in (1, 1_000):
        later = NOW + timedelta(days=days)
        assert not store.admit(admitted(an_operation("o2", "n2")), {"fleet": 1}, later)
    assert store.slots() == {"fleet": {0: "o1"}}


def test_a_lowered_limit_admits_nothing_until_the_scope_has_drained(store: Store) -> None:
    adopt(store, *(f"n{i}" for i in range(5)))
    store.create([an_operation(f"o{i}", f"n{i}") for i in range(5)], NOW, None)
    running = [admitted(an_operation(f"o{i}", f"n{i}")) for i in range(5)]
    assert [store.admit(each, {"fleet": 4}, NOW) for each in running[:4]] == [True] * 4
    assert store.finish(ended(running[0], OperationState.ACTIVE), an_applied(), NOW)
    assert not store.admit(running[4], {"fleet": 2}, NOW), "slot 0 is free, but three are held"
    for each in running[1:3]:
        assert store.finish(ended(each, OperationState.ACTIVE), an_applied(), NOW)
    assert store.admit(running[4], {"fleet": 2}, NOW)
    assert store.slots() == {"fleet": {0: "o4", 3: "o3"}}


def test_an_operation_is_admitted_once(store: Store) -> None:
    adopt(store, "n1")
    store.create([an_operation("o1", "n1")], NOW, None)
    running = admitted(an_operation("o1", "n1"))
    assert store.admit(running, FLEET, NOW)
    assert not store.admit(running, FLEET, NOW)
    assert not store.admit(replace(running, fence=2), FLEET, NOW)
    assert not store.admit(admitted(an_operation("unknown", "n1")), FLEET, NOW)
    assert store.memory().slots == {"fleet": 1}


@pytest.mark.parametrize(
    ("verb", "kept"), [(Verb.DEPLOY, False), (Verb.POWER_OFF, False), (Verb.POWER_ON, True)]
)
def test_what_the_machine_carries_is_unknown_while_it_is_changed(
    store: Store, verb: Verb, kept: bool
) -> None:
    adopt(store, "n1")
    operation = an_operation("o1", "n1", verb=verb)
    store.create([operation], NOW, None)
    assert store.memory().nodes["n1"].applied == an_applied()
    store.admit(admitted(operation), FLEET, NOW)
    assert store.memory().nodes["n1"].applied == (an_applied() if kept else None)


def test_a_result_with_an_older_fence_is_refused(store: Store) -> None:
    adopt(store, "n1")
    store.create([an_operation("o1", "n1")], NOW, None)
    first = admitted(an_operation("o1", "n1"))
    store.admit(first, FLEET, NOW)
    again = pending_again(first)
    assert store.retry(again, after(2), "silence")
    assert store.memory().slots == {}
    second = admitted(again, 60)
    assert second.fence == 3
    assert store.admit(second, FLEET, after(60))
    late = replace(first, acknowledged_at=after(61), effects=1)
    assert not store.save(late, "outcome", after(61))
    assert not store.retry(pending_again(first), after(61))
    assert not store.finish(ended(first, OperationState.ACTIVE), an_applied(), after(61))
    assert store.operation("o1") == second
    assert store.save(replace(second, effects=1), "outcome", after(62))


def test_nothing_is_written_to_an_operation_that_has_ended(store: Store) -> None:
    adopt(store, "n1")
    store.create([an_operation("o1", "n1")], NOW, None)
    running = admitted(an_operation("o1", "n1"))
    store.admit(running, FLEET, NOW)
    done = ended(running, OperationState.CANCELLED)
    assert store.finish(done, None, after(9))
    assert not store.finish(ended(running, OperationState.ACTIVE), an_applied(), after(10))
    assert not store.save(running, "outcome", after(10))
    assert not store.retry(pending_again(running), after(10))
    assert store.operation("o1") == done
    assert store.memory().nodes["n1"].operation is None


def test_states_and_methods_go_together(store: Store) -> None:
    running = admitted(an_operation("o1", "n1"))
    for wrong in (
        lambda: store.admit(an_operation("o1", "n1"), FLEET, NOW),
        lambda: store.retry(running, NOW),
        lambda: store.finish(running, None, NOW),
    ):
        with pytest.raises(StoreError, match="operation o1 is"):
            wrong()


def test_an_active_end_is_remembered_and_gives_the_slots_back(store: Store) -> None:
    adopt(store, "n1")
    store.create([an_operation("o1", "n1")], NOW, None)
    running = admitted(an_operation("o1", "n1"))
    store.admit(running, FLEET, NOW)
    applied = an_applied(at=after(9))
    assert store.finish(ended(running, OperationState.ACTIVE), applied, after(9))
    assert store.memory().nodes["n1"] == NodeMemory(
        node="n1", adopted_at=NOW, adopted_by="ada", applied=applied
    )
    assert store.slots() == {}
    assert store.create([an_operation("o2", "n1")], after(10), None), "the node is free again"


def test_a_failure_is_remembered_until_something_succeeds(store: Store) -> None:
    adopt(store, "n1")
    store.create([an_operation("o1", "n1")], NOW, None)
    first = admitted(an_operation("o1", "n1"))
    store.admit(first, FLEET, NOW)
    failed = replace(ended(first, OperationState.FAILED), last_error="the node does not boot")
    store.finish(failed, None, after(9))
    remembered = store.memory().nodes["n1"]
    assert (remembered.failed, remembered.applied, remembered.operation) == (failed, None, None)
    store.create([an_operation("o2", "n1")], after(10), None)
    assert store.memory().nodes["n1"].failed == failed
    second = admitted(an_operation("o2", "n1"))
    store.admit(second, FLEET, after(11))
    store.finish(ended(second, OperationState.SUPERSEDED), None, after(12))
    assert store.memory().nodes["n1"].failed == failed, "superseded is not success"
    store.create([an_operation("o3", "n1")], after(20), None)
    third = admitted(an_operation("o3", "n1"))
    store.admit(third, FLEET, after(21))
    store.finish(ended(third, OperationState.ACTIVE), an_applied(), after(22))
    assert store.memory().nodes["n1"].failed is None


def test_an_operator_says_that_failures_are_mended(store: Store) -> None:
    adopt(store, "n1", "n2")
    store.create([an_operation("o1", "n1")], NOW, None)
    store.finish(ended(an_operation("o1", "n1"), OperationState.FAILED), None, after(9))
    assert store.retry_failed(["n1", "n2", "n3"], "ada", after(10)) == ("n1",)
    assert store.memory().nodes["n1"].failed is None
    assert store.retry_failed(["n1"], "ada", after(11)) == ()
    assert store.journal("n1", 1)[0].operation_id == "o1"


def test_a_new_name_for_the_same_state_is_recorded(store: Store) -> None:
    adopt(store, "n1", "n2", "n3")
    store.adopt({"n4": None}, "ada", NOW)
    store.create([an_operation("o1", "n2")], NOW, None)
    renamed = an_applied(target=a_target("bookworm"), source=replace(SOURCE, line=9))
    other = an_applied(target=a_target("trixie", "e" * 64))
    records = {"n1": renamed, "n2": renamed, "n3": other, "n4": renamed, "n5": renamed}
    assert store.record_unchanged(records, after(1)) == ("n1",)
    nodes = store.memory().nodes
    assert nodes["n1"].applied == renamed
    assert nodes["n2"].applied == nodes["n3"].applied == an_applied()
    assert nodes["n4"].applied is None
    seq = store.journal(None, 1)[0].seq
    assert store.record_unchanged({"n1": renamed}, after(2)) == ()
    assert store.journal(None, 1)[0].seq == seq


def test_the_journal_has_every_step_in_order_without_gaps(store: Store) -> None:
    adopt(store, "n1")
    operation = an_operation("o1", "n1")
    store.create([operation], NOW, None)
    running = admitted(operation)
    store.admit(running, FLEET, after(1))
    acknowledged = replace(running, acknowledged_at=after(2), effects=1)
    store.save(acknowledged, "outcome", after(2), "done")

    def roll_back() -> None:
        with store.batch():
            store.save(acknowledged, "stage", after(3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        roll_back()
    store.finish(ended(acknowledged, OperationState.ACTIVE), an_applied(), after(9))
    lines = store.journal(None, 100)[::-1]
    assert [line.seq for line in lines] == [1, 2, 3, 4, 5]
    assert [line.event for line in lines] == [
        "adopted",
        "created",
        "admitted",
        "outcome",
        "active",
    ]
    assert lines[2].effect == Effect(kind=EffectKind.SOFT_POWER_OFF, operation_id="o1")
    assert (lines[2].stage, lines[2].fence, lines[2].at) == (Stage.POWER_OFF, 1, after(1))
    assert store.journal("n1", 2) == (lines[4], lines[3])


def test_a_batch_is_one_transaction(opened: Callable[[], Store]) -> None:
    mine, other = opened(), opened()
    with mine.batch():
        adopt(mine, "n1")
        with mine.batch():
            mine.create([an_operation("o1", "n1")], NOW, COMMIT.id)
        assert mine.memory().nodes["n1"].operation is not None
        assert mine.journal("n1", 1)[0].event == "created"
        assert other.memory() == Memory()
    assert other.memory() == mine.memory()
    assert other.memory().applied_revision == COMMIT.id


def test_a_batch_that_is_left_by_an_exception_leaves_nothing(store: Store) -> None:
    adopt(store, "n1")
    before = store.memory()
    observed = Observed(nodes=FrozenDict(n1=Observation(node="n1", at=NOW)))

    def interrupted() -> None:
        with store.batch():
            store.create([an_operation("o1", "n1")], NOW, COMMIT.id)
            assert store.memory() != before
            store.save_observed(observed)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.memory() == before
    store.save_observed(observed)
    assert store.observed() == observed


def test_a_batch_with_a_caught_failure_leaves_nothing_either(store: Store) -> None:
    adopt(store, "n1", "n2")
    before = store.memory()

    def careless() -> None:
        with store.batch():
            store.create([an_operation("o1", "n1")], NOW, COMMIT.id)
            with pytest.raises(StoreError, match="breaks one of its rules"):
                store.create([an_operation("o1", "n2")], NOW, None)
            with pytest.raises(StoreError, match="nothing of it is kept"):
                store.put_fact("cycle", "{}", NOW)

    with pytest.raises(StoreError, match="nothing of it is kept"):
        careless()
    assert store.memory() == before


def test_observations_are_kept_as_they_were(opened: Callable[[], Store]) -> None:
    reading = Reading(
        power=Power.ON,
        boot_progress=BootProgress.OS_RUNNING,
        template_digest="d" * 64,
        last_wipe="o1",
        identity=Identity(serial="S1", macs=("52:54:00:12:34:56",)),
    )
    seen = Observation(node="n1", at=NOW, reading=reading)
    error = ObservationError(kind=ErrorKind.TIMEOUT, message="silence")
    silent = Observation(node="n2", at=NOW, error=error, failures=3, next_attempt_at=after(30))
    store = opened()
    store.save_observed(Observed(nodes=FrozenDict(n1=seen, n2=silent)))
    later = replace(silent, at=after(30), failures=4)
    store.save_observed(Observed(nodes=FrozenDict(n1=seen, n2=later)))
    store.save_observed(Observed(nodes=FrozenDict(n1=seen, n2=later)))
    assert opened().observed() == Observed(nodes=FrozenDict(n1=seen, n2=later))


def test_a_fact_is_replaced(store: Store) -> None:
    store.put_fact("cycle", '{"a": 1}', NOW)
    store.put_fact("cycle", '{"a": 2}', after(1))
    assert store.fact("cycle") == ('{"a": 2}', after(1))


def test_the_newest_operations_come_first(store: Store) -> None:
    adopt(store, "n1", "n2")
    for number in range(4):
        operation = an_operation(f"o{number}", "n1", created_at=after(number))
        store.create([operation], after(number), None)
        store.finish(ended(operation, OperationState.CANCELLED), None, after(number))
    store.create([an_operation("p1", "n2", created_at=after(2.5))], after(2.5), None)
    assert [each.id for each in store.operations(None, 3)] == ["o3", "p1", "o2"]
    assert [each.id for each in store.operations("n1", 2)] == ["o3", "o2"]


def test_pruning_removes_what_is_over_and_nothing_else(opened: Callable[[], Store]) -> None:
    store = opened()
    adopt(store, "n1", "n2", "n3")
    old_target = a_target("old", "e" * 64)
    operations = {
        "done": an_operation("done", "n1", target=old_target),
        "broke": an_operation("broke", "n2"),
        "waits": an_operation("waits", "n3"),
    }
    store.create(list(operations.values()), NOW, None)
    store.finish(ended(operations["done"], OperationState.ACTIVE), an_applied(), after(5))
    store.finish(ended(operations["broke"], OperationState.FAILED), None, after(5))
    recent = an_operation("recent", "n1", created_at=after(100))
    store.create([recent], after(100), None)
    before = store.memory()
    assert store.prune(after(50)) == 8 + 1
    assert store.memory() == before
    assert opened().memory() == before
    assert {each.id for each in store.operations(None, 9)} == {"broke", "waits", "recent"}
    assert [(line.seq, line.event) for line in store.journal(None, 9)] == [(9, "created")]
    assert store.prune(after(50)) == 0
    again = an_operation("again", "n2", target=old_target, created_at=after(101))
    assert store.create([again], after(101), None) == (again,)
    assert store.operation("again") == again


def test_an_error_of_the_store_never_shows_what_was_written(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    target = replace(a_target(), digest="e" * 64)
    assert target.template is not None
    secret = replace(target, template=replace(target.template, user_data="password: hunter2"))
    adopt(store, "n1", "n2")
    store.create([an_operation("o1", "n1")], NOW, None)
    with pytest.raises(StoreError) as caught:
        store.create([an_operation("o1", "n2", target=secret)], NOW, None)
    said = f"{caught.value} {caught.value.__cause__} {caplog.text}"
    assert "hunter2" not in said


def test_the_applied_state_is_a_value_of_its_own() -> None:
    assert an_applied() == Applied(
        target=a_target(), holder=HOLDER, revision=COMMIT.id, source=SOURCE, at=NOW
    )
