"""The operations kept from cycle to cycle are those that a new process would find."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from execute_rig import RULES, Rig, a_node, a_target, an_inventory, unmanaged

from metalwright.drivers.fake_faults import Fault, FaultKind
from metalwright.errors import StoreError
from metalwright.execute.comparing import changed
from metalwright.execute.operations import Operations
from metalwright.model.operation import OperationState, Verb
from metalwright.model.plan import Fate
from metalwright.model.policy import FleetLimits
from metalwright.store import Store


def standing(operations: Operations) -> dict[str, object]:
    """All that it knows, as values."""
    return {
        "of": operations.of,
        "pending": operations.pending,
        "running": operations.running,
        "cancelled": operations.cancelled,
        "held": dict(+operations.held),
        "uncounted": dict(+operations.uncounted),
        "pool held": dict(+operations.pool_held),
    }


def disturb(rig: Rig, dice: random.Random) -> None:
    """An operator, a commit, or the weather."""
    name = dice.choice(list(rig.inventory.nodes))
    match dice.randrange(6):
        case 0:
            rig.store.cancel([name], "grace", rig.clock())
        case 1:
            rig.store.retry_failed([name], "grace", rig.clock())
        case 2:
            rig.fates = {name: Fate.SUPERSEDE}
        case 3:
            rig.fates = {}
            rig.driver.heal("*")
        case 4:
            rig.driver.inject(name, Fault(kind=FaultKind.SILENT))
        case 5:
            limits = FleetLimits(fleet=dice.randint(1, 6), labels={"rack": dice.randint(1, 3)})
            nodes = [a_node(each, dice.choice("ab")) for each in rig.inventory.nodes]
            rig.inventory = an_inventory(nodes, replace(RULES, limits=limits))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_is_what_would_be_read_anew(tmp_path: Path, seed: int) -> None:
    with Rig(tmp_path, nodes=12, seed=seed) as rig:
        dice = random.Random(seed)
        rig.step_s = 15.0
        rig.adopt()
        kept = Operations(rig.store)
        for number in range(150):
            if number % 3 == 0:
                disturb(rig, dice)
            node = dice.choice(list(rig.inventory.nodes))
            rig.want(node, Verb.DEPLOY, a_target(letter=dice.choice("abc")))
            rig.cycle()
            anew = Operations(rig.store)
            for each in (kept, anew):
                each.refresh()
                each.follow(rig.inventory)
            assert standing(kept) == standing(anew)
        assert {each.state for each in rig.store.operations(None, 999)} >= {
            OperationState.ACTIVE,
            OperationState.CANCELLED,
        }


def test_a_transaction_that_failed_leaves_nothing_behind(rig: Rig) -> None:
    class Full:
        """A store whose disk is full when it comes to the commit."""

        def __init__(self, store: Store) -> None:
            self.store = store

        def __getattr__(self, name: str) -> object:
            return getattr(self.store, name)

        def learn(self, *_args: object) -> None:
            raise StoreError("database or disk is full")

        def take_starts(self, *_args: object) -> None:
            raise StoreError("database or disk is full")

        def save(self, *_args: object) -> bool:
            raise StoreError("database or disk is full")

    real = rig.store
    rig.store = Full(real)  # type: ignore[assignment]
    rig.engine = engine = rig.make_engine()
    rig.store = real
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.look()
    for _ in range(3):
        with pytest.raises(StoreError):
            engine.carry_out(rig.plan(), rig.inventory, rig.observed, rig.clock())
        assert rig.store.slots() == {}
        assert rig.store.operations("n0", 9) == ()
        assert rig.driver._fleet.node("n0").boot_device is None
    rig.engine = rig.make_engine()
    rig.settle()
    assert (rig.state(), len(rig.store.operations("n0", 9))) == (OperationState.ACTIVE, 1)


def test_a_node_that_is_let_go_is_forgotten(rig: Rig) -> None:
    rig.adopt()
    kept = Operations(rig.store)
    kept.refresh()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.settle()
    rig.store.forget("n0", "grace", rig.clock())
    kept.refresh()
    assert (kept.of, kept.memory.nodes) == ({}, {})


def test_slots_that_somebody_else_wrote_are_read_anew(rig: Rig) -> None:
    rig.adopt()
    kept = Operations(rig.store)
    kept.refresh()
    kept.follow(rig.inventory)
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    kept.refresh()
    assert dict(kept.held) == {"fleet": 1, "label/rack=a01": 1}
    assert kept.follow(rig.inventory), "what is not counted is found anew too"
    rig.inventory = an_inventory([unmanaged(a_node("n0"))])
    assert kept.follow(rig.inventory)
    assert not kept.follow(rig.inventory)


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        ({}, {}, ""),
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "b"),
        ({"a": 1}, {"a": 1, "b": 2}, "b"),
        ({"a": 1, "b": 2}, {"a": 3}, "ab"),
        ({"a": 1}, {"b": 2}, "ab"),
        ({"a": 1, "b": 2, "c": 3}, {"b": 2, "a": 4, "c": 3}, "ab"),
    ],
)
def test_what_changed_between_two_mappings(
    before: dict[str, int], now: dict[str, int], found: str
) -> None:
    assert changed(before, now) == set(found)


def test_it_is_the_same_object_that_counts() -> None:
    one, other = [1], [1]
    assert changed({"a": one}, {"a": one}) == set()
    assert changed({"a": one}, {"a": other}) == {"a"}


def test_a_deadline_is_kept_also_while_nobody_observes_the_machine(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.run(lambda: rig.told() == ["set boot device"])
    rig.look()
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.cycle(look=False)
    rig.cycle(look=False)
    assert rig.operation().tries == 1, "the power-on was not answered"
    deadline = rig.operation().stage_deadline_at
    assert deadline is not None
    rig.clock.pass_s(30)
    rig.cycle(look=False)
    assert rig.engine.next_due_at() == deadline
    rig.clock.now = deadline
    rig.cycle(look=False)
    assert rig.operation().failing
    assert rig.operation().last_error.startswith("boot: not done in time")
